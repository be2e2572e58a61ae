"""Tables of chords in time: `.lab` (`start end label`, Harte et al. 2005), label tracks, and the CSV of Chordino and its hosts."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from jasco_pl.notation.chords.names import named_by_words
from jasco_pl.notation.chords.score import Symbol, Timed
from jasco_pl.notation.chords.spelling import languages
from jasco_pl.notation.chords.times import NUMBER, rising
from jasco_pl.system.errors import UserError

_NUMBER = re.compile(rf"(?:{NUMBER}|\d+,\d+)")
_NOTHING = ("silence", "none", "no chord", "no-chord", "nochord", "noise", "pause", "end")
_HTK = 1e7  # its times are whole numbers of 100 ns
_LONGEST_LINE = 10_000
_LONGEST = 36_000  # seconds of music that a table is believed


class _Row(NamedTuple):
    start: float
    second: float | None  # end or duration
    label: str
    where: str


def read_table(content: str, name: str, must: bool) -> Timed | None:
    """Read lines with times.

    Args:
        content: of the file, in plain signs.
        name: of the file, for places.
        must: whether it has to be such a table; otherwise None says that it is none.

    Raises:
        UserError: a line that is none, times that do not rise, a chord that ends before it begins.
    """
    rows: list[_Row] = []
    header = ""
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith(("#", "%", "//")):
            continue
        where = f"line {number} of {name!r}"
        row = _row(line, where)
        if row is not None and not must and not languages(row.label) and row.label.lower() not in _NOTHING:
            row = None
        if row is None:
            if not rows and not header and ((must and "," in line) or ";" in line or "\t" in line):
                header = line.lower()
                continue
            if not must and not rows:
                return None
            raise UserError(f"{where} is not understood; chord files have lines `start end label`, with times in seconds.")
        rows.append(row)
    if not rows:
        if not must:
            return None
        raise UserError(f"chord file {name!r} is empty." if not header else f"line 1 of {name!r} is not understood; it holds no times.")
    return _segments(rows, name, "dur" in header)


def _row(line: str, where: str) -> _Row | None:
    if len(line) > _LONGEST_LINE:
        return None
    fields = line.split()
    if len(fields) < 2 or not _NUMBER.fullmatch(fields[0]):
        delimiter = next((mark for mark in ("\t", ";", ",") if mark in line), ",")
        fields = [field.strip() for field in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]
        while len(fields) > 2 and _NUMBER.fullmatch(fields[-1]):
            fields.pop()  # how sure the recogniser was
        if len(fields) > 2 and not _NUMBER.fullmatch(fields[0]) and _NUMBER.fullmatch(fields[1]):
            fields = fields[1:]  # the recording's name, which Sonic Annotator writes once
    times: list[float] = []
    while len(times) < 2 and len(fields) > 1 and _NUMBER.fullmatch(fields[0]):
        times.append(float(fields.pop(0).replace(",", ".")))
    label = named_by_words(" ".join(field for field in fields if field).strip("\"' "))
    if not times or not label or (_NUMBER.fullmatch(label) and len(times) == 2):
        return None
    return _Row(times[0], times[1] if len(times) > 1 else None, label, where)


def _segments(rows: Sequence[_Row], name: str, durations: bool) -> Timed:
    notes: list[str] = []
    latest = max(max(row.start, row.second or 0.0) for row in rows)
    if latest > _LONGEST and all(value == int(value) for row in rows for value in (row.start, row.second or 0.0)):
        rows = [row._replace(start=row.start / _HTK, second=None if row.second is None else row.second / _HTK) for row in rows]
        notes.append(f"the times in {name!r} are read in units of 100 ns, as HTK writes them")
    pairs = list(itertools.pairwise(rows))
    ends = sum(row.second is not None and abs(row.second - after.start) < 0.01 for row, after in pairs)
    lasting = sum(row.second is not None and abs(row.start + row.second - after.start) < 0.01 for row, after in pairs)
    if durations or lasting > ends:
        rows = [row._replace(second=None if row.second is None else row.start + row.second) for row in rows]
    found: list[tuple[Symbol, float]] = []
    end: float | None = None
    skipped = []
    for place, row in enumerate(rows):
        if row.second is not None and row.second < row.start:
            raise UserError(f"{row.where} ends at {row.second:g} s, not after its start at {row.start:g} s.")
        instant = row.second == row.start if row.second is not None else place + 1 < len(rows) and rows[place + 1].start == row.start
        if instant:
            skipped.append(row)
            continue
        if found and end is not None and row.start - end > 0.01:
            found.append((Symbol("N", row.where), end))
        text = "N" if row.label.lower() in _NOTHING else row.label
        found.append((Symbol(text, row.where), row.start))
        end = row.second
    if not found:
        raise UserError(f"chord file {name!r} holds only chords of no length.")
    if end is not None:
        found.append((Symbol("N", f"the end of {name!r}"), end))
    if skipped:
        many = "a chord" if len(skipped) == 1 else f"{len(skipped)} chords"
        notes.append(f"{many} of no length left out ({skipped[0].label!r}, {skipped[0].where})")
    return Timed(rising(found), notes)
