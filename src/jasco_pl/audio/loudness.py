"""Loudness by ITU-R BS.1770-4, and what a limiter needs, in NumPy alone: scipy.signal takes longer to import than a clip to level.

The filters are those of pyloudnorm, to which all of it is tested equal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SECONDS = 0.4  # of a gating block; one begins every quarter of that
ABSOLUTE, RELATIVE = -70.0, -10.0  # gates: LUFS, and LU below what passes the first
SHELF_DB, SHELF_HZ, SHELF_Q = 4.0, 1500.0, 2**-0.5
HIGH_PASS_HZ, HIGH_PASS_Q = 38.0, 0.5
_DECAY_SECONDS = 0.25  # until the high-pass has forgotten: its double pole falls by e in 4.2 ms
_BLOCK = 1 << 20


def silent(name: str) -> str:
    """What a person is told of a recording of which nothing passes the first gate."""
    return f"{name}: silent: nothing in it is louder than {ABSOLUTE:g} LUFS"


def integrated_loudness(samples: NDArray[np.float64], sample_rate: int) -> float:
    """Of mono samples [S], at least 0.4 s of them, in LUFS; -inf where none of it is above -70 LUFS."""
    energy = np.concatenate([np.square(block) for block in _weighted(samples, sample_rate)])
    count = round((len(samples) / sample_rate - SECONDS) / (SECONDS / 4)) + 1
    starts = np.arange(count) / 4  # in blocks
    edges = zip(*((SECONDS * places * sample_rate).astype(int) for places in (starts, starts + 1)), strict=True)
    power = np.array([energy[first:last].sum() for first, last in edges]) / (SECONDS * sample_rate)
    power = power[_level(power) >= ABSOLUTE]
    if not power.size:
        return -np.inf
    return float(_level(power[_level(power) > _level(power.mean()) + RELATIVE].mean()))


def _level(power: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return -0.691 + 10 * np.log10(power)  # type: ignore[no-any-return]


def _weighted(samples: NDArray[np.float64], sample_rate: int) -> list[NDArray[np.float64]]:
    """Blocks behind the K-weighting: by its frequency response, each with what the filters remember before it (overlap-save)."""
    lead = round(_DECAY_SECONDS * sample_rate)
    padded = np.pad(samples, (lead, 0))
    out = []
    for start in range(0, len(samples), _BLOCK):
        part = padded[start : start + lead + _BLOCK]
        size = _fast_size(len(part))
        out.append(np.fft.irfft(np.fft.rfft(part, size) * _k_weighting(size, sample_rate), size)[lead : len(part)])
    return out


def _k_weighting(size: int, sample_rate: int) -> NDArray[np.complex128]:
    """Response of shelf and high-pass at the frequencies of `np.fft.rfft`: analogue prototypes under the bilinear transform, which makes
    the s of a cut-off f into j tan(w / 2) / tan(pi f / rate); both sides of every fraction times cos(w / 2)^2, which is zero at its end.
    """
    half = np.pi * np.fft.rfftfreq(size)
    along, across = 1j * np.sin(half), np.cos(half)
    gain = 10 ** (SHELF_DB / 40)
    s = along / np.tan(np.pi * SHELF_HZ / sample_rate)
    slope = np.sqrt(gain) / SHELF_Q * s * across
    shelf = gain * (gain * s**2 + slope + across**2) / (s**2 + slope + gain * across**2)
    s = along / np.tan(np.pi * HIGH_PASS_HZ / sample_rate)
    return shelf * s**2 / (s**2 + s * across / HIGH_PASS_Q + across**2)  # type: ignore[no-any-return]


def lowest_around(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """The lowest of the `width` (odd) values around each of [S]; the ends go on as they are. Van Herk's algorithm: two running minima
    over blocks of that width, whatever it is.
    """
    reach = width // 2
    padded = np.pad(values, (reach, reach + -len(values) % width), mode="edge")
    padded = np.pad(padded, (0, -len(padded) % width), mode="edge").reshape(-1, width)
    ahead = np.minimum.accumulate(padded, axis=1).reshape(-1)
    back = np.minimum.accumulate(padded[:, ::-1], axis=1)[:, ::-1].reshape(-1)
    return np.minimum(back[: len(values)], ahead[width - 1 : width - 1 + len(values)])


def convolved(values: NDArray[np.float64], window: NDArray[np.float64]) -> NDArray[np.float64]:
    """[S] with a window [W], where the two lie over each other wholly: [S - W + 1]."""
    size = _fast_size(len(values) + len(window) - 1)
    out = np.fft.irfft(np.fft.rfft(values, size) * np.fft.rfft(window, size), size)
    return out[len(window) - 1 : len(values)]


def _fast_size(least: int) -> int:
    """Of a Fourier transform: two, three or five times a power of two, at most a third more than `least`."""
    power = 1 << max(0, least - 1).bit_length()
    return min(size for size in (power, power * 3 // 4, power * 5 // 8) if size >= least)
