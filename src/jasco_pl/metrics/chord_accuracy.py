"""Chord accuracy as the field reports it beside the paper's IoU: mir_eval's root, majmin and sevenths scores (Raffel et al. 2014)."""

from __future__ import annotations

import math
from typing import Any, Literal

import mir_eval
import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from jasco_pl.controls import harmony
from jasco_pl.controls.chord_lab import harte
from jasco_pl.errors import UserError
from jasco_pl.metrics.chord_iou import frame_pair
from jasco_pl.metrics.clip_mean import ClipMean

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


class ChordAccuracy(ClipMean):
    """Mean over clips of `chord_accuracy`."""

    higher_is_better = True

    def __init__(self, vocabulary: Vocabulary = "majmin", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if vocabulary not in VOCABULARIES:
            raise UserError(f"chord vocabulary {vocabulary!r} is not known: it is 'root', 'majmin' or 'sevenths'.")
        self.vocabulary = vocabulary

    def update(self, heard: Tensor, asked: Tensor) -> None:
        """Add one clip [T] or a batch [B, T] of vocabulary indices."""
        left, right = np.asarray(heard.cpu()), np.asarray(asked.cpu())
        for one_heard, one_asked in zip(np.atleast_2d(left), np.atleast_2d(right), strict=True):
            self.add(chord_accuracy(one_heard, one_asked, self.vocabulary))
