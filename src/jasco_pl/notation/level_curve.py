"""Loudness over time as people write it: points in decibels, or a word for a shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from jasco_pl.system.errors import UserError

FLOOR = -60.0  # dB: silence
SHAPES: dict[str, tuple[tuple[float, float], ...]] = {
    "steady": ((0.0, -3.0),),
    "build": ((0.0, -24.0), (1.0, 0.0)),
    "fade": ((0.0, 0.0), (0.4, -4.0), (1.0, -40.0)),
    "swell": ((0.0, -20.0), (0.5, 0.0), (1.0, -20.0)),
    "break": ((0.0, -2.0), (1 / 3, -2.0), (0.36, -18.0), (0.64, -18.0), (2 / 3, -2.0)),
    "drop": ((0.0, -16.0), (0.48, -10.0), (0.52, 0.0)),
}
"""Words that can be asked for: (share of the clip, level in dB), straight between."""


def read_points(written: str | Sequence[tuple[float, float]], files: bool = True) -> list[tuple[float, float]]:
    """Points of a curve, (second, dB), rising in time.

    Args:
        written: `0:-30, 5:-10` (second:dB, with commas, semicolons or spaces between), or pairs of numbers.
        files: whether a recording may be named in their place, which the sentence of an error says.

    Raises:
        UserError: something else is written, times do not rise, or a level lies outside -60..0 dB.
    """
    try:
        if isinstance(written, str):
            parts = [part.split(":") for part in written.replace(";", " ").replace(",", " ").split()]
            points = [(float(time.removesuffix("s")), float(level.lower().removesuffix("db"))) for time, level in parts]
        else:
            points = [(float(time), float(level)) for time, level in written]
        if not points:
            raise ValueError
    except (TypeError, ValueError):
        raise UserError(
            f"the dynamics {str(written)[:40]!r} are not understood; write points as in '0:-30, 5:-10' (second:dB), "
            f"{', '.join(SHAPES)}{', or the name of an audio file' if files else ''}."
        ) from None
    for (before, _), (after, _) in pairwise(points):
        if not before < after:
            raise UserError(f"the dynamics have a point at {after:g} s after one at {before:g} s; times must rise.")
    for time, level in points:
        if not (time >= 0 and math.isfinite(time) and FLOOR <= level <= 0):
            raise UserError(
                f"the dynamics have {level:g} dB at {time:g} s; levels lie between {FLOOR:g} and 0 (the loudest moment), times from 0 on."
            )
    return points
