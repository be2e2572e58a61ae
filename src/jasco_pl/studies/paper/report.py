"""The page (page.md): every table of the paper with ours beside it, and what can be said of each finding; and its bars."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jasco_pl.metrics.report import aligned_table, footnote
from jasco_pl.pages.base import templates
from jasco_pl.pages.lanes import BLUE, INK, RED, SKY, SOFT
from jasco_pl.studies.paper import plan
from jasco_pl.studies.paper.plan import (
    ACCURACY,
    CHORDS,
    CLAP,
    EXPERIMENTS,
    FRECHET,
    HIGHER_IS_BETTER,
    KL,
    ONSETS,
    PUBLISHED,
    QUOTED,
    SIMILARITY,
    SIMILARITY_CLF,
    TEXT_ONLY,
    Finding,
)
from jasco_pl.studies.paper.results import CEILING, COMPARABLE, Outcome, Reproduction, Verdict, titles
from jasco_pl.system.files import atomic_path, write_text

DECIMALS = {FRECHET: 1}
_PAPERS = {
    SIMILARITY_CLF: "Mld (clf) sim.",
    SIMILARITY: "Mld sim.",
    ONSETS: "Onset F1",
    CHORDS: "Crd IOU",
    FRECHET: "FAD",
    KL: "KL",
    CLAP: "CLAP",
}
"""The paper's own headings."""


def draw(found: Reproduction, path: Path) -> None:
    """Write a PNG on white paper, which a dark page shows as a card: adherence in table 2 above, tables 4 and 5 and figure 2 below."""
    figure = Figure(figsize=(13.5, 8.4), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 1, height_ratios=(1.12, 1))
    upper, lower = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    for axes, column in zip(upper.subplots(1, 3), (CHORDS, ONSETS, SIMILARITY), strict=True):
        _bars(axes, found, "Table 2", column)
    places = lower.subplots(1, 4, width_ratios=(3, 3, 2.2, 3))
    _bars(places[0], found, "Table 4", CHORDS)
    _bars(places[1], found, "Table 4", FRECHET)
    _bars(places[2], found, "Table 5", FRECHET, chords="w = 1 + t", weight_uniform="w = 1")
    _bars(places[3], found, "Figure 2", KL, chords="flow, prec.", flow_plain="flow")
    handles, labels = upper.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=3, frameon=False, fontsize=9.5, labelcolor=INK)
    upper.subplots_adjust(left=0.04, right=0.985, top=0.92, bottom=0.33, wspace=0.16)
    lower.subplots_adjust(left=0.04, right=0.975, top=0.9, bottom=0.27, wspace=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, metadata={"Software": ""})


def _bars(axes: Axes, found: Reproduction, place: str, column: str, **named: str) -> None:
    """Ours with its interval; beside it the paper's, on an axis of its own for distances, whose levels cannot be compared."""
    names, published = [*PUBLISHED[place]], [row.get(column) for row in PUBLISHED[place].values()]
    places = np.arange(len(names))
    ours = [found.scores[name].figure(column) if name in found.scores else None for name in names]
    means = [math.nan if one is None or one.missing else one.mean for one in ours]
    spans = [(0.0, 0.0) if one is None or math.isnan(one.low) else (one.mean - one.low, one.high - one.mean) for one in ours]
    other = axes.twinx() if any(published) and column == FRECHET else axes
    both = any(pair is not None and pair.musiccaps is not None for pair in published)
    for shift, kind, label, colour in ((0, "musiccaps", "paper, MusicCaps", SKY), (0.28 * both, "internal", "paper, internal set", BLUE)):
        values = [None if pair is None else getattr(pair, kind) for pair in published]
        if any(value is not None for value in values):
            other.bar(places + shift, [math.nan if value is None else value for value in values], 0.26, color=colour, label=label)
    axes.bar(places - 0.28, means, 0.26, color=RED, label="ours", yerr=np.array(spans).T, ecolor=INK, capsize=2, error_kw={"lw": 1})
    for at, mean in zip(places, means, strict=True):
        if math.isnan(mean):
            axes.text(at - 0.28, 0, "–", ha="center", va="bottom", color=SOFT)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_title(f"{place}: {_heading(found, column)}", fontsize=10.5, color=INK)
    labels = [named.get(name) or EXPERIMENTS[name].short or EXPERIMENTS[name].title for name in names]
    axes.set_xticks(
        places, labels, fontsize=8.5, color=INK, rotation=38 if len(names) > 3 else 0, ha="right" if len(names) > 3 else "center"
    )
    axes.tick_params(axis="y", labelsize=8, colors=SOFT)
    if other is not axes:
        axes.tick_params(axis="y", labelsize=8, colors=RED)
        other.tick_params(axis="y", labelsize=8, colors=BLUE)
        other.spines[["top"]].set_visible(False)
    axes.spines[["top"] if other is not axes else ["top", "right"]].set_visible(False)


