from __future__ import annotations

import numpy as np
import pytest
import torch

from jasco_pl.audio.long_audio import InMemory
from jasco_pl.extract import dynamics
from jasco_pl.extract.dynamics import FLOOR, clip_levels, levels

RATE = 32000


def noise(seconds: float, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, round(seconds * RATE), generator=torch.Generator().manual_seed(seed))


def test_a_steady_sound_is_level_to_its_ends_and_a_step_is_its_decibels() -> None:
    tone = 0.1 * torch.sin(2 * torch.pi * 440 * torch.arange(4 * RATE) / RATE)[None]
    assert clip_levels(tone, RATE, 200) == pytest.approx(0, abs=0.01)
    tone[:, : 2 * RATE] *= 0.1
    found = clip_levels(tone, RATE, 200)
    assert found[:60] == pytest.approx(-20, abs=0.02)
    assert found[140:] == pytest.approx(0, abs=0.02)
    assert found[100] == pytest.approx(10 * np.log10(0.5), abs=0.3)  # in the middle of the step half of the power
    assert found.dtype == np.float32


def test_loudness_as_a_whole_does_not_count_and_silence_is_the_floor() -> None:
    clip = noise(2.0)
    clip[:, RATE:] = 0
    np.testing.assert_allclose(clip_levels(clip, RATE, 100), clip_levels(0.01 * clip, RATE, 100), atol=1e-3)
    assert clip_levels(clip, RATE, 100)[95] == FLOOR
    assert (clip_levels(torch.zeros(1, RATE), RATE, 50) == FLOOR).all()
    assert clip_levels(clip, RATE, 100).max() == 0
    assert len(clip_levels(clip, RATE, 130)) == 130  # frames beyond the sound are silent
    assert len(clip_levels(clip[:, :1000], RATE, 2)) == 2


def test_a_hit_on_every_beat_is_no_dynamics() -> None:
    """At 90 beats a minute what is left of them is a few decibels."""
    time = torch.arange(8 * RATE) / RATE
    hits = noise(8.0) * torch.exp(-8 * (time % (60 / 90)))
    assert np.ptp(clip_levels(hits, RATE, 400)[50:350]) < 3


def test_blocks_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = InMemory(noise(5.0), RATE)
    whole = levels(samples, 250)
    monkeypatch.setattr(dynamics, "_BLOCK", 1)
    np.testing.assert_array_equal(levels(samples, 250), whole)
