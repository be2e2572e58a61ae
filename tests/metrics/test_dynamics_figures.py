from __future__ import annotations

import math

import numpy as np
import pytest

from jasco_pl.metrics.dynamics import dynamics_correlation, dynamics_error, levelled

BUILD = np.linspace(-30, 0, 100)


def test_loudness_as_a_whole_counts_for_nothing() -> None:
    assert dynamics_correlation(BUILD - 12, BUILD) == pytest.approx(1)
    assert dynamics_error(BUILD - 12, BUILD) == pytest.approx(0)
    np.testing.assert_allclose(levelled(BUILD - 12, BUILD), BUILD)


def test_the_course_does() -> None:
    assert dynamics_correlation(BUILD[::-1], BUILD) == pytest.approx(-1)
    assert dynamics_error(np.zeros(100), BUILD) == pytest.approx(7.5, abs=0.2)
    assert dynamics_error(0.5 * BUILD, BUILD) == pytest.approx(3.75, abs=0.1)
    assert dynamics_correlation(np.zeros(100), BUILD) == 0


def test_what_was_not_asked_for_is_left_out() -> None:
    asked = BUILD.copy()
    asked[50:] = np.nan
    heard = np.where(np.isnan(asked), -60, BUILD)
    assert dynamics_correlation(heard, asked) == pytest.approx(1)
    assert dynamics_error(heard, asked) == pytest.approx(0)
    nothing = np.full(100, np.nan)
    assert math.isnan(dynamics_error(heard, nothing))
    assert math.isnan(dynamics_correlation(heard, nothing))
    assert math.isnan(dynamics_correlation(heard, np.full(100, -3.0)))  # steady: no course to follow
    assert dynamics_error(BUILD, np.full(100, -3.0)) == pytest.approx(7.5, abs=0.2)
