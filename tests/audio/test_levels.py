from __future__ import annotations

import pytest
import torch

from jasco_pl.audio.levels import sounding_loudness, to_loudness

RATE = 32000


def hits(seconds: float, gain: float = 1.0, every: float = 0.5) -> torch.Tensor:
    time = torch.arange(round(seconds * RATE)) / RATE
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(0))
    return (gain * noise * torch.exp(-(time % every) / 0.05))[None]


@pytest.mark.parametrize("decibels", [0.0, -10.0, -30.0, 12.0])
def test_one_loop_at_any_level_becomes_the_same(decibels: float) -> None:
    expected, _ = to_loudness(hits(4.0, 0.1), RATE, -24.5)
    wav, gain = to_loudness(hits(4.0, 0.1 * 10 ** (decibels / 20)), RATE, -24.5)
    assert gain is not None
    torch.testing.assert_close(wav, expected, rtol=1e-3, atol=1e-5)
    assert sounding_loudness(wav, RATE) == pytest.approx(-24.5, abs=0.01)


def test_pauses_do_not_count() -> None:
    loop = hits(4.0, 0.1)
    late = torch.cat([torch.zeros(1, 6 * RATE), loop], dim=1)
    wav, _ = to_loudness(late, RATE, -24.5)
    assert sounding_loudness(wav[:, 6 * RATE :], RATE) == pytest.approx(-24.5, abs=0.5)


@pytest.mark.parametrize("wav", [torch.zeros(1, RATE), 1e-4 * torch.randn(1, 4 * RATE), torch.zeros(1, 3)])
def test_nothing_is_made_of_silence_and_noise_floors(wav: torch.Tensor) -> None:
    out, gain = to_loudness(wav, RATE, -20.0)
    assert gain is None
    assert out is wav


def test_a_single_short_hit_has_a_level() -> None:
    short = hits(0.15, 0.01)
    wav, gain = to_loudness(short, RATE, -24.5)
    assert gain is not None
    assert gain > 10
    assert wav.shape == short.shape