def markdown(found: Reproduction, picture: str | None, command: str) -> str:
    """The whole page.

    Args:
        found: the figures.
        picture: path of the bars, as seen from the page; None leaves them out.
        command: what printed this.
    """
    notes: list[str] = []  # reasons why a figure is missing, numbered over the page
    sizes = sorted({int(entry["parameters"]) for entry in found.finished})

    def findings(place: str) -> str:
        return "\n".join(f"- {sentence(verdict, found)}" for verdict in found.verdicts if verdict.claim.place == place)

    def paired(place: str, columns: Sequence[str], **named: str) -> str:
        """A table with the paper's figure to the right of every one of ours; `named` are rows that are not called as the experiment."""
        headings = [title for column in columns for title in (_heading(found, column), f"paper's {_PAPERS[column]}")]
        rows = {name: named.get(name) or EXPERIMENTS[name].title for name in PUBLISHED[place]}
        if place == "Table 2" and CEILING in found.scores:
            rows[CEILING] = CEILING
        table = [["", *headings]]
        for name, title in rows.items():
            theirs = PUBLISHED[place].get(name, {})
            pairs = [(_cell(found, name, column, notes), str(theirs.get(column, "–"))) for column in columns]
            table.append([title, *(cell for pair in pairs for cell in pair)])
        return aligned_table(table)

    def quoted() -> str:
        columns = (FRECHET, CLAP, SIMILARITY_CLF, SIMILARITY, ACCURACY)
        table = [["", *(_heading(found, column) for column in columns)]]
        for name in (*PUBLISHED["Table 1"], TEXT_ONLY):
            table.append([f"ours, {EXPERIMENTS[name].title}", *(_cell(found, name, column, notes) for column in columns)])
        for name, row in QUOTED.items():
            figures = [f"{row[column] / (100 if column == ACCURACY else 1):.3g}" if column in row else "–" for column in columns]
            table.append([f"paper, {name}", *figures])
        return aligned_table(table)

    text = (
        templates()
        .get_template("studies/paper/page.md")
        .render(
            plan=plan,
            found=found,
            budget=found.budget,
            command=command,
            options=command.removeprefix("jasco reproduce").strip(),
            sizes=" to ".join(dict.fromkeys(f"{size / 1e6:.1f}" for size in (*sizes[:1], *sizes[-1:]))),
            minutes=sum(float(entry["cpu_seconds"]) for entry in found.finished) / 60,
            counted=_counted(found.verdicts),
            comparable=f"{COMPARABLE:.0%}",
            picture=picture,
            notes=notes,
            findings=findings,
            paired=paired,
            quoted=quoted,
        )
    )
    return re.sub(r"\n {2,}(?=\S)", " ", text) + "\n"


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


def _heading(found: Reproduction, column: str) -> str:
    return f"{titles(found.budget)[column]} {'↑' if HIGHER_IS_BETTER[column] else '↓'}"


def _cell(found: Reproduction, name: str, column: str, notes: list[str]) -> str:
    """Mean ± half the interval over clips, and the range over seeds where there are several."""
    if name not in found.scores:
        return "not run yet"
    scores, digits = found.scores[name], DECIMALS.get(column, 3)
    figure = scores.figure(column)
    if figure.missing is not None:
        return footnote(figure.missing, notes)
    text = f"{figure.mean:.{digits}f}" + ("" if math.isnan(figure.low) else f" ± {(figure.high - figure.low) / 2:.{digits}f}")
    if scores.seeds > 1:
        text += f" ({min(scores.by_seed(column)):.{digits}f}–{max(scores.by_seed(column)):.{digits}f})"
    return text


def _counted(verdicts: Sequence[Verdict]) -> str:
    said = []
    for finding, word in ((Finding.BETTER, "better"), (Finding.COMPARABLE, "comparable")):
        outcomes = Counter(verdict.outcome for verdict in verdicts if verdict.claim.finding is finding)
        counted = "; ".join(f"{outcome.value} {outcomes[outcome]}" for outcome in Outcome if outcomes[outcome])
        said.append(f'{sum(outcomes.values())} that say "{word}" ({counted})')
    return ", ".join(said)


def write_page(found: Reproduction, page: Path, picture: Path | None, command: str) -> str:
    """Write the page; return it."""
    text = markdown(found, picture.relative_to(page.parent).as_posix() if picture else None, command)
    write_text(page, text)
    return text
