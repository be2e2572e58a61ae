"""Numbers that make sense, said in the notation of intervals."""

from __future__ import annotations

import math
from typing import Any

from jasco_pl.system.errors import UserError


def require(interval: str, **named: Any) -> None:
    """Refuse the first number that is not in an interval, such as "[0, 1)" or "(0, inf)"; None is in all of them, NaN in none.

    Raises:
        UserError: says its name, with a blank for every double underscore, and what is accepted.
    """
    low, high = (float(part) for part in interval[1:-1].split(","))
    for name, value in named.items():
        if value is None:
            continue
        above = value > low if interval[0] == "(" else value >= low
        below = value < high if interval[-1] == ")" else value <= high
        if not (above and below):
            raise UserError(f"{name.replace('__', ' ')} is {value}, where {_words(interval, low, high)} is accepted.")


def _words(interval: str, low: float, high: float) -> str:
    least = f"more than {low:g}" if interval[0] == "(" else f"at least {low:g}"
    if math.isinf(high):
        return f"a number of {least}"
    most = f"less than {high:.12g}" if interval[-1] == ")" else f"at most {high:.12g}"
    return f"a number of {least} and {most}"
