from __future__ import annotations

import numpy as np
import pytest
import torch

from jasco_pl.extract.classical import onset_times

HITS = np.array([0.5, 1.0, 1.31, 2.2, 2.65, 3.4])


def clicks(rate: int) -> torch.Tensor:
    generator = np.random.default_rng(0)
    out = np.zeros(4 * rate)
    for hit in HITS:
        burst = generator.normal(0, 0.3, rate // 5) * np.exp(-np.arange(rate // 5) / (0.03 * rate))
        out[round(hit * rate) :][: len(burst)] += burst
    return torch.from_numpy(out).float()[None]


@pytest.mark.parametrize("rate", [32000, 22050])
def test_every_hit_is_found_within_50_ms_and_nothing_else(rate: int) -> None:
    found = onset_times(clicks(rate), rate)
    assert len(found) == len(HITS)
    assert np.abs(found - HITS).max() < 0.05


@pytest.mark.parametrize("wav", [torch.zeros(1, 32000), torch.zeros(1, 0)])
def test_silence_has_no_onset(wav: torch.Tensor) -> None:
    assert onset_times(wav, 32000).shape == (0,)


@pytest.mark.filterwarnings("ignore:n_fft")
def test_very_short_audio_is_taken() -> None:
    assert len(onset_times(torch.ones(1, 100) * 0.1, 32000)) <= 1
