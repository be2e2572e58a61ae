"""Chroma of a constant-Q transform, for files so short that making its filters would cost more than the transform."""

from __future__ import annotations

import functools

import numpy as np
import soxr
from librosa import estimate_tuning, stft
from librosa.filters import wavelet
from numpy.typing import NDArray

RATE = 11025
OCTAVES = 6
HOP = 2048  # samples at the full rate; halves with every octave, and so has to hold 2 ** (OCTAVES - 1)
_BINS = 36  # an octave: three a semitone, the middle one in tune
_TOP_C = 32.703195662574829 * 2 ** (OCTAVES - 1)  # C6, where the highest octave begins
_BANDWIDTH = (2 ** (2 / _BINS) - 1) / (2 ** (2 / _BINS) + 1)  # of a filter, over its frequency: it ends where its neighbours stand
_TUNINGS = 20  # a bin; finer than anybody is in tune (1.7 cents), and few enough to be kept


def constant_q_chroma(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Chroma [12, T] from C, the largest of every frame 1, of samples [S] at 11,025 Hz, T = 1 + S // 2048.

    The transform is that of `librosa.feature.chroma_cqt` (six octaves from C1, 36 bins each, hann, tuning estimated), by the same filters
    in every octave, the samples at half the rate each time; librosa makes filters for every octave and every call.
    """
    frames = 1 + len(samples) // HOP
    tuning = round(_TUNINGS * estimate_tuning(y=samples, sr=RATE, bins_per_octave=_BINS)) / _TUNINGS
    bank, length = _filters(tuning)
    bins = np.zeros((_BINS, frames))
    for octave in range(OCTAVES):
        spectrum = stft(np.pad(samples, length // 2), n_fft=length, hop_length=HOP >> octave, window="ones", center=False)[:, :frames]
        # librosa weighs a bin by the root of its filter's length, which doubles from octave to octave
        bins[:, : spectrum.shape[1]] += 2 ** (octave / 2) * np.abs(bank @ spectrum)
        samples = soxr.resample(samples, 2, 1)
    chroma = np.roll(bins, 1, axis=0).reshape(12, 3, frames).sum(axis=1)
    return chroma / np.maximum(chroma.max(axis=0), np.finfo(np.float32).tiny)


@functools.lru_cache(maxsize=_TUNINGS + 1)
def _filters(tuning: float) -> tuple[NDArray[np.complex64], int]:
    """The spectra of the highest octave's filters [36, 1 + N / 2] so much of a bin out of tune, and N."""
    frequencies = _TOP_C * 2 ** ((np.arange(_BINS) + tuning) / _BINS)
    filters, lengths = wavelet(freqs=frequencies, sr=RATE, alpha=_BANDWIDTH)
    size = filters.shape[1]
    spectra = np.fft.fft(filters * np.sqrt(lengths)[:, None] / size, axis=1)[:, : 1 + size // 2]
    return spectra.astype(np.complex64), size
