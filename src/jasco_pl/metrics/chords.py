"""Chord intersection over union (the paper, section 4.1).

A clip of T frames is the set of its pairs (frame, chord). Two such sets of T pairs that share m pairs have a union of 2T - m.

Chord accuracy as the field reports it beside the paper's IoU: mir_eval's root, majmin and sevenths scores (Raffel et al. 2014).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import mir_eval
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jasco_pl.notation import harmony
from jasco_pl.notation.chord_text import harte
from jasco_pl.system.errors import UserError

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


Vocabulary = Literal["root", "majmin", "sevenths"]
VOCABULARIES: tuple[Vocabulary, ...] = ("root", "majmin", "sevenths")
_COMPARE = {"root": mir_eval.chord.root, "majmin": mir_eval.chord.majmin, "sevenths": mir_eval.chord.sevenths}


def chord_accuracy(heard: ArrayLike, asked: ArrayLike, vocabulary: Vocabulary = "majmin") -> float:
    """Share of the time in which the heard chord is the asked one, of the time in which the vocabulary covers the asked one.

    Args:
        heard: vocabulary indices [T] of what was heard.
        asked: vocabulary indices [T] of what was asked for, or heard in the reference.
        vocabulary: "root" compares roots; "majmin" major and minor triads, without bass; "sevenths" also their sevenths.

    Returns:
        0 to 1; NaN where nothing that was asked lies in the vocabulary.

    Raises:
        UserError: the two are not of the same length, or empty, or the vocabulary is not known.
    """
    if vocabulary not in VOCABULARIES:
        raise UserError(f"chord vocabulary {vocabulary!r} is not known: it is 'root', 'majmin' or 'sevenths'.")
    left, right = frame_pair(heard, asked)
    pairs, frames = np.unique(np.stack([right, left]), axis=1, return_counts=True)
    written = [[harte(harmony.label(min(int(index), harmony.UNK))) for index in side] for side in pairs]
    scores = _COMPARE[vocabulary](*written)
    covered = scores >= 0
    return float((scores * frames)[covered].sum() / frames[covered].sum()) if covered.any() else math.nan
