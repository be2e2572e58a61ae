"""Clips whose end runs into their beginning."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from untrained import stir

from jasco_pl.audio.files import read_audio, write_audio
from jasco_pl.audio.wav_tags import chunks
from jasco_pl.cli import main
from jasco_pl.codec import BandCodec
from jasco_pl.controls.conditions import Conditions
from jasco_pl.generation.jasco import Jasco, Request
from jasco_pl.generation.loop import circular, decode_circle, fit_circle, plan_circle, splice_circle
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.network.text import TextEncoder
from jasco_pl.system.errors import UserError

RATE, HOP = 32000, 640
EULER = SolverConfig("euler", steps=3)


@pytest.fixture
def jasco(tiny_model_config: ModelConfig, tiny_codec_folder: Path, offline_encoder: TextEncoder) -> Jasco:
    torch.manual_seed(0)
    tiny_model_config.controls |= {"painting": {}}
    codec = BandCodec.from_pretrained(tiny_codec_folder)
    model = JascoModel(tiny_model_config, codec.latent_mean, codec.latent_std, codec.normalized_codebook, codec.normalized_silence)
    stir(model)
    return Jasco(model, codec, offline_encoder)


@pytest.mark.parametrize("frames", [1, 7, 40, 50, 51, 90, 100, 333])
@pytest.mark.parametrize("overlap", [5, 10, 25])
def test_windows_lie_all_around(frames: int, overlap: int) -> None:
    firsts, width = plan_circle(frames, 50, overlap)
    assert (firsts[0] + width // 2) % frames == 0  # the joint
    assert width <= 50 + (frames < 50)
    covered = np.zeros(frames, dtype=int)
    for first in firsts:
        np.add.at(covered, (first + np.arange(width)) % frames, 1)
    assert covered.min() >= 1
    assert covered.sum() - frames >= min(overlap, frames) * len(
        firsts
    )  # every joint is inside of two windows, or of one that is wound around


def test_one_field_out_of_windows() -> None:
    """Where all windows say the same it is what they say; otherwise a mean, without a jump from a frame to the next."""
    z, t = torch.randn(2, 100, 3, generator=torch.Generator().manual_seed(0)), torch.tensor(0.5)
    firsts, width = plan_circle(100, 50, 10)
    same = circular([(first, lambda z, t: 2 * z) for first in firsts], 100, width)
    torch.testing.assert_close(same(z, t), 2 * z)
    numbered = circular(
        [(first, lambda z, t, number=number: torch.full_like(z, number)) for number, first in enumerate(firsts)], 100, width
    )
    row = numbered(z, t)[0, :, 0]
    assert float((row - row.roll(1)).abs().max()) <= (len(firsts) - 1) / 10 + 1e-6
    assert set(row[(row % 1) == 0].tolist()) == set(map(float, range(len(firsts))))


def test_texts_of_a_loop_are_seen_over_its_joint() -> None:
    local = {"chords": torch.arange(10)[None]}
    frames = torch.tensor([[[0, 4], [4, 1 << 40]]])
    given = Conditions(local, torch.randn(1, 2, 3), torch.ones(1, 2, dtype=torch.bool), frames)
    seen = given.around(8, 16, 10)
    assert seen.local["chords"].tolist() == [[8, 9, 0, 1, 2, 3, 4, 5]]
    assert seen.text_frames is not None
    for frame in range(8):
        states = [int(state) % 2 for state in range(4) if seen.text_frames[0, state, 0] <= frame < seen.text_frames[0, state, 1]]
        assert states == [0 if (8 + frame) % 10 < 4 else 1]
    torch.testing.assert_close(seen.text[0, :2], seen.text[0, 2:])


@pytest.mark.parametrize("solver", [EULER, SolverConfig("dopri5", tolerance=1e-2)], ids=lambda solver: solver.method)
def test_a_loop_has_no_place_where_it_begins(jasco: Jasco, solver: SolverConfig) -> None:
    """Turned noise and conditions give the turned clip, but for where the windows lie; without the option they do not."""
    bars = Request("slow piano", chords="(C, 0.0), (G, 0.6)", seed=1, loop=True)
    conditions = jasco.conditions([bars.text], [jasco.read(bars, 60).asked], 60)
    third = conditions.around(20, 80, 60)

    def latents(given: Conditions, loop: bool, turn: int) -> torch.Tensor:
        import jasco_pl.generation.windows as module

        own = module._noise
        try:
            module._noise = lambda *given: own(*given).roll(turn, dims=1)
            return jasco.sample(given, [1], solver=solver, frames=60, loop=loop)[0][0]
        finally:
            module._noise = own

    turned, plain = latents(third, True, -20).roll(20, dims=0), latents(conditions, True, 0)
    torch.testing.assert_close(turned, plain, atol=2e-3, rtol=0)  # three windows: turned by a third, they change places
    assert float((latents(third, False, -20).roll(20, dims=0) - latents(conditions, False, 0)).abs().max()) > 0.05


def test_a_loop_does_not_depend_on_its_batch(jasco: Jasco) -> None:
    requests = [Request("slow piano", chords="C G", seed=seed, loop=loop or None) for seed, loop in ((1, True), (2, True), (1, False))]
    together = jasco.generate(requests, seconds=1.3, solver=EULER)
    for request, clip in zip(requests, together, strict=True):
        torch.testing.assert_close(jasco.generate(request, seconds=1.3, solver=EULER)[0].latents, clip.latents, atol=1e-4, rtol=0)
    assert float((together[0].latents - together[2].latents).abs().max()) > 1e-2


@pytest.mark.parametrize(("bpm", "meter", "bars"), [(96, "4/4", 1), (113, "4/4", 0.5), (100, "3/4", 1), (217.3, "6/8", 2), (140, "7/8", 1)])
def test_it_is_as_long_as_its_bars_to_the_sample(jasco: Jasco, bpm: float, meter: str, bars: float) -> None:
    (clip,) = jasco.generate(Request(chords="C G", bpm=bpm, meter=meter, bars=bars, loop=True), solver=EULER)
    quarters = {"4/4": 4, "3/4": 3, "6/8": 2, "7/8": 3.5}[meter]  # of the tempo's beats
    assert clip.audio.shape == (1, round(bars * quarters * 60 / bpm * RATE))
    assert torch.isfinite(clip.audio).all()
    assert any("beat jumps" in note for note in clip.notes) == (bars == 0.5)


def test_the_sound_goes_on_over_the_joint(jasco: Jasco) -> None:
    """What follows the last sample is what would follow it in a longer piece of the same latents, even where phases are sought anew."""
    time = torch.arange(4 * RATE) / RATE
    wav = 0.3 * torch.sin(2 * torch.pi * 441.5 * time)[None]
    latents = jasco.codec.encode(wav[None])[0, 50:150]
    plain, loop = jasco.decode(latents[None])[0], decode_circle(jasco.decode, latents, HOP, RATE)
    assert loop.shape == plain.shape

    def jump(audio: torch.Tensor) -> float:
        """The largest second difference at the joint, over the largest further inside."""
        bends = audio[0].roll(1000).diff(n=2).abs()
        return float(bends[960:1040].max() / bends[2000:20_000].max())

    assert jump(plain) > 2
    assert jump(loop) < 1.5
    levels = loop[0].roll(RATE // 2)[:RATE].unfold(0, RATE // 50, RATE // 50).square().mean(dim=1).log10() * 10
    assert float(levels[22:29].min()) > float(torch.cat([levels[:22], levels[29:]]).min()) - 1  # no hole where phases would meet
    # and it is one sound wherever the circle is cut, but for the phases that the search begins with
    bands = jasco.codec.encode(loop.repeat(1, 3)[None])[0, 100:200]
    inner = float((bands - latents)[20:80].abs().mean())
    assert float((bands - latents)[[*range(5), *range(-5, 0)]].abs().mean()) < 1.3 * inner


def test_resampling_knows_no_ends() -> None:
    time = torch.arange(20_000, dtype=torch.float64) / 20_000
    wav = torch.sin(2 * torch.pi * 500 * time)[None].float()
    for samples in (19_991, 20_000, 20_177):
        exact = torch.sin(2 * torch.pi * 500 * torch.arange(samples, dtype=torch.float64) / samples)[None].float()
        torch.testing.assert_close(fit_circle(wav, samples), exact, atol=1e-5, rtol=0)


def test_a_recording_becomes_a_loop(jasco: Jasco, tmp_path: Path) -> None:
    """Kept in its middle to the sample; what is made fades into it on both sides, over the joint too."""
    made, recording = torch.full((1, 50 * HOP), 0.01), torch.linspace(0.1, 0.2, 60 * HOP)[None]
    kept = np.ones(50, dtype=bool)
    kept[[*range(6), *range(44, 50)]] = False
    out = splice_circle(made, recording, kept, HOP, RATE)
    inside = slice(12 * HOP, 38 * HOP)
    assert torch.equal(out[:, inside], recording[:, inside])
    assert float(out[0].roll(1).diff().abs().max()) < 0.001  # no edge anywhere
    write_audio(tmp_path / "song.wav", 0.1 * torch.randn(1, RATE, generator=torch.Generator().manual_seed(0)), RATE)
    (clip,) = jasco.generate(Request(paint=tmp_path / "song.wav", redo="0.8-1", loop=True), solver=EULER)
    song = read_audio(tmp_path / "song.wav", RATE)
    assert torch.equal(clip.audio[:, RATE // 5 : RATE // 2], song[:, RATE // 5 : RATE // 2])


@pytest.mark.parametrize(
    ("asked", "seconds", "why"),
    [
        ({"bars": 4}, None, "a length of 4 bars needs their tempo"),
        ({"bars": 4, "bpm": 96}, 8.0, "both seconds .8. and bars .4. were given"),
        ({"bars": -1, "bpm": 96}, None, "more than 0 bars"),
        ({"bars": 800, "bpm": 30}, None, "up to 600 seconds"),
    ],
)
def test_lengths_that_cannot_be(jasco: Jasco, asked: dict[str, float], seconds: float | None, why: str) -> None:
    with pytest.raises(UserError, match=why):
        jasco.generate(Request(**asked, loop=True), seconds=seconds)


def test_a_tempo_that_does_not_fit_is_said(jasco: Jasco) -> None:
    (clip,) = jasco.generate(Request(chords="C", bpm=100, loop=True), seconds=0.9, solver=EULER)
    assert "loop: 0.9 s are 0.38 bars of 100 bpm, so that the beat jumps where it begins anew (see bars)" in clip.notes


def test_on_the_command_line(jasco: Jasco, tmp_path: Path) -> None:
    jasco.save_pretrained(tmp_path / "model")
    how = ["--device", "cpu", "-o", str(tmp_path / "loop.wav")]
    asked = ["--chords", "C G", "--bpm", "113", "--meter", "2/4", "--bars", "1", "--loop", "--steps", "2"]
    assert main(["generate", *asked, "--checkpoint", str(tmp_path / "model"), *how]) == 0
    content = (tmp_path / "loop.wav").read_bytes()
    samples = round(2 * 60 / 113 * RATE)
    found = chunks(content)
    assert len(found[b"data"]) == 2 * samples
    assert struct.unpack("<6I", found[b"smpl"][36:]) == (0, 0, 0, samples - 1, 0, 0)
    assert struct.unpack("<IHHfIHHf", found[b"acid"])[4:] == (2, 4, 2, 113.0)
    told = json.loads((tmp_path / "loop.json").read_text())
    assert (told["request"]["loop"], told["request"]["bars"]) == (True, 1.0)
    assert main(["generate", "--from", str(tmp_path / "loop.json"), *how]) == 0
    assert (tmp_path / "loop-2.wav").read_bytes() == content
