"""The lane of texts over time: what each stretch of a clip is told, asked for alone, since no extractor hears a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jasco_pl.notation.harmony import FRAME_RATE
from jasco_pl.notation.timed_text import Prompt, Span, is_timed, read_prompt
from jasco_pl.pages.lanes import INK, LEFT, RIGHT_END, WIDTH, Labels, Side, runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "text"
_INCHES = 0.0093 * 8  # a letter of eight points


class Texts(Labels):
    """Stretches with their texts, cut where there is no room.

    Args:
        spans: of a clip, in frames.

    Attributes:
        side: the number of the span of each frame, [T], for `draw`.
    """

    kind = "texts"
    heights = (0.32, 0.32)

    def __init__(self, spans: Sequence[Span]) -> None:
        super().__init__(NAME, [span.text for span in spans], nothing=0)
        self.side: NDArray[np.int64] = np.repeat(np.arange(len(spans)), [span.last - span.first for span in spans])

    def _draw_row(self, axes: Axes, side: Side, bottom: float) -> None:
        from matplotlib.patches import Rectangle  # here, as in `pages.lanes`

        inches_a_second = WIDTH * (RIGHT_END - LEFT) / axes.get_xlim()[1]
        for (number,), first, last in runs(side):
            text, begin, length = self.labels[number], first / FRAME_RATE, (last - first) / FRAME_RATE
            if text:
                axes.add_patch(Rectangle((begin, bottom + 0.06), length, 0.88, facecolor=self.colour(number), edgecolor="white"))
                room = int(length * inches_a_second / _INCHES)
                shown = text if len(text) <= room else f"{text[: room - 1]}…" if room > 2 else ""
                place = (begin + length / 2, bottom + 0.5)
                axes.text(*place, shown, ha="center", va="center", fontsize=8, color=INK, clip_on=True, parse_math=False)


def texts_lane(prompt: Prompt, seconds: float) -> list[tuple[Texts, Side, None]]:
    """The lane of a clip's prompt, as `pages.pictures.draw_clip` takes it; none for a text that holds throughout."""
    if not is_timed(prompt):
        return []
    lane = Texts(read_prompt(prompt, max(1, round(seconds * FRAME_RATE)), FRAME_RATE)[0])
    return [(lane, lane.side, None)]


def told(parts: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """What a page's script draws of (start, end, text) in seconds, by the lane's name; nothing of none."""
    asked = [[text, start, end] for start, end, text in parts if text]
    return {NAME: {"kind": Texts.kind, "asked": asked, "heard": []}} if asked else {}
