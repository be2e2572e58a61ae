from __future__ import annotations

import math

import pytest

from jasco_pl.metrics.speed import FunctionEvaluations, RealTimeFactor
from jasco_pl.system.errors import UserError


def test_factor_is_of_sums_not_the_mean_of_factors() -> None:
    metric = RealTimeFactor()
    assert math.isnan(metric.compute())
    metric.reset()
    metric.update(computing=5.0, audio=10.0)
    metric.update(computing=1.0, audio=20.0)
    assert metric.compute().item() == pytest.approx(0.2)
    other = RealTimeFactor()
    other.update(computing=24.0, audio=30.0)
    metric.merge_state(other)
    assert metric.compute().item() == pytest.approx(0.5)


def test_times_that_cannot_be_are_refused() -> None:
    for computing, audio in ((-1.0, 1.0), (1.0, 0.0), (math.nan, 1.0)):
        with pytest.raises(UserError, match="real-time factor"):
            RealTimeFactor().update(computing, audio)


def test_evaluations_are_counted_by_clip() -> None:
    metric = FunctionEvaluations()
    metric.update(48, clips=3)
    metric.update(96)
    assert metric.compute().item() == 60
    with pytest.raises(UserError, match="counted from 0"):
        metric.update(-1)
