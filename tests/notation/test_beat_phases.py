from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jasco_pl.notation.beats import NOWHERE, beat_times, phases, read_meter, steady_beats
from jasco_pl.system.errors import UserError


def test_a_tempo_and_a_meter_begin_with_a_downbeat() -> None:
    assert steady_beats(60, "3/4", 3.5) == [(0, 1), (1, 2), (2, 3), (3, 1), (4, 2)]
    assert steady_beats(120, "6/8", 1.2) == [(0, 1), (0.5, 2), (1.0, 1), (1.5, 2)]  # two dotted quarters a bar
    assert steady_beats(60, "7/8", 4.6) == [(0, 1), (1, 2), (2, 3), (3, 4), (3.5, 1), (4.5, 2), (5.5, 3)]  # the last one is short


@pytest.mark.parametrize(("bpm", "meter"), [(19, "4/4"), (401, "4/4"), (float("nan"), "4/4"), (90, "0/4"), (90, "4/5"), (90, "four")])
def test_what_is_no_tempo_or_meter_is_said(bpm: float, meter: str) -> None:
    with pytest.raises(UserError, match=r"tempo must lie between 20 and 400 bpm|meter .* is not understood"):
        steady_beats(bpm, meter, 4.0)


def test_meters_have_quarters_a_bar_and_a_beat() -> None:
    assert [read_meter(meter) for meter in ("4/4", "3/4", "6/8", "12/8", "2/2", "7/8")] == [
        (4, 1),
        (3, 1),
        (3, 1.5),
        (6, 1.5),
        (4, 1),
        (3.5, 1),
    ]


def test_a_phase_grows_from_beat_to_beat_and_through_the_bar() -> None:
    found = phases([(0.1, 1), (0.2, 2), (0.4, 1)], 8, 20.0)
    np.testing.assert_allclose(found[:, 0], [NOWHERE, NOWHERE, 0, 0.5, 0, 0.25, 0.5, 0.75], atol=1e-4)
    np.testing.assert_allclose(found[:, 1], [NOWHERE, NOWHERE, 0, 0.25, 0.5, 0.625, 0.75, 0.875], atol=1e-4)


def test_a_pickup_a_gap_and_numbers_that_are_not_known() -> None:
    pickup = phases([(0.0, 3), (1.0, 1), (2.0, 2), (3.0, 3), (4.0, 1), (5.0, 2)], 8, 1.0)
    np.testing.assert_allclose(pickup[:6, 1], [2 / 3, 0, 1 / 3, 2 / 3, 0, 1 / 3], atol=1e-4)  # the bar that is cut off has three too
    assert (pickup[6:] == NOWHERE).all()  # the last beat lasts as long as the one before it
    gap = phases([(0.0, 1), (1.0, 2), (9.0, 1), (10.0, 2)], 12, 1.0)
    assert (gap[1:9] == NOWHERE).all()
    assert (gap[[0, 9, 10]] >= 0).all()
    unknown = phases([(0.0, 0), (0.5, 0)], 10, 10.0)
    assert (unknown[:, 1] == NOWHERE).all()
    assert (unknown[:, 0] >= 0).all()
    for too_few in ([], [(0.5, 1)]):
        assert (phases(too_few, 4, 50.0) == NOWHERE).all()


@settings(deadline=None)
@given(st.floats(40, 240), st.integers(2, 7), st.floats(0, 2))
def test_times_come_back_from_phases_as_they_are_stored(bpm: float, count: int, first: float) -> None:
    """To the two milliseconds that half precision leaves."""
    beats = [(first + number * 60 / bpm, number % count + 1) for number in range(round(bpm / 60 * 8))]
    stored = phases(beats, 500, 50.0).astype(np.float16)
    times = [time for time, _ in beats if time <= 499 / 50]
    np.testing.assert_allclose(beat_times(stored[:, 0], 50.0), times, atol=0.002)
    np.testing.assert_allclose(beat_times(stored[:, 1], 50.0), times[::count], atol=0.008)


def test_a_stretch_that_begins_within_a_beat_has_none_there() -> None:
    stored = phases(steady_beats(60, "4/4", 4.0), 200, 50.0)
    assert beat_times(stored[20:120, 0], 50.0) == pytest.approx([0.6, 1.6])
    stored[90:140] = NOWHERE
    assert beat_times(stored[:, 0], 50.0) == pytest.approx([0.0, 1.0, 3.0])
    assert len(beat_times(np.full(10, NOWHERE), 50.0)) == len(beat_times(np.zeros(0), 50.0)) == 0
