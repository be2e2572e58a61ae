"""What raters answered: CSV files of the page, checked against the key and put into arrays."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jasco_pl.errors import UserError
from jasco_pl.listen.study import Key

COLUMNS = ("rater", "version", "clip", "stimulus", "question", "score", "listened", "seconds", "timestamp")


@dataclass(frozen=True)
class Rating:
    """One answer: a score of 0..100, the share of the recording that was played, and when it was given (ISO 8601, UTC)."""

    rater: str
    clip: str
    system: str
    question: str
    score: float
    listened: float
    seconds: float
    timestamp: str


def read_ratings(paths: Iterable[str | Path], key: Key) -> list[Rating]:
    """All answers of the files, resolved by the key. Of an answer that occurs twice, as in a file downloaded again, the later counts.

    Raises:
        UserError: no file, an unreadable or damaged file, another test's file, unknown clips, stimuli or questions, no answer at all.
    """
    latest: dict[tuple[str, str, str, str], Rating] = {}
    for path in paths:
        for rating in _read(Path(path), key):
            cell = (rating.rater, rating.clip, rating.system, rating.question)
            if cell not in latest or latest[cell].timestamp <= rating.timestamp:
                latest[cell] = rating
    if not latest:
        raise UserError("the results hold no answer: give the CSV files that the page let its raters download, or that it sent.")
    return [latest[cell] for cell in sorted(latest)]


def _read(path: Path, key: Key) -> list[Rating]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"results {str(path)!r} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UserError(f"results {str(path)!r} are damaged: not UTF-8 text.") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    ratings, order = [], None
    try:
        for line in reader:
            if not line:
                continue
            if order is None or set(line) == set(COLUMNS):  # a heading in the middle: answers of several raters in one file
                if set(line) != set(COLUMNS):
                    raise UserError(f"results {str(path)!r} are damaged: the first line must name the columns {','.join(COLUMNS)}.")
                order = line
                continue
            if len(line) != len(order):
                raise UserError(f"results {str(path)!r} are damaged: line {reader.line_num} has {len(line)} fields, not {len(order)}.")
            ratings.append(_rating(dict(zip(order, line, strict=True)), f"{str(path)!r}, line {reader.line_num}", key))
    except csv.Error as error:
        raise UserError(f"results {str(path)!r} are damaged: line {reader.line_num}: {error}.") from None
    if order is None:
        raise UserError(f"results {str(path)!r} are empty.")
    return ratings


def _rating(row: dict[str, str], where: str, key: Key) -> Rating:
    if row["version"] != key.version:
        raise UserError(f"{where}: these are results of another test (version {row['version']!r}); this key belongs to {key.version!r}.")
    clip = key.clips.get(row["clip"])
    if clip is None or row["stimulus"] not in clip.stimuli:
        raise UserError(f"{where}: the key knows no stimulus {row['stimulus']!r} of a clip {row['clip']!r}.")
    if row["question"] not in key.questions:
        raise UserError(f"{where}: the test asks no question {row['question']!r}, only {', '.join(key.questions)}.")
    if not row["rater"]:
        raise UserError(f"{where}: the rater has no name.")
    return Rating(
        row["rater"],
        row["clip"],
        clip.stimuli[row["stimulus"]].system,
        row["question"],
        _number(row, "score", 100, where),
        _number(row, "listened", 1, where),
        _number(row, "seconds", math.inf, where),
        row["timestamp"],
    )


def _number(row: dict[str, str], name: str, most: float, where: str) -> float:
    try:
        value = float(row[name])
    except ValueError:
        value = math.nan
    if not 0 <= value <= most or math.isinf(value):
        upper = f" to {most:g}" if math.isfinite(most) else " or more"
        raise UserError(f"{where}: {name} is {row[name]!r}, where a number of 0{upper} is wanted.")
    return value


def raters_of(ratings: Sequence[Rating]) -> list[str]:
    """Names of the raters, sorted."""
    return sorted({rating.rater for rating in ratings})


def score_matrix(ratings: Sequence[Rating], raters: Sequence[str], columns: Sequence[tuple[str, ...]], by: Sequence[str]) -> np.ndarray:
    """Scores as an array [raters, columns], NaN where there is none.

    Args:
        ratings: those of other raters or columns are left out.
        raters: names, one a row.
        columns: values of the attributes `by`, one a column.
        by: names of attributes of `Rating` that tell columns apart; no two ratings of a rater may fall into one column.
    """
    row = {name: number for number, name in enumerate(raters)}
    column = {values: number for number, values in enumerate(columns)}
    scores = np.full((len(raters), len(columns)), np.nan)
    for rating in ratings:
        place = column.get(tuple(getattr(rating, name) for name in by))
        if rating.rater in row and place is not None:
            scores[row[rating.rater], place] = rating.score
    return scores
