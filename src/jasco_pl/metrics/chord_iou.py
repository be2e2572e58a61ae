"""Chord intersection over union (the paper, section 4.1).

A clip of T frames is the set of its pairs (frame, chord). Two such sets of T pairs that share m pairs have a union of 2T - m.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from jasco_pl.controls import harmony
from jasco_pl.errors import UserError
from jasco_pl.metrics.clip_mean import ClipMean

Level = Literal["exact", "triad"]
LEVELS: tuple[Level, ...] = ("exact", "triad")


def chord_iou(heard: ArrayLike, asked: ArrayLike, level: Level = "exact") -> float:
    """IoU of the (frame, chord) pairs of one clip.

    Args:
        heard: vocabulary indices [T] of what was heard in the audio.
        asked: vocabulary indices [T] of what was asked for, or heard in the reference.
        level: "exact" compares labels; "triad" compares root and major / minor / diminished / augmented, so the bass and the
            sixths and sevenths do not matter. N agrees with N at both levels; an unknown chord agrees with nothing.

    Returns:
        0 (nothing shared) to 1 (all shared). Note that half of the frames shared gives 1/3.

    Raises:
        UserError: the two are not of the same length, or empty, or the level is not known.
    """
    match = chord_matches(heard, asked, level)
    shared = int(match.sum())
    return shared / (2 * match.size - shared)


def chord_matches(heard: ArrayLike, asked: ArrayLike, level: Level = "exact") -> NDArray[np.bool_]:
    """Which frames [T] agree; arguments and errors as for `chord_iou`."""
    if level not in LEVELS:
        raise UserError(f"chord level {level!r} is not known: it is 'exact' or 'triad'.")
    left, right = frame_pair(heard, asked)
    if level == "exact":
        return (left == right) & (left <= harmony.N)
    both_silent = (left == harmony.N) & (right == harmony.N)
    heard_triad, asked_triad = harmony.triad(left), harmony.triad(right)
    return both_silent | ((heard_triad == asked_triad) & (heard_triad >= 0))


def frame_pair(heard: ArrayLike, asked: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both as arrays [T]; UserError if they are not of the same length, or empty."""
    left, right = np.asarray(heard), np.asarray(asked)
    if left.ndim != 1 or left.shape != right.shape or not left.size:
        raise UserError(f"chord frames of shapes {left.shape} and {right.shape} cannot be compared: both must be [T], T the same and > 0.")
    return left, right


class ChordIoU(ClipMean):
    """Mean over clips of `chord_iou` (not the IoU of all frames pooled: every clip weighs the same)."""

    higher_is_better = True

    def __init__(self, level: Level = "exact", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if level not in LEVELS:
            raise UserError(f"chord level {level!r} is not known: it is 'exact' or 'triad'.")
        self.level = level

    def update(self, heard: Tensor, asked: Tensor) -> None:
        """Add one clip [T] or a batch [B, T] of vocabulary indices."""
        left, right = np.asarray(heard.cpu()), np.asarray(asked.cpu())
        for one_heard, one_asked in zip(np.atleast_2d(left), np.atleast_2d(right), strict=True):
            self.add(chord_iou(one_heard, one_asked, self.level))
