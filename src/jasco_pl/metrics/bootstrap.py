"""Confidence intervals by resampling clips."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def bootstrap_interval(
    values: ArrayLike, seed: int = 0, n: int = 2000, level: float = 0.95, statistic: Callable[..., Any] = np.mean
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron 1979), or of another statistic.

    Args:
        values: one figure a clip; NaN (undefined for that clip) is left out.
        seed: of the resampling, so that a report repeats exactly.
        n: how many resamples.
        level: share of the resampled means that lie inside.
        statistic: what is taken of every resample, a function of (array, axis=1) such as numpy's mean and median.

    Returns:
        (low, high); both NaN when no value is left, both the value when there is one.
    """
    kept = np.asarray(values, dtype=np.float64).reshape(-1)
    kept = kept[~np.isnan(kept)]
    if not kept.size:
        return math.nan, math.nan
    means = statistic(np.random.default_rng(seed).choice(kept, size=(n, kept.size), replace=True), axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
