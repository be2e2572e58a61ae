"""A stretch of a song made anew."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from untrained import stir

from jasco_pl.audio.files import SAMPLE_RATE
from jasco_pl.cli import main
from jasco_pl.codec import BandCodec
from jasco_pl.generation.editing import Edit
from jasco_pl.generation.jasco import Jasco, Request
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.network.text import TextEncoder
from jasco_pl.system.errors import UserError

EULER = SolverConfig("euler", steps=2)
Said = pytest.CaptureFixture[str]


@pytest.fixture
def jasco(tiny_model_config: ModelConfig, tiny_codec_folder: Path, offline_encoder: TextEncoder) -> Jasco:
    torch.manual_seed(0)
    tiny_model_config.controls |= {"painting": {"masks": "varied"}}
    codec = BandCodec.from_pretrained(tiny_codec_folder)
    model = JascoModel(tiny_model_config, codec.latent_mean, codec.latent_std, codec.normalized_codebook, codec.normalized_silence)
    stir(model)
    return Jasco(model, codec, offline_encoder)


def song(path: Path, seconds: float, rate: int, channels: int, subtype: str) -> np.ndarray:
    """Noise with its own level in every channel; what a file of that format holds of it."""
    draw = np.random.default_rng(0)
    soundfile.write(path, draw.normal(size=(round(seconds * rate), channels)) * 0.05 * (1 + np.arange(channels)), rate, subtype=subtype)
    return soundfile.read(path, dtype="float64", always_2d=True)[0]


@pytest.mark.parametrize(
    ("name", "rate", "channels", "subtype", "stretch"),
    [
        ("song.wav", 44_100, 2, "PCM_16", (1.003, 1.5)),
        ("song.wav", 48_000, 2, "PCM_24", (0.0, 0.7)),
        ("song.wav", 32_000, 1, "FLOAT", (2.5, 3.0)),
        ("song.wav", 96_000, 3, "DOUBLE", (0.05, 0.4)),
        ("song.wav", 22_050, 1, "PCM_32", (2.0, 2.96)),
        ("song.wav", 8_000, 2, "PCM_U8", (1.0, 1.25)),
        ("song.flac", 44_100, 2, "PCM_24", (0.8, 2.4)),
    ],
)
def test_all_else_stays_bit_by_bit(
    jasco: Jasco, tmp_path: Path, name: str, rate: int, channels: int, subtype: str, stretch: tuple[float, float]
) -> None:
    before = song(tmp_path / name, 3.0, rate, channels, subtype)
    edit = Edit.of(jasco, tmp_path / name, *stretch)
    (clip,) = edit.make([Request("calm", chords="C G", seed=1)], solver=EULER)
    edit.write(tmp_path / f"out-{name}", clip)
    told = soundfile.info(tmp_path / f"out-{name}")
    assert (told.samplerate, told.channels, told.subtype, told.frames) == (rate, channels, subtype, len(before))
    after = soundfile.read(tmp_path / f"out-{name}", dtype="float64", always_2d=True)[0]
    first, stop, fade = round(stretch[0] * rate), round(stretch[1] * rate), round(0.1 * rate)
    changed = np.flatnonzero((before != after).any(axis=1))
    assert changed[0] >= max(0, first - fade)
    assert changed[-1] < stop + fade
    inside = after[first:stop]
    step = {"PCM_U8": 2**-7, "PCM_16": 2**-15}.get(subtype, 2**-23)
    assert np.abs(inside - inside[:, :1]).max() <= step  # one sound in all channels
    if name == "song.wav" and channels == 1:
        assert np.corrcoef(inside[:, 0], before[first:stop, 0])[0, 1] < 0.9  # and another one


def test_it_is_as_loud_as_what_lies_around_it(jasco: Jasco, tmp_path: Path) -> None:
    """Sides that differ are louder together than their mean."""
    song(tmp_path / "song.wav", 3.0, 44_100, 2, "FLOAT")
    edit = Edit.of(jasco, tmp_path / "song.wav", 1.0, 2.0)
    assert edit.wider_db == pytest.approx(10 * np.log10((1 + 4) / 2 / ((1 + 4) / 4)), abs=0.2)  # power of two sides, and of their mean
    (clip,) = edit.make([Request(seed=1)], solver=EULER)
    patch, lead = edit.patch(clip)
    assert lead == 4410
    whole = soundfile.read(tmp_path / "song.wav")[0]
    level = 10 * np.log10(np.square(patch[lead:-4410]).mean() / np.square(whole).mean())
    assert abs(level) < 6


def test_times_count_from_where_the_stretch_begins(jasco: Jasco, tmp_path: Path) -> None:
    song(tmp_path / "song.wav", 3.0, 44_100, 2, "PCM_16")
    edit = Edit.of(jasco, tmp_path / "song.wav", 1.2, 1.8)
    clip = edit.read(Request("0-0.2: piano; 0.2-: drums", chords="C@0 G@0.4", during="chords=0-0.5", seed=1))
    alone = jasco.read(Request(chords="C@0 G@0.4", during="chords=0-0.5"), 30)
    null = jasco.model.controls.by_name["chords"].null
    chords = clip.asked["chords"]
    assert chords[edit.before : edit.before + 30].tolist() == alone.asked["chords"].tolist()
    assert set(chords[: edit.before]) | set(chords[edit.before + 30 :]) == {null}
    kept = ~np.isnan(clip.asked["painting"]).any(axis=1)
    assert np.flatnonzero(~kept).tolist() == list(range(edit.before, edit.before + 30))
    assert edit.frames == 60  # three tenths of the second that the model has learnt, on either side
    start = edit.before / 50
    assert [(one[0], one[1]) for one in clip.request.text] == [(0, 0.2 + start), (0.2 + start, None)]
    assert clip.during["chords"].sum() == 25


def test_long_stretches_are_made_window_by_window(jasco: Jasco, tmp_path: Path) -> None:
    song(tmp_path / "song.wav", 6.0, 16_000, 1, "PCM_16")
    edit = Edit.of(jasco, tmp_path / "song.wav", 1.0, 5.0)
    (clip,) = edit.make([Request(chords="C G Am F", seed=1)], solver=EULER)
    assert clip.evaluations > 2 * EULER.steps
    assert clip.audio.shape[-1] == edit.frames * 640


def test_what_is_there_is_varied(jasco: Jasco, tmp_path: Path) -> None:
    song(tmp_path / "song.wav", 3.0, SAMPLE_RATE, 1, "FLOAT")
    edit = Edit.of(jasco, tmp_path / "song.wav", 1.0, 2.0)
    inside = slice(edit.before, edit.before + edit.inside)
    there = jasco.read(Request(vary=edit.wav), edit.frames).source[inside]
    far = [
        float((jasco.model.normalize(next(edit.make([Request(seed=1)], share, solver=EULER)).latents[inside]) - there).square().mean())
        for share in (0.0, 0.4, 1.0)
    ]
    assert far[0] < 1e-4
    assert far == sorted(far)


@pytest.mark.parametrize(
    ("stretch", "why"),
    [
        ((3.5, 4.0), "does not lie in the song, which lasts 3.00 s"),
        ((2.5, 3.2), "does not lie in the song"),
        ((1.0, 1.05), "nothing to make anew between 1 and 1.05"),
        ((0.0, None), "all of the song"),
        ((0.0, 3.0), "all of the song"),
    ],
)
def test_stretches_that_cannot_be(jasco: Jasco, tmp_path: Path, stretch: tuple[float, float | None], why: str) -> None:
    song(tmp_path / "song.wav", 3.0, 44_100, 2, "PCM_16")
    with pytest.raises(UserError, match=why):
        Edit.of(jasco, tmp_path / "song.wav", *stretch)


def test_silence_around_is_refused(jasco: Jasco, tmp_path: Path) -> None:
    samples = np.zeros((3 * 44_100, 2))
    samples[44_100:88_200] = 0.1
    soundfile.write(tmp_path / "song.wav", samples, 44_100)
    with pytest.raises(UserError, match=r"around the stretch \(0.* the song is silent"):
        Edit.of(jasco, tmp_path / "song.wav", 0.9, 2.1)


def test_a_header_that_says_too_much_is_said(jasco: Jasco, tmp_path: Path) -> None:
    song(tmp_path / "song.wav", 3.0, 8_000, 1, "PCM_16")
    (tmp_path / "song.wav").write_bytes((tmp_path / "song.wav").read_bytes()[:-16_000])
    (clip,) = Edit.of(jasco, tmp_path / "song.wav", 1.0, 1.3).make([Request()], solver=EULER)
    assert "the song: its header says 3.0 s, and 2.0 s are there" in clip.notes
    assert not [note for note in clip.notes if "of the clip" in note]  # the window is nothing that a musician sees


def test_sides_that_cancel_out_are_heard(jasco: Jasco, tmp_path: Path) -> None:
    side = np.random.default_rng(0).normal(size=3 * 44_100) * 0.1
    soundfile.write(tmp_path / "song.wav", np.stack([side, -0.98 * side], axis=1), 44_100)
    edit = Edit.of(jasco, tmp_path / "song.wav", 1.0, 2.0)
    assert edit.notes == ["the song: its channels cancel out in their mean: the louder one (left) was taken"]
    assert edit.wider_db == pytest.approx(0.0, abs=0.1)


@pytest.fixture
def folder(jasco: Jasco, tmp_path: Path) -> Path:
    jasco.save_pretrained(tmp_path / "model")
    song(tmp_path / "song.wav", 3.0, 44_100, 2, "PCM_24")
    return tmp_path


def run(folder: Path, *more: str) -> int:
    how = ["--checkpoint", str(folder / "model"), "--steps", "2", "--device", "cpu", "--precision", "fp32", "-o", str(folder / "out")]
    return main(["edit", str(folder / "song.wav"), *how, *more])


def test_on_the_command_line(folder: Path, capsys: Said) -> None:
    whole = ["--from", "0:01", "--bars", "0.5", "--bpm", "150", "--chords", "C G", "--variation", "0.8"]
    assert run(folder, *whole, "-n", "2", "--seed", "3") == 0
    out = folder / "out"
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"song-edit-seed{seed}.{kind}" for seed in (3, 4) for kind in ("wav", "json")
    )
    told = json.loads((out / "song-edit-seed4.json").read_text())
    assert told["edit"] == {"song": str(folder / "song.wav"), "from": 1.0, "to": 1.8, "variation": 0.8}
    assert {"song", "checkpoint", "codec"} <= set(told["parts"])
    assert (told["seconds"], told["request"]["chords"], told["during"]["chords"]) == (3.0, "C G", [[0, 0.8]])
    assert run(folder, *whole, "--seed", "4") == 0  # alone: in a batch it is the same but for rounding
    capsys.readouterr()
    assert main(["edit", "--again", str(out / "song-edit-seed4-2.json"), "--device", "cpu", "-o", str(out)]) == 0
    assert "the sound is the same, sample by sample" in capsys.readouterr().out
    assert (out / "song-edit-seed4-3.wav").read_bytes() == (out / "song-edit-seed4-2.wav").read_bytes()
    assert main(["generate", "--from", str(out / "song-edit-seed4.json"), "-o", str(out)]) == 2
    assert "jasco edit --again" in capsys.readouterr().err
    (folder / "song.wav").write_bytes((folder / "song.wav").read_bytes()[:-6] + b"\1\2\3\4\5\6")
    assert main(["edit", "--again", str(out / "song-edit-seed4.json"), "--device", "cpu", "-o", str(out)]) == 2
    assert "its song is not what it was" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--from", "2", "--to", "1"], "ends where it begins, or before"),
        (["--from", "x", "--to", "1"], "--from 'x' is no time"),
        (["--from", "1:70", "--to", "100"], "--from '1:70' is no time"),
        (["--from", "4", "--to", "5"], "the song, which ends at 3.00 s"),
        (["--from", "1", "--to", "1e9"], "the song, which ends at 3.00 s"),
        (["--from", "1", "--bars", "2"], "--bars is a length in bars of --bpm"),
        (["--from", "1", "--to", "2", "--chords", "Hm7x"], "Hm7x"),
        (["--from", "1", "--to", "2", "--chords", "C", "--keep-chords"], "one of them"),
        (["--from", "1", "--to", "2", "--variation", "2"], "between 0 .* and 1"),
        (["--to", "2"], "where the stretch begins"),
        (["--from", "1", "--to", "2", "-o", "-"], "not to standard output"),
    ],
)
def test_what_is_refused_before_anything_is_made(folder: Path, more: list[str], why: str, capsys: Said) -> None:
    assert run(folder, *more) == 2
    assert re.search(why, capsys.readouterr().err)
    assert not (folder / "out").exists()


def test_nothing_half_made_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Edit, *given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Edit, "patch", interrupted)
    assert run(folder, "--from", "1", "--to", "2") == 130
    assert list((folder / "out").iterdir()) == []


def test_compressed_songs(folder: Path, capsys: Said) -> None:
    """Of them the decoded samples stay in a WAV; what is encoded anew is said."""
    samples = soundfile.read(folder / "song.wav")[0]
    soundfile.write(folder / "song.ogg", samples, 44_100)
    before = soundfile.read(folder / "song.ogg", dtype="float32")[0]
    how = ["--checkpoint", str(folder / "model"), "--steps", "2", "--device", "cpu", "--from", "1", "--to", "2"]
    assert main(["edit", str(folder / "song.ogg"), *how, "-o", str(folder / "made.wav")]) == 0
    after = soundfile.read(folder / "made.wav", dtype="float32")[0]
    assert soundfile.info(folder / "made.wav").subtype == "FLOAT"
    np.testing.assert_array_equal(after[: round(0.9 * 44_100)], before[: round(0.9 * 44_100)])
    np.testing.assert_array_equal(after[round(2.1 * 44_100) :], before[round(2.1 * 44_100) :])
    assert main(["edit", str(folder / "song.ogg"), *how, "-o", str(folder / "made.ogg")]) == 0
    assert "all of the song is encoded anew" in capsys.readouterr().out
