"""Chord lines as people write them -> chord changes in seconds.

Forms, told apart by what they hold:

- a path that ends in `.lab` or `.txt`: lines `start end label` (Harte), `start label` or Chordino's `start,"label"`; a text file without
  times is read as one of the forms below;
- times: `(C, 0.0), (D, 2.0)`, also with quotes and brackets as in Python, or `C@0 D@2.5`;
- bars: `C | G7 | Am F`, `| C | % | G - - D |`. The chords of a bar share it evenly; `-`, `.` or `/` holds the chord before, `%` repeats
  the bar before, an empty bar holds. A new line begins a new bar too;
- a plain list: `C G Am F`, one chord a bar; a comma without a space splits a bar (`C G,G:7 E:min`, MusiConGen's form), a comma with one,
  a semicolon or a lone dash only separates.

With a tempo, bars and lists are played from the start and repeated until the duration ends. Without one they are spread evenly over the
duration, once. Chords in any spelling that `parse_chord` reads.

Chords as a `.lab` file in Harte's syntax (Harte et al. 2005): `start end label` a line, as annotation tools and mir_eval read them.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jasco_pl.notation import harmony
from jasco_pl.notation.beats import read_meter, read_tempo
from jasco_pl.notation.chord_symbol import parse_chord
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path

__all__ = ["ChordChange", "parse_chord", "parse_chords"]

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_PAIR = re.compile(rf"""\(\s*['"]?([^\s'",()]+(?:\([^()]*\))?[^\s'",()]*)['"]?\s*,\s*({_NUMBER})\s*s?\s*\)\s*[,;]?\s*""")
_OUTSIDE = r"(?![^()]*\))"  # not between parentheses, so that C7(b9,13) stays whole
_HOLDS = {"-", "–", "—", ".", "/"}
_REPEATS = {"%", "𝄎"}
_SEPARATORS = {"-", "–", "—", "->", "→"}


@dataclass(frozen=True)
class ChordChange:
    """From `start` (seconds) on, `label` (of the vocabulary) holds; `written` is what the user wrote, `note` a remark on reading it."""

    label: str
    start: float
    written: str = ""
    note: str | None = None


@dataclass(frozen=True)
class _Slot:
    """A chord at a place within the written line, measured in bars."""

    symbol: str
    bar: float
    where: str


def parse_chords(text: str | os.PathLike[str], bpm: float | None = None, meter: str = "4/4", duration: float = 10.0) -> list[ChordChange]:
    """Read a chord line in any of the forms above.

    Args:
        text: the line, or a path to a `.lab` or `.txt` file.
        bpm: tempo, 20 to 400; quarter notes a minute, dotted quarters where the meter has eighths in threes (6/8, 9/8, 12/8). Forms with
            times do not need it.
        meter: beats in a bar over the beat's note value, such as `4/4`, `3/4`, `6/8`.
        duration: seconds to fill; changes at or after it are left out.

    Returns:
        Changes in order, the first at 0.0 (N where nothing is written there).

    Raises:
        UserError: nothing to read, a chord that is not understood (with its place), bad times, tempo or meter, a file that cannot be read.
    """
    if not (math.isfinite(duration) and duration > 0):
        raise UserError(f"the duration must be a positive number of seconds, not {duration}.")
    if bpm is not None:
        bpm = read_tempo(bpm)
    bar_quarters, per_beat = read_meter(meter)
    if isinstance(text, os.PathLike) or (text.strip().lower().endswith((".lab", ".txt")) and "\n" not in text.strip()):
        content, path = _read_file(text), os.fspath(text).strip()
        timed = _read_lab(content, path, duration)
        if timed is not None:
            return _cut(timed, duration)
        text = content
    if not text.strip():
        raise UserError("the chord line is empty; write for example `C G Am F`, `C | G7 | Am F` or `C@0 F@2.5`.")
    if re.match(r"\s*\[?\s*\(", text):
        return _cut(_read_pairs(text), duration)
    if "@" in text:
        return _cut(_read_at(text), duration)
    slots, bars = _read_bars(text) if "|" in text else _read_list(text)
    seconds = duration / bars if bpm is None else bar_quarters / per_beat * 60 / bpm
    return _play(slots, bars, seconds, duration)


def _play(slots: Sequence[_Slot], bars: int, bar_seconds: float, duration: float) -> list[ChordChange]:
    """Repeat the written line until the duration ends."""
    chords = [(*parse_chord(slot.symbol, slot.where), slot) for slot in slots]
    changes = [
        ChordChange(label, start, slot.symbol, note)
        for turn in range(math.ceil(duration / (bars * bar_seconds) - 1e-9))
        for label, note, slot in chords
        if (start := (turn * bars + slot.bar) * bar_seconds) < duration - 1e-9
    ]
    return _from_zero(changes)


def _from_zero(changes: list[ChordChange]) -> list[ChordChange]:
    if changes and changes[0].start == 0:
        return changes
    return [ChordChange("N", 0.0), *changes]


def _cut(changes: list[ChordChange], duration: float) -> list[ChordChange]:
    kept = [change for change in changes if change.start < duration]
    if not kept:
        raise UserError(f"every chord starts after the end of the piece ({duration:g} s); the first is at {changes[0].start:g} s.")
    return _from_zero(kept)


def _tokens(text: str, separators: str) -> list[str]:
    return [token for token in re.split(rf"(?:{separators})+{_OUTSIDE}", text) if token]


def _spread(symbols: Sequence[str], bar: int, number: int) -> list[_Slot]:
    """Let the symbols share one bar; holds take their share and begin nothing. `number` counts the chords of the line before it."""
    slots = []
    for place, symbol in enumerate(symbols):
        if symbol not in _HOLDS:
            number += 1
            slots.append(_Slot(symbol, bar + place / len(symbols), f"chord {number} of the line, bar {bar + 1}"))
    return slots


def _read_list(text: str) -> tuple[list[_Slot], int]:
    slots: list[_Slot] = []
    bar = 0
    for token in _tokens(text, r"[\s;]|,(?=\s|$)|(?<=\s),"):
        if token in _SEPARATORS:
            continue
        symbols = _tokens(token, ",")
        slots += _spread(symbols, bar, len(slots))
        bar += bool(symbols)
    if not slots:
        raise UserError(f"the chord line {text.strip()[:40]!r} holds no chord; write for example `C G Am F`.")
    return slots, bar


def _read_bars(text: str) -> tuple[list[_Slot], int]:
    slots: list[_Slot] = []
    bar = 0
    before: list[str] | None = None
    for line in filter(None, (part.strip() for part in text.replace("||", "|").splitlines())):
        for cell in line.removeprefix("|").removesuffix("|").split("|"):
            symbols = _tokens(cell, r"[\s,;]")
            if len(symbols) == 1 and symbols[0] in _REPEATS:
                if before is None:
                    raise UserError("the first bar of the chord line is `%`, which repeats the bar before it: there is none.")
                symbols = before
            slots += _spread(symbols, bar, len(slots))
            before = symbols
            bar += 1
    if not slots:
        raise UserError(f"the chord line {text.strip()[:40]!r} holds bars without a chord; write for example `C | G7 | Am F`.")
    return slots, bar


def _read_pairs(text: str) -> list[ChordChange]:
    body = text.strip()
    if body.startswith("["):
        body = body.removeprefix("[").removesuffix("]").strip()
    found: list[tuple[str, float, str]] = []
    position = 0
    while position < len(body):
        pair = _PAIR.match(body, position)
        if pair is None:
            raise UserError(
                f"the chord line is not understood at {body[position : position + 30]!r}; "
                "pairs are written `(C, 0.0), (D, 2.0)` with times in seconds."
            )
        found.append((pair[1], float(pair[2]), f"pair {len(found) + 1}"))
        position = pair.end()
    return _changes_at(found)


def _read_at(text: str) -> list[ChordChange]:
    found: list[tuple[str, float, str]] = []
    for number, token in enumerate(_tokens(text, r"[\s,;]"), 1):
        symbol, _, time = token.rpartition("@")
        if not symbol or not re.fullmatch(rf"{_NUMBER}s?", time):
            raise UserError(f"chord {number}, {token[:40]!r}, has no time; with `@` every chord is written as `C@2.5`, in seconds.")
        found.append((symbol, float(time.removesuffix("s")), f"chord {number}"))
    return _changes_at(found)


def _changes_at(found: Sequence[tuple[str, float, str]]) -> list[ChordChange]:
    changes: list[ChordChange] = []
    for symbol, time, where in found:
        if time < 0:
            raise UserError(f"{where}, {symbol!r}, starts at {time:g} s; times count from 0.")
        if changes and time <= changes[-1].start:
            raise UserError(
                f"{where}, {symbol!r}, starts at {time:g} s, not after the one before it ({changes[-1].start:g} s); times must rise."
            )
        label, note = parse_chord(symbol, where)
        changes.append(ChordChange(label, abs(time), symbol, note))
    return changes


def _read_file(path: str | os.PathLike[str]) -> str:
    name = os.fspath(path).strip()
    try:
        return Path(name).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"chord file {name!r} does not exist.") from None
    except OSError as error:
        raise UserError(f"chord file {name!r} cannot be read: {error.strerror}.") from None
    except ValueError:  # not UTF-8, or a path that no system takes
        raise UserError(f"chord file {name!r} is not a text file.") from None


