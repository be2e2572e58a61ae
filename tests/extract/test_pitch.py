from __future__ import annotations

import numpy as np
import pytest
import torch

from jasco_pl.extract.classical import pyin_melody

LINE = ((60, 0.5), (None, 0.3), (62, 0.5), (67, 1.0), (43, 0.8), (95, 0.5), (None, 0.4), (38, 0.5), (72, 1.0))


def harmonics(midi: int, seconds: float, rate: int) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    frequency = 440 * 2 ** ((midi - 69) / 12)
    partials = [np.sin(2 * np.pi * k * frequency * time) / k for k in range(1, 10) if k * frequency < rate / 2]
    return 0.2 * sum(partials) * np.minimum(1, 50 * time) * np.minimum(1, 20 * (seconds - time))


def line(rate: int) -> torch.Tensor:
    parts = [np.zeros(round(seconds * rate)) if midi is None else harmonics(midi, seconds, rate) for midi, seconds in LINE]
    noise = np.random.default_rng(0).normal(0, 1e-3, sum(map(len, parts)))
    return torch.from_numpy(np.concatenate(parts) + noise).float()[None]


def truth() -> np.ndarray:
    return np.concatenate([np.full(round(s * 50), m - 43 if m is not None and 43 <= m <= 95 else -1) for m, s in LINE])


@pytest.mark.parametrize("rate", [32000, 44100])
def test_a_played_line_is_heard_and_notes_below_the_range_are_not(rate: int) -> None:
    wanted = truth()
    heard = pyin_melody(line(rate), rate, len(wanted))
    assert heard.dtype == np.int8
    assert heard.shape == wanted.shape
    sounding = wanted >= 0
    assert (heard == wanted)[sounding].mean() > 0.9
    assert (heard >= 0)[~sounding].mean() < 0.25  # a frame sees 93 ms, so that notes reach into rests


def test_time_past_the_end_is_unvoiced_and_longer_audio_is_cut() -> None:
    wav = torch.from_numpy(harmonics(69, 1.0, 32000)).float()[None]
    heard = pyin_melody(wav, 32000, 100)
    assert (heard[5:45] == 69 - 43).all()
    assert (heard[55:] == -1).all()
    assert len(pyin_melody(wav, 32000, 20)) == 20


@pytest.mark.parametrize("samples", [0, 32000])
def test_silence_has_no_melody(samples: int) -> None:
    assert (pyin_melody(torch.zeros(1, samples), 32000, 50) == -1).all()


def test_noise_has_no_melody() -> None:
    noise = torch.randn(1, 32000, generator=torch.Generator().manual_seed(0)) * 0.1
    assert (pyin_melody(noise, 32000, 50) == -1).mean() > 0.9
