"""What audiocraft does that its training never saw, beside what is done by default. Each case computes the rows of the guidance by
audiocraft's own algebra (`audiocraft_files`) and finds the clip of either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import audiocraft_files as files
import numpy as np
import pytest
import torch
from audiocraft_files import CODEC, Toy
from torch import Tensor

from jasco_pl.cli import main
from jasco_pl.generation.jasco import Jasco, Request
from jasco_pl.interop.chord_order import AUDIOCRAFT_LABELS
from jasco_pl.interop.released import read_released
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import read_config
from jasco_pl.notation import harmony
from jasco_pl.system.errors import UserError

FRAMES = 50
EULER = SolverConfig("euler", steps=2)
MELODY = np.where(np.arange(FRAMES) % 10 < 8, np.arange(FRAMES) % 53, -1)


@pytest.fixture(scope="module")
def toy(tiny_text_folder: Path) -> Toy:
    return Toy(text_encoder=str(tiny_text_folder))


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory, toy: Toy) -> Path:
    folder = tmp_path_factory.mktemp("compat")
    assert main(["import", str(files.write(folder / "released", toy)), "-o", str(folder / "imported")]) == 0
    return folder / "imported"


@pytest.fixture(scope="module")
def weights(imported: Path) -> dict[str, Tensor]:
    return read_released(imported.parent / "released").state


@pytest.fixture(scope="module")
def plain(imported: Path) -> Jasco:
    return Jasco.from_pretrained(imported)


@pytest.fixture(scope="module")
def audiocraft(imported: Path) -> Jasco:
    return Jasco.from_pretrained(imported, compat="audiocraft")


def sounding(toy: Toy, weights: dict[str, Tensor], jasco: Jasco, clip: Any, rows: dict[str, Any]) -> Tensor:
    """Latents [T, C], in the codec's scale, of Euler's two steps from a clip's noise, with the rows that `files.rows` makes of this."""
    text = jasco.text_encoder([clip.request.text])[0][0]
    local, memory = files.rows(weights, toy, {"text_hidden": text, **rows}, FRAMES)
    z = torch.randn(1, FRAMES, toy.latent, generator=torch.Generator().manual_seed(clip.request.seed))
    for t in (0.0, 0.5):
        v = files.velocity(weights, toy.heads, z.repeat(3, 1, 1), torch.full((3,), t), local, memory)
        z = z + 0.5 * torch.einsum("k,ktc->tc", torch.tensor([3.0, 1.0, -3.0]), v)
    return z[0] * 2.0 - 0.5


def made(jasco: Jasco, request: Request) -> Any:
    (clip,) = jasco.generate(request, solver=EULER)
    return clip


def their_chords(clip: Any) -> Tensor:
    return torch.tensor([AUDIOCRAFT_LABELS.index(harmony.label(int(index))) for index in clip.asked["chords"]])


def salience(bins: np.ndarray) -> Tensor:
    found = torch.zeros(53, len(bins))
    for frame, pitch in enumerate(bins):
        if pitch >= 0:
            found[pitch, frame] = 1
    return found


def codes_of(weights: dict[str, Tensor], toy: Toy, wav: Tensor) -> Tensor:
    """Vectors [T, C] of the first codebook for a waveform [1, S], by transformers' EnCodec itself."""
    codec = files.encodec(toy)
    codec.load_state_dict({name.removeprefix(f"{CODEC}."): value for name, value in weights.items() if name.startswith(CODEC)})
    with torch.no_grad():
        latents = codec.encoder(wav[None])
        quantizer = codec.quantizer.layers[0]
        return quantizer.decode(quantizer.encode(latents))[0].t()


