"""Figures with confidence intervals by resampling clips, and tables of them: Markdown to read, JSON to go on with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jasco_pl.system.files import write_json, write_text


def bootstrap_interval(
    values: ArrayLike, seed: int = 0, n: int = 2000, level: float = 0.95, statistic: Callable[..., Any] = np.mean
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron 1979), or of another statistic.

    Args:
        values: one figure a clip; NaN (undefined for that clip) is left out.
        seed: of the resampling, so that a report repeats exactly.
        n: how many resamples.
        level: share of the resampled means that lie inside.
        statistic: what is taken of every resample, a function of (array, axis=1) such as numpy's mean and median.

    Returns:
        (low, high); both NaN when no value is left, both the value when there is one.
    """
    kept = np.asarray(values, dtype=np.float64).reshape(-1)
    kept = kept[~np.isnan(kept)]
    if not kept.size:
        return math.nan, math.nan
    means = statistic(np.random.default_rng(seed).choice(kept, size=(n, kept.size), replace=True), axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Figure:
    """A mean over clips with its confidence interval, or the reason why there is none.

    One clip has no interval (NaN). Neither has what a whole set has, a distance for one, whose `clips` is the number of its samples.
    """

    mean: float
    low: float
    high: float
    clips: int
    missing: str | None = None

    @classmethod
    def of(cls, values: ArrayLike, seed: int = 0) -> Figure:
        """Mean and 95 % bootstrap interval, of two clips or more, of one figure a clip (NaN left out)."""
        kept = np.asarray(values, dtype=np.float64).reshape(-1)
        kept = kept[~np.isnan(kept)]
        if not kept.size:
            return cls.absent("no clip for which this is defined")
        interval = bootstrap_interval(kept, seed) if kept.size > 1 else (math.nan, math.nan)
        return cls(float(kept.mean()), *interval, clips=int(kept.size))

    @classmethod
    def absent(cls, why: str) -> Figure:
        """A figure that could not be computed; `why` becomes a footnote."""
        return cls(math.nan, math.nan, math.nan, 0, missing=why)


@dataclass(frozen=True)
class Column:
    """One metric: its key in `Row.figures`, its heading, how many decimals are meant, and an arrow's direction."""

    key: str
    title: str
    decimals: int = 3
    higher_is_better: bool | None = None


@dataclass(frozen=True)
class Row:
    """One condition: its name and its figures by column key."""

    name: str
    figures: dict[str, Figure] = field(default_factory=dict)


def markdown_table(rows: Sequence[Row], columns: Sequence[Column], *, first: str = "") -> str:
    """An aligned Markdown table; cells read `mean ± half the interval`, of one clip `mean`, or `distance (samples)`.

    Where there is none, `–` with a footnote.

    Args:
        rows: in the order wanted.
        columns: in the order wanted; a row without a column's key shows `–` without a note.
        first: heading of the first column.
    """
    notes: list[str] = []
    arrows = {True: " ↑", False: " ↓", None: ""}
    table = [[first, *(column.title + arrows[column.higher_is_better] for column in columns)]]
    table += [[row.name, *(_cell(row.figures.get(column.key), column.decimals, notes) for column in columns)] for row in rows]
    text = aligned_table(table)
    if notes:
        text += "\n" + "".join(f"[{number}] {note}  \n" for number, note in enumerate(notes, 1))
    return text


def aligned_table(table: Sequence[Sequence[str]]) -> str:
    """Cells, the heading's first, as an aligned Markdown table: the first column to the left, all others to the right."""
    table = [[cell.replace("|", "\\|") for cell in line] for line in table]
    widths = [max(3, *(len(line[number]) for line in table)) for number in range(len(table[0]))]

    def written(line: Sequence[str]) -> str:
        cells = [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        return "| " + " | ".join(cells) + " |"

    rule = "|:" + "-" * (widths[0] + 1) + "|" + "".join("-" * (width + 1) + ":|" for width in widths[1:])
    return "\n".join([written(table[0]), rule, *map(written, table[1:])]) + "\n"


def _cell(figure: Figure | None, decimals: int, notes: list[str]) -> str:
    if figure is None:
        return "–"
    if figure.missing is not None:
        return footnote(figure.missing, notes)
    if figure.clips == 1:  # its ends say nothing, which were written once
        return f"{figure.mean:.{decimals}f}"
    if math.isnan(figure.low):
        return f"{figure.mean:.{decimals}f} ({figure.clips})"
    return f"{figure.mean:.{decimals}f} ± {(figure.high - figure.low) / 2:.{decimals}f}"


def footnote(reason: str, notes: list[str]) -> str:
    """The cell of a figure that is missing; the reason joins `notes`, whose places are the numbers of the footnotes."""
    if reason not in notes:
        notes.append(reason)
    return f"– [{notes.index(reason) + 1}]"


def write_report(path: str | Path, text: str, data: Mapping[str, Any]) -> str:
    """Write the Markdown file `path` and, beside it with the ending `.json`, what goes on from it; return the Markdown.

    Raises:
        UserError: the files cannot be written.
    """
    write_text(path, text)
    write_json(Path(path).with_suffix(".json"), data)
    return text
