from __future__ import annotations

import numpy as np
import pyloudnorm
import pytest
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d
from scipy.signal import fftconvolve

from jasco_pl.audio import loudness as module
from jasco_pl.audio.loudness import convolved, integrated_loudness, lowest_around


def music(samples: int, rate: int) -> NDArray[np.float64]:
    """Noise that swells and falls silent, so that both gates have something to take away."""
    times = np.arange(samples) / rate
    sound = 0.1 * np.random.default_rng(samples).standard_normal(samples) * np.abs(np.sin(1.3 * times)) ** 3
    sound[: samples // 3] *= 1e-3
    return sound


@pytest.mark.parametrize("rate", [8000, 22050, 32000, 44100, 48000, 96000])
@pytest.mark.parametrize("seconds", [0.4, 0.4321, 10.0, 45.0])
def test_loudness_is_that_of_pyloudnorm(rate: int, seconds: float) -> None:
    sound = music(int(seconds * rate) + 1, rate)
    expected = pyloudnorm.Meter(rate).integrated_loudness(sound)
    assert np.isfinite(expected)
    assert integrated_loudness(sound, rate) == pytest.approx(expected, abs=1e-6)


def test_blocks_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = music(320_001, 32000) + 0.5  # a constant, which the high-pass takes its time to forget
    monkeypatch.setattr(module, "_BLOCK", 10_007)
    assert integrated_loudness(sound, 32000) == pytest.approx(pyloudnorm.Meter(32000).integrated_loudness(sound), abs=1e-6)


def test_silence_has_none() -> None:
    assert integrated_loudness(np.zeros(32000), 32000) == -np.inf
    assert integrated_loudness(np.full(32000, 1e-6), 32000) == -np.inf


@pytest.mark.parametrize(("samples", "width"), [(1, 3), (3, 9), (10, 5), (1000, 7), (1283, 1283), (5000, 1283)])
def test_the_lowest_around_and_windows_are_those_of_scipy(samples: int, width: int) -> None:
    values = np.random.default_rng(width).standard_normal(samples)
    np.testing.assert_array_equal(lowest_around(values, width), minimum_filter1d(values, width, mode="nearest"))
    window = np.hanning(min(samples, width) + 2)[1:-1]
    np.testing.assert_allclose(convolved(values, window), fftconvolve(values, window, mode="valid"), atol=1e-11)
