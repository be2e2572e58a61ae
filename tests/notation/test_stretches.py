from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from jasco_pl.notation.stretches import read_ranges, runs, stretches
from jasco_pl.system.errors import UserError


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("0-4", [(0, 4)]),
        ("3 - 6.5", [(3, 6.5)]),
        ("8-", [(8, math.inf)]),
        ("-2", [(0, 2)]),
        ("0-2, 8-10", [(0, 2), (8, 10)]),
        ([(1, 2.5)], [(1, 2.5)]),
    ],
)
def test_stretches_of_seconds(written: Any, expected: list[tuple[float, float]]) -> None:
    assert read_ranges(written, "keep") == expected


def test_something_else_may_stand_between_several() -> None:
    assert read_ranges("-2 + 8-", "during", "+") == [(0, 2), (8, math.inf)]
    with pytest.raises(UserError, match=r"during '0-2,8-10' is not a stretch of seconds, as in '0-4', '8-' or '0-2\+8-10'"):
        read_ranges("0-2,8-10", "during", "+")


@pytest.mark.parametrize("written", ["", "4", "-", "a-b", "0-4;6-8", "0-4,", "1-2-3"])
def test_what_is_no_stretch_is_one_sentence(written: str) -> None:
    with pytest.raises(UserError, match="is not a stretch of seconds, as in '0-4'"):
        read_ranges(written, "keep")


@pytest.mark.parametrize("written", ["4-2", "3-3", [(-1, 2)], "nan-2"])
def test_a_stretch_goes_forward_from_zero(written: Any) -> None:
    with pytest.raises(UserError, match="must be at least 0 and less than the last"):
        read_ranges(written, "redo")


def test_seconds_in_words() -> None:
    known = np.zeros(500, dtype=bool)
    known[:197] = known[400:] = True
    assert runs(known) == [(0, 197), (400, 500)]
    assert stretches(known, 50.0) == "0.00-3.94, 8.00-10.00"
    assert stretches(np.zeros(3, dtype=bool), 50.0) == ""
