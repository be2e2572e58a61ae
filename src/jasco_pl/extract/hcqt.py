"""The harmonic constant-Q transform that deep salience hears (Bittner et al. 2017): one pitch grid at six multiples of its frequencies.

22,050 Hz, hop 256 (86.13 frames a second), 60 bins an octave, 6 octaves from 32.7 Hz (C1), harmonics 1/2, 1, 2, 3, 4, 5.
"""

from __future__ import annotations

import warnings

import librosa
import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 22050
HOP = 256
BINS = 360
BINS_PER_OCTAVE = 60
LOWEST_HZ = 32.7
HARMONICS = (0.5, 1, 2, 3, 4, 5)
# Frames on either side that a frame's value depends on: half of the longest filter (5.3 s at 16 Hz), and the tails of eight halvings of
# the rate. So much context leaves no bin of a window 0.02 dB off the whole file's; half of it leaves some 4.6 dB off.
MARGIN = 256
_OCTAVES_SHARED = {0.5: 0, 1: 1, 2: 2, 4: 3}  # harmonics that are octaves of each other lie on one longer grid: 3 transforms for 6
_DYNAMIC_RANGE = 80.0  # dB
_SMALLEST = 1e-5  # amplitude that librosa's decibels start from


def harmonic_cqt(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Magnitudes [6, 360, 1 + S // 256] of mono samples [S] at 22,050 Hz; frames are centred at multiples of the hop."""
    shared = _cqt(samples, 0.5 * LOWEST_HZ, BINS + 3 * BINS_PER_OCTAVE)
    others = {harmonic: _cqt(samples, harmonic * LOWEST_HZ, BINS) for harmonic in HARMONICS if harmonic not in _OCTAVES_SHARED}
    parts = []
    for harmonic in HARMONICS:
        start = BINS_PER_OCTAVE * _OCTAVES_SHARED.get(harmonic, 0)
        parts.append(others.get(harmonic, shared)[start : start + BINS])
    return np.stack(parts)


def _cqt(samples: NDArray[np.float32], lowest: float, bins: int) -> NDArray[np.float32]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_fft=")  # clips shorter than the longest filter: they are padded with silence
        transform = librosa.cqt(samples, sr=SAMPLE_RATE, hop_length=HOP, fmin=lowest, n_bins=bins, bins_per_octave=BINS_PER_OCTAVE)
    return np.abs(transform).astype(np.float32)


def to_decibels(magnitudes: NDArray[np.float32], reference: float) -> NDArray[np.float32]:
    """Magnitudes [...] as the network wants them: 1 at `reference`, 0 at 80 dB below it and less."""
    level = 20 * np.log10(np.maximum(magnitudes, _SMALLEST)) - 20 * np.log10(max(reference, _SMALLEST))
    return (np.maximum(level, -_DYNAMIC_RANGE) / _DYNAMIC_RANGE + 1).astype(np.float32)