def same_noise(jasco: Jasco, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the default draw its noise as audiocraft does, so that nothing but the rows differs."""
    from jasco_pl.generation import windows as module
    from jasco_pl.interop.compat import Audiocraft

    monkeypatch.setattr(module, "_noise", Audiocraft.noise)


def far(one: Tensor, other: Tensor) -> bool:
    return float((one - other).abs().max()) > 1e-2


def test_without_a_defect_in_play_both_are_audiocrafts_numbers(
    toy: Toy, weights: dict[str, Tensor], plain: Jasco, audiocraft: Jasco, monkeypatch: pytest.MonkeyPatch
) -> None:
    same_noise(plain, monkeypatch)
    for jasco in (plain, audiocraft):
        clip = made(jasco, Request("calm piano", chords="C Am7 | F", melody=MELODY, seed=3))
        rows = {"frame_chords": their_chords(clip), "melody": salience(MELODY)}
        torch.testing.assert_close(clip.latents, sounding(toy, weights, jasco, clip, rows), atol=1e-4, rtol=0)


def test_null_drums_are_silence_in_audiocraft_and_nothing_here(
    toy: Toy, weights: dict[str, Tensor], plain: Jasco, audiocraft: Jasco, monkeypatch: pytest.MonkeyPatch
) -> None:
    same_noise(plain, monkeypatch)
    wav = 0.3 * torch.randn(1, 32000, generator=torch.Generator().manual_seed(0))
    request = Request("drums", chords="C", drums=wav, seed=4)
    given, silence = codes_of(weights, toy, wav), codes_of(weights, toy, torch.zeros(1, 32000))
    clips = {}
    for name, jasco, null in (("plain", plain, torch.zeros_like(given)), ("audiocraft", audiocraft, silence)):
        clips[name] = clip = made(jasco, request)
        rows = {"frame_chords": their_chords(clip), "drum_latents_by_id": {0: null, 1: given}}
        torch.testing.assert_close(clip.latents, sounding(toy, weights, jasco, clip, rows), atol=1e-4, rtol=0)
    assert far(clips["plain"].latents, clips["audiocraft"].latents)
    without = [made(jasco, Request("drums", chords="C", seed=4)).latents for jasco in (plain, audiocraft)]
    torch.testing.assert_close(*without, atol=1e-5, rtol=0)  # without drums there is nothing to drop


def test_a_melody_without_chords_stays_in_audiocrafts_null_rows_and_leaves_ours(
    toy: Toy, weights: dict[str, Tensor], plain: Jasco, audiocraft: Jasco, monkeypatch: pytest.MonkeyPatch
) -> None:
    same_noise(plain, monkeypatch)
    request = Request("flute", melody=MELODY, seed=5)
    leaking = made(audiocraft, request)
    melody = {"melody": salience(MELODY)}
    torch.testing.assert_close(leaking.latents, sounding(toy, weights, audiocraft, leaking, melody), atol=1e-4, rtol=0)
    clip = made(plain, request)
    assert far(clip.latents, leaking.latents)
    # ours: the rows as they would be with chords, but for the chords, which are null
    with_null_chords = {**melody, "frame_chords": torch.full((FRAMES,), 194)}
    torch.testing.assert_close(clip.latents, sounding(toy, weights, plain, clip, with_null_chords), atol=1e-4, rtol=0)


def test_the_null_text_is_zero_behind_its_projection_either_way(
    toy: Toy, weights: dict[str, Tensor], plain: Jasco, audiocraft: Jasco, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a defect: training saw it so. A model of this project keeps the projection's bias there."""
    same_noise(plain, monkeypatch)
    clips = [made(jasco, Request(chords="C", seed=6)) for jasco in (plain, audiocraft)]
    bias = f"{files.CONDITIONERS}.description.output_proj.bias"
    rows = {"frame_chords": their_chords(clips[0]), "text_hidden": torch.zeros(1, toy.text)}
    expected = sounding(toy, {**weights, bias: torch.zeros(toy.width)}, plain, clips[0], rows)
    for clip in clips:
        torch.testing.assert_close(clip.latents, expected, atol=1e-4, rtol=0)
    assert far(clips[0].latents, sounding(toy, weights, plain, clips[0], rows))


def test_a_clip_of_audiocrafts_depends_on_its_neighbours(plain: Jasco, audiocraft: Jasco) -> None:
    short, long = Request("jazz", chords="C", seed=7), Request("a very long description of some music " * 3, chords="C", seed=8)
    for solver in (EULER, SolverConfig("dopri5", tolerance=1e-3)):
        (alone,), (beside, _) = plain.generate(short, solver=solver), plain.generate([short, long], solver=solver)
        torch.testing.assert_close(alone.latents, beside.latents, atol=1e-4, rtol=0)
        (alone,), (beside, _) = audiocraft.generate(short, solver=solver), audiocraft.generate([short, long], solver=solver)
        assert far(alone.latents, beside.latents)


def test_a_batch_is_solved_at_once_with_one_draw_of_noise(audiocraft: Jasco) -> None:
    requests = [Request("jazz", seed=7), Request("jazz", seed=9)]
    one, two = audiocraft.generate(requests, solver=SolverConfig("dopri5", tolerance=1e-2))
    assert one.evaluations == two.evaluations
    torch.manual_seed(7)
    expected = torch.randn(2, FRAMES, 16)
    assert audiocraft.compat is not None
    assert torch.equal(audiocraft.compat.noise([7, 9], FRAMES, 16), expected)


def test_what_is_saved_of_either_is_the_same(imported: Path, audiocraft: Jasco, tmp_path: Path) -> None:
    audiocraft.save_pretrained(tmp_path / "saved")
    saved, before = read_config(tmp_path / "saved"), read_config(imported)
    assert saved.transformer == before.transformer
    assert saved.codec == "codec"
    assert audiocraft.model.config.codec == "encodec"
    assert (tmp_path / "saved" / "README.md").read_text() == (imported / "README.md").read_text()
    assert audiocraft.describe()["compat"] == "audiocraft"
    again = Jasco.from_pretrained(tmp_path / "saved", compat="audiocraft")
    request = Request("jazz", chords="C", drums=torch.ones(1, 3000), seed=1)
    torch.testing.assert_close(made(again, request).latents, made(audiocraft, request).latents)


def test_compat_is_for_imported_models(tmp_path: Path, imported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="for models that were imported from audiocraft"):
        Jasco.from_pretrained(compat="audiocraft")
    with pytest.raises(UserError, match="compat 'musicgen' is unknown: None and 'audiocraft' are accepted"):
        Jasco.from_pretrained(imported, compat="musicgen")  # type: ignore[arg-type]
    command = ["generate", "--checkpoint", str(imported), "--compat", "audiocraft", "--steps", "1", "--chords", "C", "-o", str(tmp_path)]
    assert main(command) == 0
    assert '"compat": "audiocraft"' in next(tmp_path.glob("*.json")).read_text()
