"""Chords as people write them -> chord changes in seconds.

Kinds, told apart by what they hold (docs/inputs.md shows each):

- bars: `C | G7 | Am F`, `|: C | % :| x3`, `| C / G / |`. The chords of a bar share it evenly; `-`, `.` or `/` holds the chord before, `%`
  repeats the bar before, an empty bar holds. A new line begins a new bar too;
- a plain list: `C G Am F`, `Em-C-G-D`, `Am, F, C, G`, `(C G) x2`: one chord a bar, unless holds in a row (`C / / /`) or numbers (`C 4 G 4`)
  say beats; a comma without a space splits a bar where others stand apart (`C G,G:7 E:min`, MusiConGen's form);
- sheets: labels, lyrics and directives between such lines, chords over lyrics or in brackets in them (ChordPro), text of iReal Pro;
- times: `(C, 0.0), (D, 2.0)`, `C@0 D@1:30`, `0:00 C 0:02 G`;
- degrees of a key: `I V vi IV in G`, `1 5 6- 4`;
- files of these, and `.lab`, `.csv`, `.jams`, `.musicxml`.

With a tempo, bars and lists are played from the start and repeated until the duration ends. Without one they are spread evenly over the
duration, once. Chords in any spelling that `parse_chord` reads, with English, German or Romance names.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from jasco_pl.notation.beats import read_meter, read_tempo
from jasco_pl.notation.chord_symbol import parse_chord
from jasco_pl.notation.chords.files import names_a_file, read_file, read_text
from jasco_pl.notation.chords.numerals import named_key
from jasco_pl.notation.chords.score import MOST_CHORDS, Bar, Score, Symbol, Timed
from jasco_pl.notation.chords.spelling import Spelling
from jasco_pl.system.errors import UserError

__all__ = ["ChordChange", "ReadChords", "parse_chord", "read_chords"]

_MOST_SIGNS = 1 << 20  # of a line
_METER = "4/4"


@dataclass(frozen=True)
class ChordChange:
    """From `start` (seconds) on, `label` (of the vocabulary) holds; `written` is what the user wrote, `note` a remark on reading it."""

    label: str
    start: float
    written: str = ""
    note: str | None = None


@dataclass
class ReadChords:
    """Chords that were read.

    Attributes:
        changes: in order, the first at 0.0 (N where nothing is written there).
        notes: remarks for the user on how they were read, those of single chords among them.
    """

    changes: list[ChordChange]
    notes: list[str] = field(default_factory=list)


def read_chords(
    text: str | os.PathLike[str],
    bpm: float | None = None,
    meter: str = _METER,
    duration: float = 10.0,
    key: str | None = None,
    *,
    files: bool = True,
) -> ReadChords:
    """Read chords of any of the kinds above.

    Args:
        text: the chords, or a path to a file of them.
        bpm: tempo, 20 to 400; quarter notes a minute, dotted quarters where the meter has eighths in threes (6/8, 9/8, 12/8). Kinds with
            times do not need it; some files say their own, which holds where none is given.
        meter: beats in a bar over the beat's note value, such as `4/4`, `3/4`, `6/8`; a file's own holds where this is 4/4.
        duration: seconds to fill; changes at or after it are left out.
        key: for degrees, such as `G` or `A minor`.
        files: whether a text may be the name of a file.

    Raises:
        UserError: nothing to read, a chord that is not understood or can be read in two ways (with its place), bad times, tempo, meter or
            key, a file that cannot be read, more than is read.
    """
    if not (math.isfinite(duration) and duration > 0):
        raise UserError(f"the duration must be a positive number of seconds, not {duration}.")
    if bpm is not None:
        read_tempo(bpm)
    read_meter(meter)
    asked_key = None if key is None else named_key(key)
    if isinstance(text, os.PathLike) or (files and names_a_file(text)):
        source = read_file(text, meter)
    elif not text.strip():
        raise UserError("the chord line is empty; write for example `C G Am F`, `C | G7 | Am F` or `C@0 F@2.5`.")
    elif len(text) > _MOST_SIGNS:
        raise UserError(f"the chord line is {len(text):,} characters long, where {_MOST_SIGNS:,} are the most that is read.")
    else:
        source = read_text(text, None, meter)
    if isinstance(source, Timed) and not source.symbols:
        raise UserError(f"the chord line {str(text).strip()[:40]!r} holds no chord; write for example `C G Am F` or `C@0 F@2.5`.")
    told_key = asked_key or (named_key(source.key) if isinstance(source, Score) and source.key else None)
    symbols = source.symbols if isinstance(source, Timed) else [pair for bar in source.bars for pair in bar.symbols]
    spelling = Spelling([symbol for symbol, _ in symbols], told_key)
    notes = [*source.notes, *spelling.notes]
    if isinstance(source, Timed):
        changes = _cut(source.symbols, spelling, duration, notes)
        if bpm is not None:
            notes.append(f"the chords stand at times of their own, which {bpm:g} bpm do not move")
        elif meter != _METER:
            notes.append(f"the chords stand at times of their own, which the meter {meter} does not move")
    else:
        changes = _play(source, spelling, bpm, meter, duration, notes)
    if asked_key is not None and not spelling.needs_key:
        notes.append(f"the key {asked_key.written} is not needed: the chords have names")
    return ReadChords(changes, list(dict.fromkeys([*notes, *(change.note for change in changes if change.note)])))


def _play(score: Score, spelling: Spelling, bpm: float | None, meter: str, duration: float, notes: list[str]) -> list[ChordChange]:
    """Place bars in seconds, repeated until the duration ends where there is a tempo."""
    if bpm is None and score.bpm is not None:
        bpm = read_tempo(score.bpm)
        notes.append(f"the tempo of {bpm:g} bpm is the one written with the chords")
    if score.meter is not None and meter == _METER and score.meter != meter:
        meter = score.meter
        notes.append(f"the meter {meter} is the one written with the chords")
    elif meter != _METER and bpm is None:
        notes.append(f"the meter {meter} counts with a tempo alone (bpm): without one the bars are spread evenly over the clip")
    length = sum(bar.length for bar in score.bars)
    quarters, beat = read_meter(meter)
    seconds = duration / length if bpm is None else quarters / beat * 60 / bpm
    for bar in score.bars:  # what is wrong with any of them is said, though it may not be reached
        for symbol, _ in bar.symbols:
            spelling.read(symbol)
    changes: list[ChordChange] = []
    for symbol, start in _endless(score.bars):
        if start * seconds >= duration - 1e-9:
            break
        if len(changes) >= MOST_CHORDS:
            raise UserError(f"the chords change more than {MOST_CHORDS:,} times in {duration:g} seconds, which is the most that is read.")
        label, note = spelling.read(symbol)
        changes.append(ChordChange(label, start * seconds, symbol.text, note))
    return _from_zero(changes)


def _endless(bars: Sequence[Bar]) -> Iterator[tuple[Symbol, float]]:
    """Symbols with their start in bars, over and over."""
    length = sum(bar.length for bar in bars)
    for turn in itertools.count():
        start = turn * length
        for bar in bars:
            for symbol, share in bar.symbols:
                yield symbol, start + share * bar.length
            start += bar.length


def _cut(symbols: Sequence[tuple[Symbol, float]], spelling: Spelling, duration: float, notes: list[str]) -> list[ChordChange]:
    changes = [ChordChange(label, start, symbol.text, note) for symbol, start in symbols for label, note in (spelling.read(symbol),)]
    kept = [change for change in changes if change.start < duration]
    if not kept:
        raise UserError(f"every chord starts after the end of the piece ({duration:g} s); the first is at {changes[0].start:g} s.")
    if beyond := [change for change in changes if change.start >= duration and change.label != "N"]:  # N is how many files end
        more = f" and {len(beyond) - 1} more" if len(beyond) > 1 else ""
        notes.append(f"left out beyond the clip's end: {beyond[0].written}@{beyond[0].start:g}{more}")
    return _from_zero(kept)


def _from_zero(changes: list[ChordChange]) -> list[ChordChange]:
    if changes and changes[0].start == 0:
        return changes
    return [ChordChange("N", 0.0), *changes]
