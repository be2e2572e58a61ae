"""What a listening test is: its questions, its clips, and the key that says which stimulus is whose.

What raters answered: CSV files of the page, checked against the key and put into arrays.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jasco_pl.system.errors import UserError
from jasco_pl.system.files import loads, write_json

REFERENCE, ANCHOR = "reference", "anchor"
FINISHED = 0.95  # share of a recording from which on it counts as heard to the end: players are coarse about the last moments
_EXCELLENCE = ("bad", "poor", "fair", "good", "excellent")  # ITU-R BS.1534, the five ranges of its scale
_MATCH = ("not at all", "a little", "partly", "mostly", "fully")


@dataclass(frozen=True)
class Question:
    """One scale from 0 to 100, with the names of its five ranges.

    `by_definition`: the reference recording is the top of this scale, so that a rater who listens rates it so. A recording need not
    match its own caption, so this does not hold for the text.
    """

    key: str
    title: str
    ask: str
    labels: tuple[str, ...]
    by_definition: bool = True
    beside: bool = False  # the reference recording is played beside


QUESTIONS = {
    question.key: question
    for question in (
        Question("quality", "Quality", "how good does it sound, as a piece of music and as a recording?", _EXCELLENCE),
        Question("text", "Match with the description", "how well does the music fit the description?", _MATCH, by_definition=False),
        Question("melody", "Match with the melody", "how well does it follow the melody of the reference recording?", _MATCH, beside=True),
        Question("rhythm", "Match with the rhythm", "how well does it follow the rhythm of the reference recording?", _MATCH, beside=True),
    )
}


@dataclass(frozen=True)
class Stimulus:
    """One recording of the test: whose it is, what it was made from, its loudness in LUFS (None: too short or silent)."""

    system: str
    source: str
    loudness: float | None


@dataclass(frozen=True)
class Clip:
    """One piece in all its versions; the name is the stem of the files."""

    name: str
    caption: str | None
    seconds: float
    stimuli: dict[str, Stimulus]


@dataclass(frozen=True)
class Key:
    """What the raters must not see. Written beside the page, never into its folder."""

    version: str
    seed: int
    questions: tuple[str, ...]
    systems: tuple[str, ...]
    clips: dict[str, Clip]

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> Key:
        """Read what `save` wrote.

        Raises:
            UserError: no such file, or no key of a listening test.
        """
        try:
            data: dict[str, Any] = loads(Path(path).read_bytes())
            clips = {
                number: Clip(**{**clip, "stimuli": {name: Stimulus(**stimulus) for name, stimulus in clip["stimuli"].items()}})
                for number, clip in data["clips"].items()
            }
            key = cls(data["version"], data["seed"], tuple(data["questions"]), tuple(data["systems"]), clips)
        except OSError as error:
            raise UserError(f"the key {str(path)!r} cannot be read: {error.strerror}.") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(
                f"{str(path)!r} is no key of a listening test; wanted is the key.json that `jasco listen build` wrote."
            ) from None
        unknown = set(key.questions) - set(QUESTIONS)
        if unknown:
            raise UserError(
                f"the key {str(path)!r} asks unknown questions ({', '.join(sorted(unknown))}); known are {', '.join(QUESTIONS)}."
            )
        return key


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
