from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from jasco_pl.codec import BandCodec
from jasco_pl.controls.base import FrameGrid
from jasco_pl.controls.dynamics import SHAPES, Dynamics, read_points
from jasco_pl.extract.heard import Heard
from jasco_pl.system.errors import UserError


@pytest.fixture
def grid(tiny_codec_folder: Path) -> FrameGrid:
    return FrameGrid(200, BandCodec.from_pretrained(tiny_codec_folder), lambda latents: latents, 200)


def read(asked: object, grid: FrameGrid) -> np.ndarray:
    return Dynamics().read({"dynamics": asked}, grid).raw


@pytest.mark.parametrize("written", ["1:-30, 3:-10", "1s:-30dB; 3:-10", "1:-30 3:-10", [(1, -30), (3, -10)]])
def test_between_points_levels_go_straight_and_beyond_them_they_stay(written: object, grid: FrameGrid) -> None:
    raw = read(written, grid)
    assert raw.shape == (200,)
    assert raw[[0, 10, 199]] == pytest.approx([-30, -30, -10])
    assert raw[100] == pytest.approx(-30 + 20 * (100.5 / 50 - 1) / 2, abs=1e-3)


@pytest.mark.parametrize("word", SHAPES)
def test_a_word_is_a_shape_of_the_whole_clip(word: str, grid: FrameGrid) -> None:
    raw = read(word.upper(), grid)
    assert ((raw >= -60) & (raw <= 0)).all()
    assert raw.max() > -4
    assert word == "steady" or raw.max() - raw.min() > 10
    assert (np.diff(raw[10:190]).mean() > 0) == (word in ("build", "drop")) or word in ("swell", "break", "steady")


def test_audio_gives_its_own_dynamics_and_leaves_the_rest_free(grid: FrameGrid, tmp_path: Path) -> None:
    rate = 32000
    tone = np.sin(2 * np.pi * 440 * np.arange(3 * rate) / rate)
    tone[: rate * 3 // 2] *= 0.01  # -40 dB
    soundfile.write(tmp_path / "soft then loud.wav", 0.3 * tone, rate)
    reading = Dynamics().read({"dynamics": tmp_path / "soft then loud.wav"}, grid)
    assert reading.raw[:30] == pytest.approx(-40, abs=0.2)
    assert reading.raw[120:150] == pytest.approx(0, abs=0.2)
    assert (reading.raw[150:] == 100).all()
    assert reading.notes == ["dynamics: given up to 3.00 s; free after it"]
    wave = read(torch.from_numpy(0.03 * tone).float()[None], grid)  # its own loudness does not count
    np.testing.assert_allclose(wave, reading.raw, atol=0.05)
    assert read(reading.raw[:150], grid)[149:151].tolist() == pytest.approx([reading.raw[149], 100])


def test_silence_is_noted(grid: FrameGrid) -> None:
    reading = Dynamics().read({"dynamics": torch.zeros(1, 4 * 32000)}, grid)
    assert (reading.raw == -60).all()
    assert reading.notes == ["dynamics: silent: all of it asks for -60 dB"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("loud", "'loud' are not understood; write points as in '0:-30, 5:-10' .*build.*audio file"),
        ("", "not understood"),
        ("0:-30, 5", "not understood"),
        ("0:-30, 5:nan", "nan dB at 5 s; levels lie between -60 and 0"),
        ("0:-30, 5:3", "3 dB at 5 s; levels lie between -60 and 0"),
        ("0:-70", "-70 dB at 0 s"),
        ("5:-30, 2:0", "a point at 2 s after one at 5 s; times must rise"),
        ("nowhere.wav", "nowhere.wav"),
        (np.ones(5), "array has shape"),
    ],
)
def test_what_is_no_curve_is_said(asked: object, said: str, grid: FrameGrid) -> None:
    with pytest.raises(UserError, match=said):
        read(asked, grid)


def test_points_are_read_as_they_stand() -> None:
    assert read_points("0:-12.5,1.5:-3") == [(0, -12.5), (1.5, -3)]


def test_nothing_given_is_not_loud_and_not_silent() -> None:
    control = Dynamics()
    nothing, loud, silent = control(torch.tensor([[100.0, 0.0, -60.0]]))[0]
    assert not torch.allclose(nothing, loud)
    assert not torch.allclose(nothing, silent)
    torch.testing.assert_close(control(control.null_frames(1, 1))[0, 0], nothing)


def test_what_is_asked_for_is_measured_by_its_course(grid: FrameGrid) -> None:
    adherence = Dynamics.adherence
    assert adherence is not None
    raw = read("0:-30, 4:0", grid)
    raw[:50] = 100
    asked = adherence.asked({"dynamics": raw.astype(np.float16)}, None)
    assert asked is not None
    assert np.isnan(asked[:50]).all()
    clip = Heard(torch.randn(1, 4 * 32000, generator=torch.Generator().manual_seed(0)), 32000)
    flat = adherence.figures(clip, asked, clip.whole)
    ramp = 10 ** ((np.arange(4 * 32000) / 32000 * 7.5 - 40) / 20)
    clip = Heard(clip.audio * torch.from_numpy(ramp).float(), 32000)
    follows = adherence.figures(clip, asked, clip.whole)
    assert follows["dynamics_correlation"] > 0.99
    assert follows["dynamics_error"] < 1.0
    assert abs(flat["dynamics_correlation"]) < 0.9
    assert flat["dynamics_error"] > 4
    assert adherence.asked({"dynamics": np.full(200, 100.0)}, None) is None
    assert adherence.asked({}, None) is None
