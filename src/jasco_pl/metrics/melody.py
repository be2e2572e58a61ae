"""Melody accuracy: how much of the asked melody's time the heard melody has the same pitch class (Music ControlNet's definition).

Two measures differ in how the melody was heard. `melody_accuracy` takes melody bins from a salience network (0..52 = MIDI 43..95);
`pitch_class_accuracy` takes pitch classes, as Music ControlNet reads them from a chromagram (`chroma.prominent_pitch_class`).

Melody similarity by a multi-F0 classifier (the paper, section 4.1): cosine of two melodies, the octave included.

Its sibling by quantised chroma, which any octave satisfies, is `chroma.chroma_similarity`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from jasco_pl.metrics.base import ClipMean
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


class PitchClassAccuracy(ClipMean):
    """Mean over clips of `pitch_class_accuracy`; clips without an asked melody are left out."""

    higher_is_better = True

    def update(self, heard: ArrayLike, asked: ArrayLike) -> None:
        """Add one clip: pitch classes [T], -1 where there is no melody."""
        self.add(pitch_class_accuracy(heard, asked))


class MelodyAccuracy(ClipMean):
    """Mean over clips of `melody_accuracy`; clips without an asked melody are left out."""

    higher_is_better = True

    def __init__(self, octave: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.octave = octave

    def update(self, heard: ArrayLike, asked: ArrayLike) -> None:
        """Add one clip: melody bins [T], -1 where there is no melody."""
        self.add(melody_accuracy(heard, asked, octave=self.octave))


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


class MelodySimilarity(ClipMean):
    """Mean over clips of `melody_similarity`; clips in which neither side has a melody are left out.

    Args:
        hear: turns audio [1, S] and its sample rate into melody bins [T], such as `extract.salience.Salience`.
        sample_rate: of the audio given to `update`, in Hz.
    """

    higher_is_better = True

    def __init__(self, hear: Callable[[Tensor, int], ArrayLike], sample_rate: int = 32000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hear, self.sample_rate = hear, sample_rate

    def update(self, generated: Tensor, reference: Tensor) -> None:
        """Add one clip [1, S] or a batch [B, 1, S] of each."""
        samples = generated.shape[-1]
        for one, other in zip(generated.reshape(-1, 1, samples), reference.reshape(-1, 1, reference.shape[-1]), strict=True):
            self.add(melody_similarity(self.hear(one, self.sample_rate), self.hear(other, self.sample_rate)))
