from __future__ import annotations

import json

import numpy as np
import pytest

from jasco_pl.metrics.dynamics import dynamics_error
from jasco_pl.pages.curve import Curve
from jasco_pl.pages.lanes import FREE, RIGHT, WRONG
from jasco_pl.pages.pictures import draw_lane

LANE = Curve("dynamics", -60.0, 3.0)
ASKED = np.linspace(-30, 0, 200)
ASKED[:50] = np.nan
HEARD = np.where(np.arange(200) < 150, np.linspace(-30, 0, 200), np.linspace(-30, 0, 200) - 10)


def test_what_is_kept_is_judged_as_the_frames_are() -> None:
    kept = json.loads(json.dumps([LANE.written(ASKED), LANE.written(HEARD)]))
    lane = LANE.judged(*kept, 4.0)
    assert (lane["kind"], lane["step"]) == ("curve", 0.1)
    assert lane["asked"][:10] == [None] * 10
    assert lane["asked"][10] == pytest.approx(-22.5, abs=0.1)
    verdicts = [verdict for _, verdict in lane["heard"]]
    assert verdicts == LANE.verdicts(ASKED, HEARD)[::5].tolist()
    assert (verdicts[0], verdicts[12], verdicts[-1]) == (FREE, WRONG, WRONG)
    values = [value for value, _ in lane["heard"]]
    assert np.mean(np.abs(np.array(values[10:]) - lane["asked"][10:])) == pytest.approx(dynamics_error(HEARD, ASKED), abs=0.1)


def test_the_same_course_is_right_wherever_it_lies() -> None:
    asked = np.linspace(-20, 0, 100)
    assert (LANE.verdicts(asked, asked - 25) == RIGHT).all()
    assert LANE.score(asked, asked - 25) == "r 1.00\noff by 0.0 dB"


@pytest.mark.parametrize("sides", [(ASKED, HEARD), (ASKED, None), (None, HEARD), (ASKED[:120], HEARD)])
def test_each_side_is_drawn(sides: tuple[np.ndarray | None, np.ndarray | None]) -> None:
    figure = draw_lane(LANE, *sides, seconds=4.0, title="a build")
    (axes,) = figure.axes
    texts = [text.get_text() for text in axes.texts]
    assert ("off by" in texts[1]) == all(side is not None for side in sides)
    assert bool(axes.lines) == (sides[1] is not None)
    assert bool(axes.collections) == (sides[0] is not None)
