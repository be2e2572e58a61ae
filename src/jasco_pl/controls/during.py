"""Controls for part of a clip: which seconds each of them holds for. Elsewhere it says nothing, by the null that training drops it to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jasco_pl.controls.options import PAINT
from jasco_pl.notation.harmony import first_frame
from jasco_pl.notation.stretches import Ranges, read_ranges, stretches
from jasco_pl.system.errors import UserError

During = str | Mapping[str, Ranges]
_BETWEEN = "+"  # several stretches of a control


class Length(Protocol):
    """How long a clip is: a `FrameGrid`, or what is known of one before there is a model."""

    @property
    def frames(self) -> int: ...
    @property
    def frame_rate(self) -> float: ...
    @property
    def seconds(self) -> float: ...


def read_during(written: During, options: Collection[str], asked: Collection[str], grid: Length) -> dict[str, NDArray[np.bool_]]:
    """In which frames of a clip the named controls hold.

    Args:
        written: `chords=0-6,melody=4-10`, with open ends (`8-`, `-2`) and several stretches of a control joined by + (`chords=0-2+6-8`); or
            a mapping of such stretches, or of pairs of seconds, by the names of options.
        options: by which controls are asked for.
        asked: those of them that are, and that a control of the model follows.
        grid: the clip.

    Returns:
        Option -> true where it holds, [T] each.

    Raises:
        UserError: it cannot be read, names what is no control, is not asked for or is not cut in time, or a stretch begins past the clip.
    """
    found = {}
    for name, ranges in (_pairs(written) if isinstance(written, str) else written).items():
        if name == PAINT.name:
            raise UserError(f"during cannot cut {name}: keep and redo say which seconds of the recording stay.")
        if name not in options:
            cut = ", ".join(option for option in options if option != PAINT.name)
            raise UserError(f"during names {name!r}, which is no control; there are: {cut}.")
        if name not in asked:
            raise UserError(f"during names {name}, which is not asked for here, or which nothing in this model follows.")
        mask = np.full(grid.frames, False)
        for start, end in read_ranges(ranges, f"during {name}", _BETWEEN):
            if (first := first_frame(start, grid.frame_rate)) >= grid.frames:
                raise UserError(f"during {name}: {start:g}-{end:g} begins past the clip, which ends at {grid.seconds:g} seconds.")
            mask[first : first_frame(min(end, grid.seconds), grid.frame_rate)] = True
        if not mask.any():
            raise UserError(f"during {name}: there is no frame in {ranges!r}; a frame lasts {1 / grid.frame_rate:g} s.")
        found[name] = mask
    return found


def _pairs(written: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in written.split(","):
        name, equals, ranges = (piece.strip() for piece in part.partition("="))
        if not equals or name in found:
            why = f"names {name} twice" if equals else f"has {part.strip()!r} without the name of a control"
            raise UserError(f"during {written!r} {why}: it is written as chords=0-6,melody=4-, several stretches as chords=0-2+6-8.")
        found[name] = ranges
    return found


def said(during: Mapping[str, NDArray[np.bool_]], asked: Collection[str], frame_rate: float) -> str:
    """What holds when, in words."""
    parts = [f"{name} for {stretches(mask, frame_rate)} s" for name, mask in during.items()]
    rest = ", ".join(name for name in asked if name not in during)
    return f"held for a part of the time: {', '.join(parts)}" + (f"; {rest} throughout" if rest else "")