def _read_lab(content: str, path: str, duration: float) -> list[ChordChange] | None:
    """Timed lines of a file, or None when its first line has no time. Where a chord ends before the next begins, N."""
    found: list[tuple[str, float, str]] = []
    end = math.inf
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        fields = line.split() if len(line.split()) > 1 else next(csv.reader([line]))
        times, label = [field for field in fields[:-1] if re.fullmatch(_NUMBER, field)], fields[-1].strip("\"' ")
        where = f"line {number} of {path!r}"
        if not times or len(fields) > 3:
            if not found and not path.lower().endswith(".lab"):
                return None
            raise UserError(f"{where} is not understood; chord files have lines `start end label`, with times in seconds.")
        start = float(times[0])
        if found and start - end > 0.01:
            found.append(("N", end, where))
        found.append((label, start, where))
        end = float(times[1]) if len(times) > 1 else math.inf
        if end <= start:
            raise UserError(f"{where} ends at {end:g} s, not after its start at {start:g} s.")
    if not found:
        raise UserError(f"chord file {path!r} is empty.")
    if end < duration:
        found.append(("N", end, f"the end of {path!r}"))
    return _changes_at(found)


# By the kinds of `harmony.TYPES`.
_SHORTHAND = {
    "": "maj",
    "m": "min",
    "6": "maj6",
    "7": "7",
    "maj7": "maj7",
    "m7": "min7",
    "m6": "min6",
    "m7b5": "hdim7",
    "dim": "dim",
    "aug": "aug",
    "/3": "maj/3",
    "/5": "maj/5",
    "/b7": "maj/b7",
    "/9": "maj/9",
    "7/3": "7/3",
    "m7b5/b7": "hdim7/b7",
}


def harte(label: str) -> str:
    """A label of the vocabulary in Harte's syntax: `F#m7b5` is `F#:hdim7`, `C/E` is `C:maj/3`, `N` stays, `UNK` is `X`."""
    index = harmony.index(label)
    if index >= harmony.N:
        return "N" if index == harmony.N else "X"
    root, kind = divmod(index, len(harmony.TYPES))
    return f"{harmony.ROOTS[root]}:{_SHORTHAND[harmony.TYPES[kind]]}"


def write_lab(path: str | os.PathLike[str], changes: Sequence[tuple[str, float]], seconds: float) -> None:
    """Write chord changes (label of the vocabulary, start in seconds, rising) up to `seconds`; before the first there is none (`N`)."""
    given = [("N", 0.0), *((label, max(start, 0.0)) for label, start in changes if start < seconds)]
    ends = [start for _, start in given[1:]] + [seconds]
    merged: list[tuple[str, float, float]] = []
    for (label, start), end in zip(given, ends, strict=True):
        if end <= start:
            continue
        if merged and merged[-1][0] == label:
            start = merged.pop()[1]
        merged.append((label, start, end))
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{start:.6f} {end:.6f} {harte(label)}\n" for label, start, end in merged), encoding="utf-8")
