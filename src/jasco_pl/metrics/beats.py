"""How far a clip follows a beat, a tempo, or a key.

Beat F1 within 70 ms, by mir_eval (Dixon 2007; Davies et al. 2009), of whole clips: nothing is cut off at their beginning. A tempo is right
within 4 % (Gouyon et al. 2006: accuracy 1), and octaves apart when half or double of it is (their accuracy 2 without the thirds).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

WINDOW = 0.07  # seconds, mir_eval's
TOLERANCE = 0.04


def beat_f1(heard: ArrayLike, asked: ArrayLike) -> float:
    """F1 of beat times in seconds [N], each paired with at most one of the other side.

    Returns:
        0 to 1; NaN where no beat was asked for. A clip in which none is heard counts 0.
    """
    reference, estimate = (np.sort(np.asarray(times, dtype=np.float64).reshape(-1)) for times in (asked, heard))
    if not reference.size:
        return math.nan
    import mir_eval  # here and below, as in `metrics.following`

    return float(mir_eval.beat.f_measure(reference, estimate, WINDOW)) if estimate.size else 0.0


def tempo(beats: ArrayLike) -> float:
    """Beats a minute of beat times [N]: by the mean of the intervals that are within a quarter of their median; NaN of fewer than three."""
    intervals = np.diff(np.asarray(beats, dtype=np.float64).reshape(-1))
    if len(intervals) < 2:
        return math.nan
    middle = np.median(intervals)
    return float(60 / intervals[np.abs(intervals - middle) <= middle / 4].mean())


def tempo_error(heard: float, asked: float, octaves: bool = False) -> float:
    """By which share of the asked tempo the heard one is off; with `octaves` of half or double of it, where that is nearer."""
    wanted = [asked * factor for factor in ((0.5, 1.0, 2.0) if octaves else (1.0,))]
    return min(abs(heard / one - 1) for one in wanted)


def key_score(heard: str, asked: str) -> float:
    """MIREX's score of a key (`C major`, `F# minor`) by mir_eval: 1 the same, 0.5 a fifth above, 0.3 its relative, 0.2 its parallel.

    Returns:
        NaN where no key was asked for; 0 where none is heard.
    """
    if not asked:
        return math.nan
    import mir_eval

    return float(mir_eval.key.weighted_score(asked, heard)) if heard else 0.0
