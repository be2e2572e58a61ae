"""Confidence intervals by resampling clips.

Tables of figures: Markdown to read, JSON to go on with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jasco_pl.system.files import atomic_path, write_json


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

    What a whole set has, a distance for one, has no interval (NaN), and as `clips` the number of its samples.
    """

    mean: float
    low: float
    high: float
    clips: int
    missing: str | None = None

    @classmethod
    def of(cls, values: ArrayLike, seed: int = 0) -> Figure:
        """Mean and 95 % bootstrap interval of one figure a clip (NaN left out)."""
        kept = np.asarray(values, dtype=np.float64).reshape(-1)
        kept = kept[~np.isnan(kept)]
        if not kept.size:
            return cls.absent("no clip for which this is defined")
        return cls(float(kept.mean()), *bootstrap_interval(kept, seed), clips=int(kept.size))

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
    """An aligned Markdown table; cells read `mean ± half the interval` or `distance (samples)`; `–` with a footnote where there is none.

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
        if figure.missing not in notes:
            notes.append(figure.missing)
        return f"– [{notes.index(figure.missing) + 1}]"
    if math.isnan(figure.low):
        return f"{figure.mean:.{decimals}f} ({figure.clips})"
    return f"{figure.mean:.{decimals}f} ± {(figure.high - figure.low) / 2:.{decimals}f}"


def write_report(
    path: str | Path,
    rows: Sequence[Row],
    columns: Sequence[Column],
    *,
    title: str,
    about: str = "",
    settings: dict[str, Any] | None = None,
    first: str = "",
) -> str:
    """Write `path` (Markdown: title, about, table) and the same as JSON beside it; return the Markdown.

    Args:
        path: the Markdown file, usually `*.md`; the JSON gets the same name with `.json`.
        rows: as for `markdown_table`.
        columns: as for `markdown_table`.
        title: the heading.
        about: paragraphs between heading and table: what was measured, on what, how many clips.
        settings: everything needed to repeat the run, kept in the JSON.
        first: heading of the first column.

    Raises:
        UserError: the files cannot be written.
    """
    text = f"# {title}\n\n" + (about.strip() + "\n\n" if about else "") + markdown_table(rows, columns, first=first)
    data = {
        "title": title,
        "settings": settings or {},
        "columns": [{"key": column.key, "title": column.title, "higher_is_better": column.higher_is_better} for column in columns],
        "rows": [{"name": row.name, "figures": {key: _plain(figure) for key, figure in row.figures.items()}} for row in rows],
    }
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_json(Path(path).with_suffix(".json"), data)
    return text


def _plain(figure: Figure) -> dict[str, Any]:
    """A figure as JSON, which has no NaN."""
    if figure.missing is not None:
        return {"missing": figure.missing}
    interval = {} if math.isnan(figure.low) else {"low": figure.low, "high": figure.high}
    return {"mean": figure.mean, **interval, "clips": figure.clips}
