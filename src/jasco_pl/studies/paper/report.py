"""Bars: what we measured beside what the paper printed, experiment by experiment.

The page: every table of the paper with ours beside it, and what can be said of each finding.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jasco_pl.metrics.report import aligned_table
from jasco_pl.pages.lanes import BLUE, INK, RED, SKY, SOFT
from jasco_pl.studies.paper import claims as paper
from jasco_pl.studies.paper import plan
from jasco_pl.studies.paper.claims import (
    ACCURACY,
    ADHERENCE,
    CHORDS,
    CLAP,
    FRECHET,
    HIGHER_IS_BETTER,
    KL,
    ONSETS,
    QUALITY,
    SIMILARITY,
    SIMILARITY_CLF,
    Finding,
    Published,
)
from jasco_pl.studies.paper.plan import EXPERIMENTS
from jasco_pl.studies.paper.results import CEILING, COMPARABLE, Outcome, Reproduction, Verdict, titles
from jasco_pl.system.files import atomic_path

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


DECIMALS = {FRECHET: 1}
_PLACES = {
    "Table 1": "Table 1: the melody",
    "Table 2": "Table 2: local controls",
    "Table 4": "Table 4: how conditions enter the network",
    "Table 5": "Table 5: the weight of the loss",
    "Figure 2": "Figure 2: flow matching and v-diffusion",
}


def markdown(found: Reproduction, picture: str | None, command: str) -> str:
    """The whole page.

    Args:
        found: the figures.
        picture: path of the bars, as seen from the page; None leaves them out.
        command: what printed this.
    """
    verdicts, footnotes = found.verdicts, _Footnotes()
    parts = ["# The paper's findings at a small budget", _about(found, command), _summary(verdicts)]
    if picture:
        parts.append(f"![Our figures beside the paper's]({picture})")
    tables = {
        "Table 1": _table_1,
        "Table 2": _table_2,
        "Table 4": _table_4,
        "Table 5": _table_5,
        "Figure 2": _figure_2,
    }
    for place, title in _PLACES.items():
        said = [sentence(verdict, found) for verdict in verdicts if verdict.claim.place == place]
        parts += [f"## {title}", tables[place](found, footnotes), "\n".join(f"- {line}" for line in said)]
    parts += [footnotes.text(), "## How it was done", _how(found)]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _as_make(command: str) -> str:
    options = command.removeprefix("jasco reproduce").strip()
    return f' ARGS="{options}"' if options else ""


def sentence(verdict: Verdict, found: Reproduction) -> str:
    """One finding: what can be said of it, our figures, the paper's."""
    claim, column = verdict.claim, titles(found.budget)[verdict.claim.column]
    text = f"**{verdict.outcome.value}**: {claim.says}."
    if verdict.difference is not None:
        digits = DECIMALS.get(claim.column, 3)
        difference = verdict.difference  # finer, so that few ends of an interval round to nothing
        text += (
            f" {column} {verdict.one:.{digits}f} against {verdict.other:.{digits}f}, difference {difference.mean:+.3f} "
            f"[{difference.low:+.3f}, {difference.high:+.3f}]"
        )
        if claim.finding is Finding.COMPARABLE:
            text += f", bound {COMPARABLE:.0%} worse"
        text += "."
    elif verdict.outcome is Outcome.NOT_MEASURED:
        text += f" {column} is not to be had here."
    if claim.published is not None:
        text += f" Paper: {claim.published[0]} against {claim.published[1]}."
    return text


