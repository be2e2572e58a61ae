from __future__ import annotations

import math

import pytest

from jasco_pl.system.errors import UserError
from jasco_pl.system.intervals import require


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("(0, inf)", (1e-30, 1, 1e30), (0, -1, math.inf, math.nan, -math.inf)),
        ("[0, 1)", (0, 0.999), (1, -1e-9, math.nan)),
        ("[-1, 4]", (-1, 0, 4), (4.1, -2)),
        ("(0, inf]", (1, math.inf), (0, math.nan)),
    ],
)
def test_bounds_belong_to_brackets_and_not_to_parentheses(interval, inside, outside):
    for value in inside:
        require(interval, number=value)
    for value in outside:
        with pytest.raises(UserError, match=r"^number is .*, where a number of .* is accepted\.$"):
            require(interval, number=value)
    require(interval, number=None)


def test_the_sentence_says_name_value_and_what_is_accepted():
    with pytest.raises(UserError) as error:
        require("[0, 1)", good=0.5, dropout__of__the__network=1.5)
    assert str(error.value) == "dropout of the network is 1.5, where a number of at least 0 and less than 1 is accepted."
    with pytest.raises(UserError, match=r"^lr is -1, where a number of more than 0 is accepted\.$"):
        require("(0, inf)", lr=-1)
