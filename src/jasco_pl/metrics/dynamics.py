"""How far a clip follows dynamics: levels in dB, frame by frame, NaN where nothing was asked for.

Loudness as a whole counts for nothing, since clips are made equally loud before anybody hears them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST = 1.0  # dB: what moves less (standard deviation) has no course to follow


def levelled(heard: ArrayLike, asked: ArrayLike) -> NDArray[np.float64]:
    """Heard levels [T] moved as a whole so that their mean is the asked one's, over the frames [T] that were asked for."""
    left, right = np.asarray(heard, dtype=np.float64), np.asarray(asked, dtype=np.float64)
    given = ~np.isnan(right)
    return left + (right[given] - left[given]).mean() if given.any() else left


def dynamics_correlation(heard: ArrayLike, asked: ArrayLike) -> float:
    """Pearson's correlation of levels [T] over the frames that were asked for; NaN where these move by less than 1 dB, 0 where the clip
    does not move at all."""
    left, right = (np.asarray(side, dtype=np.float64) for side in (heard, asked))
    given = ~np.isnan(right)
    if given.sum() < 2 or right[given].std() < LEAST:
        return math.nan
    return float(np.corrcoef(left[given], right[given])[0, 1]) if left[given].std() > 0 else 0.0


def dynamics_error(heard: ArrayLike, asked: ArrayLike) -> float:
    """Mean distance of levels [T] in dB over the frames that were asked for, once their means agree; NaN where nothing was."""
    off = np.abs(levelled(heard, asked) - np.asarray(asked, dtype=np.float64))
    return float(np.nanmean(off)) if not np.isnan(off).all() else math.nan
