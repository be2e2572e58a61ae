"""Intervals: those of the analysis of variance where everybody rated everything, and of the right size where not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from jasco_pl.studies.listening.analysis import estimate, holm


def test_a_full_table_gives_the_two_way_analysis_of_variance():
    draw = np.random.default_rng(0)
    raters, clips = 9, 7
    scores = 50 + draw.normal(0, 8, (raters, 1)) + draw.normal(0, 5, (1, clips)) + draw.normal(0, 6, (raters, clips))
    mean = scores.mean()
    of_raters = clips * ((scores.mean(1) - mean) ** 2).sum() / (raters - 1)
    of_clips = raters * ((scores.mean(0) - mean) ** 2).sum() / (clips - 1)
    rest = scores - scores.mean(1, keepdims=True) - scores.mean(0, keepdims=True) + mean
    of_rest = (rest**2).sum() / ((raters - 1) * (clips - 1))
    assert of_raters > of_rest < of_clips  # no variance is cut at zero
    squared = of_raters + of_clips - of_rest
    spent = of_raters**2 / (raters - 1) + of_clips**2 / (clips - 1) + of_rest**2 / ((raters - 1) * (clips - 1))
    half = stats.t.ppf(0.975, squared**2 / spent) * math.sqrt(squared / (raters * clips))
    found = estimate(scores)
    assert (found.mean, found.low, found.high) == pytest.approx((mean, mean - half, mean + half))
    assert (found.ratings, found.raters, found.clips) == (63, 9, 7)


def test_one_clip_gives_the_plain_t_interval_and_one_rater_none():
    scores = np.array([[60.0], [70.0], [75.0], [50.0]])
    low, high = stats.t.interval(0.95, 3, scores.mean(), scores.std(ddof=1) / 2)
    found = estimate(scores)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert estimate(scores - 60).p == pytest.approx(stats.ttest_1samp(scores[:, 0], 60).pvalue)
    alone = estimate(scores.T)
    assert alone.mean == pytest.approx(63.75)
    assert math.isnan(alone.low)


def test_tables_with_hardly_anything_in_them():
    nothing = estimate(np.full((3, 4), np.nan))
    assert nothing.ratings == 0
    assert math.isnan(nothing.mean)
    diagonal = np.full((4, 4), np.nan)
    diagonal[np.diag_indices(4)] = [10, 20, 30, 40]  # no rater and no clip occurs twice
    found, plain = estimate(diagonal), stats.t.interval(0.95, 3, 25, np.std([10, 20, 30, 40], ddof=1) / 2)
    assert (found.low, found.high) == pytest.approx(plain)
    alike = estimate(np.full((3, 3), 42.0))
    assert (alike.mean, alike.low, alike.high) == (42, 42, 42)


@pytest.mark.parametrize(
    ("raters", "clips", "per_rater", "sizes"),
    [
        (15, 10, None, (6, 6, 9)),
        (8, 6, None, (6, 6, 9)),
        (5, 30, None, (8, 5, 10)),
        (30, 30, 3, (6, 6, 9)),  # every clip is heard by about three raters
        (12, 40, 5, (6, 6, 9)),
        (15, 10, None, (6, 0, 9)),
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(raters: int, clips: int, per_rater: int | None, sizes: tuple[int, int, int]):
    draw = np.random.default_rng(1)
    rater, clip, noise = sizes
    hits, runs = 0, 800
    for _ in range(runs):
        scores = 50 + draw.normal(0, rater, (raters, 1)) + draw.normal(0, clip, (1, clips)) + draw.normal(0, noise, (raters, clips))
        for row in scores:
            row[draw.permutation(clips)[per_rater:] if per_rater else []] = np.nan
        found = estimate(scores)
        hits += found.low <= 50 <= found.high
    assert 0.925 <= hits / runs <= 0.98


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # R: p.adjust(c(...), "holm")
    adjusted = holm([0.5, math.nan, 0.9])
    assert adjusted[0] == adjusted[2] == 1.0
    assert math.isnan(adjusted[1])
