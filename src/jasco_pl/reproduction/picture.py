"""Bars: what we measured beside what the paper printed, experiment by experiment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jasco_pl.files import atomic_path
from jasco_pl.pictures import BLUE, INK, RED, SKY, SOFT
from jasco_pl.reproduction import paper, plan
from jasco_pl.reproduction.paper import CHORDS, FRECHET, KL, ONSETS, SIMILARITY, Published
from jasco_pl.reproduction.plan import EXPERIMENTS
from jasco_pl.reproduction.results import Reproduction, titles

_NONE = Published(None, None)
Table = Mapping[str, Mapping[str, Published]]
_SHORT = {
    plan.TEXT_ONLY: "text only",
    "drumless": "audio, no drums",
    "drums_bandpass": "drums, band",
    "symbolic_drums": "d. band + c. + m.",
    "symbolic_audio": "a. no d. + d. band + c. + m.",
    "concatenation": "concat.",
    "cross_attention": "cross-att.",
    "zero_convolution": "zero conv.",
}


def draw(found: Reproduction, path: Path) -> None:
    """Write a PNG on white paper, which a dark page shows as a card: adherence in table 2 above, tables 4 and 5 and figure 2 below."""
    figure = Figure(figsize=(13.5, 8.4), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 1, height_ratios=(1.12, 1))
    upper, lower = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    for axes, column in zip(upper.subplots(1, 3), (CHORDS, ONSETS, SIMILARITY), strict=True):
        _bars(axes, found, plan.TABLE_2, column, paper.TABLE_2, f"Table 2: {titles(found.budget)[column]} ↑")
    places = lower.subplots(1, 4, width_ratios=(3, 3, 2.2, 3))
    _bars(places[0], found, plan.TABLE_4, CHORDS, paper.TABLE_4, "Table 4: chord IoU ↑")
    _bars(places[1], found, plan.TABLE_4, FRECHET, paper.TABLE_4, f"Table 4: {titles(found.budget)[FRECHET]} ↓")
    _bars(
        places[2],
        found,
        plan.TABLE_5,
        FRECHET,
        paper.TABLE_5,
        f"Table 5: {titles(found.budget)[FRECHET]} ↓",
        chords="w = 1 + t",
        weight_uniform="w = 1",
    )
    _bars(places[3], found, plan.FIGURE_2, KL, {}, f"Figure 2: {titles(found.budget)[KL]} ↓", chords="flow, prec.", flow_plain="flow")
    handles, labels = upper.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=3, frameon=False, fontsize=9.5, labelcolor=INK)
    upper.subplots_adjust(left=0.04, right=0.985, top=0.92, bottom=0.33, wspace=0.16)
    lower.subplots_adjust(left=0.04, right=0.975, top=0.9, bottom=0.27, wspace=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, metadata={"Software": ""})


def _bars(axes: Axes, found: Reproduction, names: Sequence[str], column: str, table: Table, title: str, **named: str) -> None:
    """Ours with its interval; beside it the paper's, on an axis of its own for distances, whose levels cannot be compared."""
    places = np.arange(len(names))
    ours = [found.scores[name].figure(column) if name in found.scores else None for name in names]
    means = [math.nan if one is None or one.missing else one.mean for one in ours]
    spans = [(0.0, 0.0) if one is None or math.isnan(one.low) else (one.mean - one.low, one.high - one.mean) for one in ours]
    other = axes.twinx() if table and column == FRECHET else axes
    both = any(published.get(column, _NONE).musiccaps is not None for published in table.values())
    for shift, kind, label, colour in ((0, "musiccaps", "paper, MusicCaps", SKY), (0.28 * both, "internal", "paper, internal set", BLUE)):
        values = [getattr(table[name][column], kind) if name in table and column in table[name] else None for name in names]
        if any(value is not None for value in values):
            other.bar(places + shift, [math.nan if value is None else value for value in values], 0.26, color=colour, label=label)
    axes.bar(places - 0.28, means, 0.26, color=RED, label="ours", yerr=np.array(spans).T, ecolor=INK, capsize=2, error_kw={"lw": 1})
    for place, mean in zip(places, means, strict=True):
        if math.isnan(mean):
            axes.text(place - 0.28, 0, "–", ha="center", va="bottom", color=SOFT)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_title(title, fontsize=10.5, color=INK)
    labels = [named.get(name) or _SHORT.get(name) or EXPERIMENTS[name].title for name in names]
    axes.set_xticks(
        places, labels, fontsize=8.5, color=INK, rotation=38 if len(names) > 3 else 0, ha="right" if len(names) > 3 else "center"
    )
    axes.tick_params(axis="y", labelsize=8, colors=SOFT)
    if other is not axes:
        axes.tick_params(axis="y", labelsize=8, colors=RED)
        other.tick_params(axis="y", labelsize=8, colors=BLUE)
        other.spines[["top"]].set_visible(False)
    axes.spines[["top"] if other is not axes else ["top", "right"]].set_visible(False)
