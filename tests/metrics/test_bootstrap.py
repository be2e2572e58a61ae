from __future__ import annotations

import math

import numpy as np
import pytest

from jasco_pl.metrics.report import bootstrap_interval


def test_interval_of_a_normal_sample_is_the_textbook_one() -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, 400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / math.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)


def test_a_wider_level_is_a_wider_interval_and_seeds_repeat() -> None:
    values = np.random.default_rng(1).random(30)
    narrow, wide = bootstrap_interval(values, level=0.5), bootstrap_interval(values, level=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert bootstrap_interval(values, seed=4) == bootstrap_interval(values, seed=4) != bootstrap_interval(values, seed=5)


def test_nan_is_left_out_and_nothing_left_is_nan() -> None:
    assert bootstrap_interval([2.0, math.nan]) == (2.0, 2.0)
    assert all(math.isnan(end) for end in bootstrap_interval([math.nan]))
