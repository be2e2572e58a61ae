from __future__ import annotations

import numpy as np
import pytest
import torch

from jasco_pl.extract.classical import onset_times
from jasco_pl.extract.heard import Heard

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


def test_a_hit_at_the_very_beginning_is_found_and_leaves_the_others() -> None:
    cut = clicks(32000)[:, 16000:]
    found, counted = onset_times(cut, 32000), onset_times(cut, 32000, start=False)
    assert found[0] == 0
    assert found[1:].tolist() == counted.tolist()
    assert np.abs(found - (HITS - 0.5)).max() < 0.05
    assert Heard(cut, 32000).onsets.tolist() == counted.tolist()  # as figures were always counted


def test_what_is_heard_of_the_beginning_is_one_hit() -> None:
    """A tone begins: librosa hears that in the first frame that it compares, 0.07 s late."""
    tone = 0.3 * torch.sin(2 * torch.pi * 440 * torch.arange(64000) / 32000)[None]
    assert onset_times(tone, 32000, start=False).tolist() == pytest.approx([0.0697], abs=1e-3)
    assert onset_times(tone, 32000).tolist() == [0.0]


def test_noise_and_what_swells_are_no_hit_at_the_beginning() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = 0.001 * torch.randn(1, 4 * 32000, generator=generator)
    assert 0.0 not in onset_times(clicks(32000) + noise, 32000)
    swell = torch.randn(1, 4 * 32000, generator=generator) * torch.linspace(0, 0.3, 4 * 32000)
    assert 0.0 not in onset_times(swell, 32000)


@pytest.mark.parametrize("wav", [torch.zeros(1, 32000), torch.zeros(1, 0)])
def test_silence_has_no_onset(wav: torch.Tensor) -> None:
    assert onset_times(wav, 32000).shape == (0,)


@pytest.mark.filterwarnings("ignore:n_fft")
def test_very_short_audio_is_taken() -> None:
    assert len(onset_times(torch.ones(1, 100) * 0.1, 32000)) <= 1