class _Footnotes:
    """Reasons why a figure is missing, numbered over the page."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def mark(self, note: str) -> str:
        if note not in self.notes:
            self.notes.append(note)
        return f"[{self.notes.index(note) + 1}]"

    def text(self) -> str:
        return "  \n".join(f"[{number}] {note}" for number, note in enumerate(self.notes, 1))


def _cell(found: Reproduction, name: str, column: str, footnotes: _Footnotes) -> str:
    """Mean ± half the interval over clips, and the range over seeds where there are several."""
    if name not in found.scores:
        return "not run yet"
    scores, digits = found.scores[name], DECIMALS.get(column, 3)
    figure = scores.figure(column)
    if figure.missing is not None:
        return f"– {footnotes.mark(figure.missing)}"
    text = f"{figure.mean:.{digits}f}" + ("" if math.isnan(figure.low) else f" ± {(figure.high - figure.low) / 2:.{digits}f}")
    if scores.seeds > 1:
        text += f" ({min(scores.by_seed(column)):.{digits}f}–{max(scores.by_seed(column)):.{digits}f})"
    return text


def _paired(
    found: Reproduction,
    names: Sequence[str],
    columns: Sequence[str],
    published: Mapping[str, Mapping[str, Any]],
    footnotes: _Footnotes,
    **named: str,
) -> str:
    """A table with the paper's figure to the right of every one of ours; `named` are rows that are called otherwise than the experiment."""
    shown = titles(found.budget)
    arrows = {column: "↑" if HIGHER_IS_BETTER[column] else "↓" for column in columns}
    table = [["", *(title for column in columns for title in (f"{shown[column]} {arrows[column]}", f"paper's {_PAPERS[column]}"))]]
    for name in names:
        title = named.get(name) or (EXPERIMENTS[name].title if name in EXPERIMENTS else name)
        cells = [
            cell for column in columns for cell in (_cell(found, name, column, footnotes), str(published.get(name, {}).get(column, "–")))
        ]
        table.append([title, *cells])
    return aligned_table(table)


_PAPERS = {
    paper.SIMILARITY_CLF: "Mld (clf) sim.",
    paper.SIMILARITY: "Mld sim.",
    paper.ACCURACY: "Mel Acc.",
    paper.ONSETS: "Onset F1",
    paper.CHORDS: "Crd IOU",
    paper.FRECHET: "FAD",
    paper.KL: "KL",
    paper.CLAP: "CLAP",
    paper.TRIADS: "",
}


def _table_1(found: Reproduction, footnotes: _Footnotes) -> str:
    columns = (FRECHET, CLAP, SIMILARITY_CLF, paper.SIMILARITY, ACCURACY)
    shown = titles(found.budget)
    table = [["", *(f"{shown[column]} {'↑' if HIGHER_IS_BETTER[column] else '↓'}" for column in columns)]]
    for name in (*plan.TABLE_1, plan.TEXT_ONLY):
        table.append([f"ours, {EXPERIMENTS[name].title}", *(_cell(found, name, column, footnotes) for column in columns)])
    for name, row in paper.TABLE_1.items():
        figures = [f"{row[column] / (100 if column == ACCURACY else 1):.3g}" if column in row else "–" for column in columns]
        table.append([f"paper, {name}", *figures])
    text = aligned_table(table)
    return text + (
        "\nThe paper's columns are FAD, CLAP and its similarity by classifier on MusicCaps. MusicGen and Music ControlNet are quoted, not "
        "trained: that JASCO follows the melody better than they do is not examined here."
    )


def _table_2(found: Reproduction, footnotes: _Footnotes) -> str:
    names = [*plan.TABLE_2, *([CEILING] if CEILING in found.scores else [])]
    return "\n".join(
        [
            "Adherence, each model given all that it was trained on, taken from the reference:",
            "",
            _paired(found, names, ADHERENCE, paper.TABLE_2, footnotes),
            "Sound and text, audio and drums taken from another piece, as in the paper:",
            "",
            _paired(found, names, QUALITY, paper.TABLE_2, footnotes),
        ]
    )


def _table_4(found: Reproduction, footnotes: _Footnotes) -> str:
    table = _paired(found, plan.TABLE_4, (CHORDS, FRECHET, KL), paper.TABLE_4, footnotes)
    return table + (
        "\nAll three start from our text-only model and go on with chords for as many steps as every training here; the paper's for 500 "
        "thousand. The new columns of concatenation begin at zero then, where those of the model of chords in table 2 begin amplified "
        "(`control_gain`), and so does the zero convolution: how soon a way of conditioning is learned weighs more here than in the paper."
    )


def _table_5(found: Reproduction, footnotes: _Footnotes) -> str:
    table = _paired(found, plan.TABLE_5, (FRECHET, KL, CLAP, CHORDS), paper.TABLE_5, footnotes, chords="w(t) = 1 + t")
    return table + "\nBoth are models of chords; the paper does not say which controls its own had."


