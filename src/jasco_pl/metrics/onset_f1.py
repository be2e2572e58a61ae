"""Onset F1 within 50 ms, by mir_eval (the paper, section 4.1, after Music ControlNet)."""

from __future__ import annotations

import math

import mir_eval
import numpy as np
from numpy.typing import ArrayLike

WINDOW = 0.05


def onset_f1(heard: ArrayLike, asked: ArrayLike, window: float = WINDOW) -> float:
    """F1 of onsets, each paired with at most one of the other side.

    Args:
        heard: onset times of the generated audio in seconds, any order.
        asked: onset times of the reference in seconds, any order.
        window: the largest difference in seconds that still counts as the same onset.

    Returns:
        0 to 1; NaN when the reference has no onsets, since there is then no rhythm to follow. A clip in which nothing is
        heard although onsets were asked for counts 0.
    """
    reference = np.sort(np.asarray(asked, dtype=np.float64).reshape(-1))
    estimate = np.sort(np.asarray(heard, dtype=np.float64).reshape(-1))
    if not reference.size:
        return math.nan
    if not estimate.size:
        return 0.0
    return float(mir_eval.onset.f_measure(reference, estimate, window=window)[0])
