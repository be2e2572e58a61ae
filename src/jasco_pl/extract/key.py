"""The key of music, by the Krumhansl-Schmuckler algorithm."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from jasco_pl.audio.files import resample
from jasco_pl.notation.harmony import MAJOR_KEYS, MINOR_KEYS
from jasco_pl.system import librosa

SAMPLE_RATE, HOP = 11025, 2048
_LEAST_CORRELATION = 0.6
_LEAST_SPREAD = 0.08  # of the twelve means over their own mean: noise has 0.01 to 0.03, composed pieces 0.2 to 0.6
# How well a pitch class fits after a context in C, as listeners rated it: Krumhansl & Kessler 1982.
_MAJOR_PROFILE = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR_PROFILE = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


def measure_key(samples: NDArray[np.float32]) -> str | None:
    """Key of samples [S] at 11,025 Hz: the Krumhansl-Schmuckler algorithm over constant-Q chroma (six octaves from C1, tuning estimated).

    The mean chroma is correlated with the 24 rotated Krumhansl-Kessler profiles; the highest correlation wins, if it reaches 0.6.
    Of 66 composed pieces with chords 61 got a key, 39 of them theirs, 14 its relative, parallel or a fifth away.
    """
    if len(samples) < SAMPLE_RATE or not samples.any():
        return None
    found = key_by(_chroma(samples).mean(axis=1))
    if found is None:
        return None
    tonic, minor = found
    return f"{MINOR_KEYS[tonic]} minor" if minor else f"{MAJOR_KEYS[tonic]} major"


def _chroma(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_fft=")  # clips of few seconds, padded with silence for the lowest octave
        found = librosa.feature.chroma_cqt(y=samples, sr=SAMPLE_RATE, hop_length=HOP, n_octaves=6)
    return np.asarray(found, dtype=np.float32)


def chroma_of(wav: Tensor, sample_rate: int) -> tuple[NDArray[np.float32], float]:
    """The chroma that keys are told by, of one clip [1, S] at any rate: [12, T], the strongest of a frame 1; and frames a second."""
    return _chroma(resample(wav, sample_rate, SAMPLE_RATE)[0].numpy()), SAMPLE_RATE / HOP


def key_by(chroma: NDArray[np.floating]) -> tuple[int, bool] | None:
    """The key in which pitch classes [12] sound so strongly: its tonic, and whether it is minor; None where none stands out."""
    profiles = np.stack([np.roll(profile, root) for profile in (_MAJOR_PROFILE, _MINOR_PROFILE) for root in range(12)])
    if chroma.std() < _LEAST_SPREAD * chroma.mean():
        return None
    fits = np.corrcoef(chroma, profiles)[0, 1:]
    best = int(fits.argmax())
    return None if fits[best] < _LEAST_CORRELATION else (best % 12, best >= 12)


def key_of(wav: Tensor, sample_rate: int) -> str | None:
    """The same of one clip [1, S] at any rate."""
    return measure_key(resample(wav, sample_rate, SAMPLE_RATE)[0].numpy())
