"""Bars as inline SVG: sharp at any size, and in the page's own colours, light or dark."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT = 540, 190
_LEFT, _TOP, _BOTTOM = 46, 10, 40
STYLE = """
.bars text { fill: var(--soft); font: 11.5px var(--sans); }
.bars line { stroke: var(--line); }
.bars .first { fill: var(--accent); }
.bars .second { fill: var(--near); }
.bars g.bar:hover rect { opacity: .7; }
"""


def bar_chart(
    labels: Sequence[str], series: Sequence[Sequence[float]], *, describe: Sequence[Sequence[str]], axis: str = "", between: bool = False
) -> Markup:
    """Upright bars.

    Args:
        labels: under the bars, one a bar; or, with `between`, under the edges: one more than bars. Empty ones are left out.
        series: values from 0 on; one sequence, or two that stand beside each other.
        describe: what is said about each bar when it is pointed at, of the shape of `series`.
        axis: what the labels are, under them.
        between: whether labels stand under the edges of bars.
    """
    count = len(series[0])
    top = _nice(max((value for values in series for value in values), default=0))
    slot = (WIDTH - _LEFT) / max(1, count)
    floor = HEIGHT - _BOTTOM
    scale = (floor - _TOP) / top
    parts = []
    for tick in (top, top / 2, 0):
        y = floor - tick * scale
        parts.append(f'<line x1="{_LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    width = slot * 0.86 / len(series)
    for row, (values, kind) in enumerate(zip(series, ("first", "second"), strict=False)):
        for number, value in enumerate(values):
            if value <= 0:
                continue
            height = max(1.0, value * scale)
            x = _LEFT + number * slot + slot * 0.07 + row * width
            parts.append(
                f'<g class="bar"><title>{escape(describe[row][number])}</title>'
                # A bar as high as the chart lies under the visible one, so that small ones can be pointed at.
                f'<rect x="{x:.1f}" y="{_TOP}" width="{width:.1f}" height="{floor - _TOP}" fill="transparent"/>'
                f'<rect class="{kind}" x="{x:.1f}" y="{floor - height:.1f}" width="{width - 1:.1f}" height="{height:.1f}" rx="1.5"/></g>'
            )
    for number, label in enumerate(labels):
        x = _LEFT + (number + (0 if between else 0.5)) * slot
        parts.append(f'<text x="{x:.1f}" y="{floor + 16}" text-anchor="middle">{escape(label)}</text>')
    if axis:
        parts.append(f'<text x="{(_LEFT + WIDTH) / 2}" y="{HEIGHT - 5}" text-anchor="middle">{escape(axis)}</text>')
    return Markup(f'<svg class="bars" viewBox="0 0 {WIDTH + 14} {HEIGHT}" role="img" aria-label="{escape(axis)}">{"".join(parts)}</svg>')


def _nice(highest: float) -> float:
    """The top of the scale: 1, 2, 4, 6 or 8 times a power of ten, so that its half is a short number too."""
    if highest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= highest * (1 - 1e-9))
