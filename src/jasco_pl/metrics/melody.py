"""Melody accuracy: how much of the asked melody's time the heard melody has the same pitch class (Music ControlNet's definition).

Two measures differ in how the melody was heard. `melody_accuracy` takes melody bins from a salience network (0..52 = MIDI 43..95);
`pitch_class_accuracy` takes pitch classes, as Music ControlNet reads them from a chromagram (`extract.chroma.prominent_pitch_class`).

Melody similarity by a multi-F0 classifier (the paper, section 4.1): cosine of two melodies, the octave included.

Its sibling by quantised chroma, which any octave satisfies, is `chroma_similarity`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from jasco_pl.extract.chroma import power_of_two, quantised_chroma
from jasco_pl.system.errors import UserError

LOWEST_MIDI = 43


def bins_to_pitch_class(bins: ArrayLike) -> NDArray[np.int64]:
    """Melody bins [...] (0 = MIDI 43) to pitch classes 0..11 (0 = C); -1 (no melody) stays -1."""
    values = np.asarray(bins, dtype=np.int64)
    return np.where(values >= 0, (values + LOWEST_MIDI) % 12, -1)


def pitch_class_accuracy(heard: ArrayLike, asked: ArrayLike) -> float:
    """Share of the frames where `asked` [T] is voiced (>= 0) in which `heard` [T] is the same pitch class.

    Returns:
        0 to 1; NaN when the asked melody is never voiced.

    Raises:
        UserError: the two are not of the same length [T].
    """
    left, right = np.asarray(heard), np.asarray(asked)
    if left.ndim != 1 or left.shape != right.shape:
        raise UserError(f"melodies of shapes {left.shape} and {right.shape} cannot be compared: both must be [T] with the same T.")
    voiced = right >= 0
    return float((left == right)[voiced].mean()) if voiced.any() else math.nan


def melody_accuracy(heard: ArrayLike, asked: ArrayLike, *, octave: bool = False) -> float:
    """`pitch_class_accuracy` of melody bins [T]; with `octave` the bins themselves must agree, so the right octave counts too."""
    if octave:
        return pitch_class_accuracy(heard, asked)
    return pitch_class_accuracy(bins_to_pitch_class(heard), bins_to_pitch_class(asked))


def melody_similarity(heard: ArrayLike, asked: ArrayLike) -> float:
    """Mean cosine of the one-hot melodies of two clips over the frames in which either has one.

    Between one-hot frames the cosine is 1 or 0, and 0 where only one of the two sounds. Frames silent in both have no cosine and are left
    out (the paper does not say what it does with them).

    Args:
        heard: melody bins [T] of the generated clip, -1 where there is no melody.
        asked: melody bins [T] of the reference.

    Returns:
        0 to 1; NaN when neither is ever voiced.

    Raises:
        UserError: the two are not of the same length [T].
    """
    left, right = np.asarray(heard), np.asarray(asked)
    if left.ndim != 1 or left.shape != right.shape:
        raise UserError(f"melodies of shapes {left.shape} and {right.shape} cannot be compared: both must be [T] with the same T.")
    voiced = (left >= 0) | (right >= 0)
    return float((left == right)[voiced].mean()) if voiced.any() else math.nan


def chroma_similarity(generated: Tensor, reference: Tensor, sample_rate: int) -> float:
    """Mean cosine similarity over frames of the one-hot quantised chroma of two clips, as MusicGen measures melody.

    The window is MusicGen's, 2^14 samples at 32 kHz (0.51 s) with a quarter of it as hop. Between one-hot vectors the cosine is 1
    or 0, so this is the share of frames whose strongest pitch class agrees; two silent frames agree.

    Args:
        generated: audio [1, S].
        reference: audio [1, S'] at the same rate; the longer of the two is cut.
        sample_rate: in Hz.

    Returns:
        0 to 1; rendered pieces in different keys had 0 to .14 of each other.
    """
    n_fft = power_of_two(0.512 * sample_rate)
    samples = min(generated.shape[-1], reference.shape[-1])
    left, right = (quantised_chroma(wav[..., :samples], sample_rate, n_fft, n_fft // 4) for wav in (generated, reference))
    return float((left == right).float().mean())
