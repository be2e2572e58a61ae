from __future__ import annotations

import math

import pytest
import torch

from jasco_pl.metrics.reconstruction import mel_distance, pitch_distance
from jasco_pl.system.errors import UserError

RATE = 32000


def tone(cents: float = 0.0, rate: int = RATE) -> torch.Tensor:
    return 0.1 * torch.sin(2 * torch.pi * 440 * 2 ** (cents / 1200) * torch.arange(2 * rate) / rate)[None]


def blunt() -> torch.Tensor:
    """Noise as narrow as the semitone about the tone, as strong."""
    white = torch.fft.rfft(torch.randn(2 * RATE, generator=torch.Generator().manual_seed(0)))
    noise = torch.fft.irfft(white * ((torch.fft.rfftfreq(2 * RATE, 1 / RATE) - 440).abs() < 12))[None]
    return noise * (tone().norm() / noise.norm())


def test_identical_is_zero_and_silence_is_finite() -> None:
    assert pitch_distance(tone(), tone()) == 0.0
    silence = torch.zeros(1, RATE)
    assert pitch_distance(silence, silence) == 0.0
    assert math.isfinite(pitch_distance(silence, tone()[:, :RATE]))


def test_thirds_of_a_semitone_and_blunt_peaks_count_where_level_hardly_does() -> None:
    louder = pitch_distance(1.2 * tone(), tone())
    for sound in (tone(33.3), blunt()):
        assert pitch_distance(sound, tone()) > 12 * louder > 0
    assert mel_distance(tone(33.3), tone()) < 4 * mel_distance(1.2 * tone(), tone())  # to a mel spectrum the two are much the same


def test_it_does_not_hear_what_has_no_pitch() -> None:
    hiss = torch.randn(1, 2 * RATE, generator=torch.Generator().manual_seed(1))
    high = torch.fft.irfft(torch.fft.rfft(hiss) * (torch.fft.rfftfreq(2 * RATE, 1 / RATE) > 4000))
    assert pitch_distance(tone() + 0.1 * high, tone()) < 0.1 * pitch_distance(tone() + 0.1 * hiss, tone())


def test_other_rates_are_compared_alike() -> None:
    here, there = (pitch_distance(tone(33.3, rate), tone(0, rate), rate) for rate in (RATE, 48000))
    assert there == pytest.approx(here, rel=0.1)


def test_sounds_that_cannot_be_compared() -> None:
    assert math.isnan(pitch_distance(tone()[:, :12000], tone()[:, :12000]))
    with pytest.raises(UserError, match="one length"):
        pitch_distance(tone()[:, 1:], tone())
