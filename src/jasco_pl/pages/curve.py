"""A lane of one value over time: dynamics in dB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jasco_pl.metrics.dynamics import dynamics_correlation, dynamics_error, levelled
from jasco_pl.notation.harmony import FRAME_RATE
from jasco_pl.pages.lanes import BLUE, FREE, GREY, RED, RIGHT, SKY, WRONG, Lane, Side, runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STEP = 5  # frames from one point that is kept to the next, 0.1 s


class Curve(Lane):
    """Values [T] in dB, NaN where there is none. What is heard is moved as a whole onto what was asked for: only its course counts.

    Args:
        name: of the lane.
        lowest: value at the lower edge, where nothing reaches below it.
        window: how far off is still right.
    """

    kind = "curve"
    heights = (0.7, 0.9)

    def __init__(self, name: str, lowest: float, window: float) -> None:
        super().__init__(name, f"pale = asked, blue = heard, orange = more than {window:g} dB off")
        self.lowest, self.window = lowest, window

    def verdicts(self, asked: Side, heard: Side) -> Side:
        """A verdict a frame [T]; both sides are of one length."""
        with np.errstate(invalid="ignore"):
            off = np.abs(levelled(heard, asked) - asked) > self.window
        return np.where(np.isnan(asked), FREE, np.where(off, WRONG, RIGHT))

    def score(self, asked: Side, heard: Side) -> str:
        """How far the two agree, in two lines."""
        correlation = dynamics_correlation(heard, asked)
        return ("" if np.isnan(correlation) else f"r {correlation:.2f}\n") + f"off by {dynamics_error(heard, asked):.1f} dB"

    def written(self, side: Side) -> list[float | None]:
        """A value every tenth of a second."""
        return [None if np.isnan(value) else round(float(value), 1) for value in np.asarray(side, dtype=np.float64)[::_STEP]]

    def judged(self, asked: Sequence[Any], heard: Sequence[Any], seconds: float) -> dict[str, Any]:
        """Besides what every lane has, `step` in seconds; values lie in 0..1 of the lane's height."""
        wanted, found = (np.array([np.nan if value is None else value for value in side], dtype=np.float64) for side in (asked, heard))
        count = min(len(wanted), len(found))
        verdicts = self.verdicts(wanted[:count], found[:count])
        moved, low = levelled(found[:count], wanted[:count]), self._lowest(wanted)
        return {
            "kind": self.kind,
            "step": _STEP / FRAME_RATE,
            "lowest": low,
            "asked": [None if np.isnan(value) else round(float(value), 1) for value in wanted],
            "heard": [[round(float(value), 1), int(verdict)] for value, verdict in zip(moved, verdicts, strict=True)],
        }

    def _lowest(self, wanted: Side) -> float:
        """Six decibels below what was asked for, in steps of twelve."""
        least = np.nanmin(wanted) if not np.isnan(wanted).all() else -18.0
        return float(max(self.lowest, 12 * np.floor((least - 6) / 12)))

    def draw(self, axes: Axes, asked: Side | None, heard: Side | None, names: tuple[str, str]) -> str:
        sides = [None if side is None else np.asarray(side, dtype=np.float64) for side in (asked, heard)]
        wanted, found = sides
        low = min(self._lowest(side) for side in sides if side is not None)
        axes.set_ylim(low, 6)
        axes.set_yticks([low, 0], [f"{low:.0f} dB".replace("-", "−"), "0 dB"])
        if wanted is not None:
            axes.fill_between(_times(wanted), low, wanted, color=SKY if found is not None else BLUE, linewidth=0)
        if found is None:
            return ""
        if wanted is None:
            axes.plot(_times(found), found, color=BLUE, linewidth=1.5)
            return ""
        count = min(len(wanted), len(found))
        verdicts, moved = self.verdicts(wanted[:count], found[:count]), levelled(found[:count], wanted[:count]).clip(low, 6)
        for (verdict,), first, last in runs(verdicts):
            part = slice(first, min(last + 1, count))  # to the next stretch, so that no gap shows
            axes.plot(_times(moved)[part], moved[part], color={RIGHT: BLUE, FREE: GREY, WRONG: RED}[verdict], linewidth=1.6)
        return self.score(wanted[:count], found[:count]) if not np.isnan(wanted[:count]).all() else ""


def _times(side: Side) -> Side:
    return (np.arange(len(side)) + 0.5) / FRAME_RATE
