from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from jasco_pl.audio.channels import Downmix
from jasco_pl.audio.files import read_audio
from jasco_pl.audio.long_audio import LongAudio

RATE = 32000
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)
SILENCE = np.zeros_like(TONE)


def read(tmp_path: Path, *channels: np.ndarray, rate: int = RATE) -> tuple[torch.Tensor, list[str]]:
    notes: list[str] = []
    soundfile.write(tmp_path / "x.wav", np.stack(channels, axis=1), rate, subtype="FLOAT")
    return read_audio(tmp_path / "x.wav", notes=notes)[0], notes


@pytest.mark.parametrize("rate", [32000, 48000])
def test_opposite_phase_is_heard(tmp_path: Path, rate: int) -> None:
    wav, notes = read(tmp_path, TONE, -TONE, rate=rate)
    assert wav.abs().max() == pytest.approx(0.3, abs=0.01)
    assert notes == ["its channels cancel out in their mean: the louder one (left) was taken"]
    with LongAudio(tmp_path / "x.wav") as audio:  # as `jasco prepare` reads it
        np.testing.assert_allclose(audio.samples(RATE)[:], wav, atol=1e-4)
        assert np.abs(np.concatenate(list(audio.stereo(RATE)))).max() == pytest.approx(0.3, abs=0.01)  # as separation does
        assert audio.channel == 0
    with LongAudio(tmp_path / "x.wav") as audio:
        assert np.abs(np.concatenate(list(audio.stereo(RATE))).mean(axis=1)).max() == pytest.approx(0.3, abs=0.01)


def test_a_constant_offset_does_not_hide_it(tmp_path: Path) -> None:
    wav, notes = read(tmp_path, 0.1 - 0.4 * TONE, 0.1 + TONE)
    assert notes == []  # the mean has lost 10.5 dB
    assert wav.std() == pytest.approx(0.3 * TONE.std(), rel=1e-3)
    assert read(tmp_path, 0.1 - 0.9 * TONE, 0.1 + TONE)[1] == ["its channels cancel out in their mean: the louder one (right) was taken"]


@pytest.mark.parametrize(
    ("channels", "rms"),
    [
        ((TONE, SILENCE), 0.5),
        ((SILENCE, TONE), 0.5),
        ((TONE, TONE), 1.0),
        ((TONE, np.roll(TONE, 18)), 0.71),  # a quarter of a period apart
        ((SILENCE,) * 2, 0.0),
        ((TONE, SILENCE, SILENCE), 1 / 3),
    ],
)
def test_what_the_mean_keeps_is_the_mean(tmp_path: Path, channels: tuple[np.ndarray, ...], rms: float) -> None:
    wav, notes = read(tmp_path, *channels)
    assert notes == []
    assert wav.std() == pytest.approx(rms * TONE.std(), abs=0.01)


def test_one_microphone_of_six_is_found(tmp_path: Path) -> None:
    wav, notes = read(tmp_path, SILENCE, SILENCE, SILENCE, TONE, SILENCE, SILENCE)
    assert notes == ["its channels cancel out in their mean: the louder one (4 of 6) was taken"]
    assert torch.equal(wav, torch.from_numpy(TONE))


def test_blocks_do_not_matter() -> None:
    stereo = np.stack([TONE, -0.95 * TONE], axis=1)
    whole, parts = Downmix(), Downmix()
    whole(stereo)
    for block in np.array_split(stereo, 7):
        parts(block)
    assert whole.louder == parts.louder == 0
    assert Downmix().louder is None
