from __future__ import annotations

import math

import numpy as np
import pytest

from jasco_pl.metrics.following import onset_f1

ASKED = np.arange(0.5, 9.5, 0.5)


@pytest.mark.parametrize(("shift", "expected"), [(0.0, 1.0), (0.04, 1.0), (-0.04, 1.0), (0.06, 0.0), (-0.06, 0.0)])
def test_shifted_onsets_pass_within_the_window_only(shift: float, expected: float) -> None:
    assert onset_f1(ASKED + shift, ASKED) == expected


def test_hand_made_pair() -> None:
    # Two of three heard are right (precision 2/3), two of four asked are found (recall 1/2).
    assert onset_f1([1.0, 2.01, 3.3], [1.0, 2.0, 3.0, 4.0]) == pytest.approx(2 * (2 / 3) * 0.5 / (2 / 3 + 0.5))


def test_an_onset_is_paired_once() -> None:
    assert onset_f1([1.0, 1.02], [1.01]) == pytest.approx(2 / 3)


def test_order_does_not_matter() -> None:
    assert onset_f1(ASKED[::-1], ASKED) == 1.0


def test_clip_without_reference_onsets_is_left_out_but_missed_onsets_count() -> None:
    assert math.isnan(onset_f1([1.0], []))
    assert onset_f1([], [1.0]) == 0.0