def _figure_2(found: Reproduction, footnotes: _Footnotes) -> str:
    table = _paired(found, plan.FIGURE_2, (FRECHET, KL, CLAP, CHORDS), {}, footnotes, chords="flow, with preconditioning")
    return table + (
        "\nModels of chords, sampled with as many evaluations of the network: DDIM for v-diffusion, the midpoint rule for flows. "
        "Preconditioning belongs to the straight path, so that the fair pair is the flow without it; the flow as it is used elsewhere on "
        "this page stands beside. The paper's figure shows bars without numbers."
    )


def _about(found: Reproduction, command: str) -> str:
    """What a reader has to know before the figures."""
    budget = found.budget
    sizes = sorted({int(entry["parameters"]) for entry in found.finished})
    size = " to ".join(dict.fromkeys(f"{value / 1e6:.1f}" for value in (sizes[0], sizes[-1]))) if sizes else "few"
    several = (
        "Every figure is a mean over the seeds, with the range over seeds in brackets."
        if len(found.seeds) > 1
        else "One training each: the intervals speak of the clips, not of what another seed would have given."
    )
    return (
        f"The paper's experiments, all with the same {budget.steps} steps of {found.batch} crops of {found.seconds:g} s "
        f"({budget.steps * found.batch:,} crops), the same composed music and the same seeds ({', '.join(map(str, found.seeds))}), "
        f"measured on the same {budget.clips} held-out pieces, ten seconds of each. Models of {size} million parameters after so little "
        "training say in which direction a choice works, and nothing of the level it would reach: the paper's, of 330 million, saw 168 "
        "million crops. "
        f"Where a finding does not show here, the page says so.\n\n{several}\n\n"
        f"`{command}` made this page (with the music it needs: `make paper-tables{_as_make(command)}`); nothing in it is written by hand. "
        f"Ran on: {found.machine}."
    )


def _summary(verdicts: Sequence[Verdict]) -> str:
    kinds = {Finding.BETTER: "better", Finding.COMPARABLE: "comparable"}
    said = []
    for finding, word in kinds.items():
        outcomes = Counter(verdict.outcome for verdict in verdicts if verdict.claim.finding is finding)
        counted = "; ".join(f"{outcome.value} {outcomes[outcome]}" for outcome in Outcome if outcomes[outcome])
        said.append(f'{sum(outcomes.values())} that say "{word}" ({counted})')
    return (
        f"**Comparisons: {', '.join(said)}.** A better one agrees when the whole 95 % interval of the difference between two models on "
        "the same clips lies on the paper's side of nothing, however small the difference; it does not reproduce when all of it lies on "
        f"the other side. A comparable one agrees when the interval ends less than {COMPARABLE:.0%} worse than the other model: little is "
        "asked where that model is poor itself, or a control is not followed yet. Of so many intervals one or two miss by chance."
    )


def _how(found: Reproduction) -> str:
    budget = found.budget
    minutes = sum(float(entry["cpu_seconds"]) for entry in found.finished) / 60
    return "\n".join(
        [
            "- Configuration: conf/reproduction.yaml, over it the files of conf/ablation/. Dropout of conditions is the paper's. Chords "
            "begin as sets of pitch classes. Data: composed music, its chords as Chordino hears them.",
            f"- {len(found.finished)} trainings, one thread each, {minutes:.0f} CPU minutes together (of one that was interrupted, the "
            "part since); exported with averaged weights in half precision.",
            f"- Every model is guided by `{budget.guidance}` and sampled with {budget.evaluations} evaluations of the network a branch. "
            "The paper reports the best of a grid of guidances, which was not searched here.",
            "- Intervals: of a mean over clips and of the difference between two such means by bootstrap over clips; of the difference "
            "between two Frechet distances by jackknife over clips. A distance of so few embeddings is biased upwards, for all models "
            "nearly alike: compare within this page only.",
            "- The paper's cells read MusicCaps / internal set. Its FAD is of VGGish, its KL of PaSST; ours are of the networks that the "
            "headings name.",
        ]
    )


def write_page(found: Reproduction, page: Path, picture: Path | None, command: str) -> str:
    """Write the page; return it."""
    text = markdown(found, picture.relative_to(page.parent).as_posix() if picture else None, command)
    with atomic_path(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return text
