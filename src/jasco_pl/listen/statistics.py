"""Means of rated systems with intervals that count both raters and clips as drawn at random.

Every score is taken as mean + rater + clip + rest, each random with a variance of its own: the model of CrowdMOS (Ribeiro et al.,
ICASSP 2011, section 3). An interval over the raters alone would hold for these very clips only, one over all scores would take a rater's
thirty answers for thirty raters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval (NaN where it is not known), with what it rests on."""

    mean: float
    low: float
    high: float
    ratings: int
    raters: int
    clips: int
    p: float = math.nan  # of the mean being zero; of use for differences


def estimate(scores: np.ndarray, level: float = 0.95) -> Estimate:
    """Mean of scores [raters, clips] (NaN: not rated) and its t-interval.

    The three variances come from pairs of scores of one rater, of one clip, and of neither, which is unbiased however unevenly clips are
    spread over raters (and equals the analysis of variance where everybody rated everything); the degrees of freedom are Satterthwaite's.
    With one clip the interval holds for that clip; with one rater there is none.
    """
    scores = scores[~np.isnan(scores).all(1)]
    scores = scores[:, ~np.isnan(scores).all(0)]
    raters, clips = scores.shape
    given = ~np.isnan(scores)
    total = int(given.sum())
    if not total:
        return Estimate(math.nan, math.nan, math.nan, 0, 0, 0)
    mean = float(scores[given].mean())
    if raters < 2:
        return Estimate(mean, math.nan, math.nan, total, raters, clips)
    by_rater, by_clip, rest = _variances(np.nan_to_num(scores - mean), given)
    shared_rater, shared_clip = float((given.sum(1) ** 2).sum()) / total**2, float((given.sum(0) ** 2).sum()) / total**2
    noise = rest / total
    of_raters, of_clips = by_rater * shared_rater + noise, by_clip * shared_clip + noise
    variance = of_raters + of_clips - noise
    if variance <= 0:
        return Estimate(mean, mean, mean, total, raters, clips, p=1.0 if mean == 0 else 0.0)
    spent = of_raters**2 / (raters - 1)
    if clips > 1:
        spent += of_clips**2 / (clips - 1) + noise**2 / max(1, total - raters - clips + 1)
    freedom = max(1.0, variance**2 / spent)
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(variance)
    p = float(2 * stats.t.sf(abs(mean) / math.sqrt(variance), freedom))
    return Estimate(mean, mean - half, mean + half, total, raters, clips, p)


def _variances(centred: np.ndarray, given: np.ndarray) -> tuple[float, float, float]:
    """Variances of raters, clips and the rest, from half the mean squared difference of pairs of scores; none below zero.

    Where nobody rated two clips, or no clip was rated twice, the rest cannot be told from raters or clips and is counted there.
    """

    def pairs(axis: int | None) -> tuple[float, float]:
        """Sum of squared differences and number of the pairs inside every rater (1), clip (0), or of all (None)."""
        count, sums, squares = given.sum(axis), centred.sum(axis), (centred**2).sum(axis)
        return float(np.sum(count * squares - sums**2)), float(np.sum(count * (count - 1))) / 2

    def half_mean(squares: float, count: float) -> float:
        return squares / count / 2 if count else math.nan

    in_rater, in_clip, everywhere = pairs(1), pairs(0), pairs(None)
    same_rater, same_clip = half_mean(*in_rater), half_mean(*in_clip)  # clips + rest, raters + rest
    apart = half_mean(*(whole - a - b for whole, a, b in zip(everywhere, in_rater, in_clip, strict=True)))  # all three
    if math.isnan(same_rater):
        if math.isnan(same_clip):
            return apart, 0.0, 0.0
        return same_clip, 0.0 if math.isnan(apart) else max(0.0, apart - same_clip), 0.0
    if math.isnan(same_clip):
        return max(0.0, apart - same_rater), same_rater, 0.0
    return max(0.0, apart - same_rater), max(0.0, apart - same_clip), max(0.0, same_rater + same_clip - apart)


def holm(values: list[float]) -> list[float]:
    """P-values adjusted for their number (Holm 1979); NaN stays."""
    known = sorted((value, number) for number, value in enumerate(values) if not math.isnan(value))
    adjusted, highest = list(values), 0.0
    for rank, (value, number) in enumerate(known):
        highest = max(highest, min(1.0, value * (len(known) - rank)))
        adjusted[number] = highest
    return adjusted
