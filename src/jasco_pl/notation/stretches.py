"""Stretches of time as people write them: `0-4`, `8-`, `-2`, several together; and masks of frames in such words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jasco_pl.system.errors import UserError

Ranges = str | Sequence[tuple[float, float]]


def read_ranges(written: Ranges, what: str, between: str = ",") -> list[tuple[float, float]]:
    """Stretches of time in seconds; an open end is infinity.

    Args:
        written: `0-4`, `3-6`, `8-` (to the end), `-2` (from the beginning), several with commas (`0-2,8-10`); or pairs of seconds.
        what: what they are called in an error.
        between: what stands between several.

    Raises:
        UserError: something else is written, or a stretch ends before it begins.
    """
    if isinstance(written, str):
        pairs = [_read_range(part.strip(), what, written, between) for part in written.split(between)]
    else:
        pairs = [(float(start), float(end)) for start, end in written]
    for start, end in pairs:
        if not 0 <= start < end:
            raise UserError(f"{what} has the stretch {start:g}-{end:g}, where the first second must be at least 0 and less than the last.")
    return pairs


def _read_range(part: str, what: str, written: str, between: str) -> tuple[float, float]:
    start, dash, end = part.partition("-")
    try:
        if not dash or not (start or end):
            raise ValueError
        return float(start or 0), float(end or "inf")
    except ValueError:
        raise UserError(f"{what} {written!r} is not a stretch of seconds, as in '0-4', '8-' or '0-2{between}8-10'.") from None


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where a mask [T] is true, as stretches [first, last)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(first, last) for first, last in edges.reshape(-1, 2).tolist()]


def stretches(mask: NDArray[np.bool_], frame_rate: float) -> str:
    """The seconds where a mask [T] is true in words, as in `0.00-3.94, 8.00-10.00`."""
    return ", ".join(f"{first / frame_rate:.2f}-{last / frame_rate:.2f}" for first, last in runs(mask))
