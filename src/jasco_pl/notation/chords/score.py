"""What every kind of line and file comes down to: symbols in bars, or symbols at times."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from jasco_pl.system.errors import UserError

MOST_CHORDS = 200_000  # that a line may come to when its repeats are written out


@dataclass(frozen=True)
class Symbol:
    """A chord as written, and its place in words."""

    text: str
    where: str


@dataclass(frozen=True)
class Bar:
    """One bar of the line: symbols with the share of a bar at which each begins, and how many bars it lasts (4 beats of 3/4 are 1.33)."""

    symbols: tuple[tuple[Symbol, float], ...]
    length: float = 1.0


@dataclass(frozen=True)
class Mark:
    """What says how bars are repeated.

    Attributes:
        kind: `open` and `close` are a group, `start` and `end` a repeat (`|:`, `:|`), `ending` begins one of its endings, `section` begins
            what a `:|` without `|:` repeats, `line` begins a line and `again` repeats it.
        times: how often what `close`, `end` or `again` ends is played in all; of an ending, for how many turns it is.
        where: its place in words.
    """

    kind: Literal["open", "close", "start", "end", "ending", "section", "line", "again"]
    times: int = 1
    where: str = ""


@dataclass
class Score:
    """Bars in the order in which they are played, with what the source says of tempo, meter and key, and remarks on reading it."""

    bars: list[Bar]
    bpm: float | None = None
    meter: str | None = None
    key: str | None = None
    notes: list[str] = field(default_factory=list)


@dataclass
class Timed:
    """Symbols with their start in seconds, rising, and remarks on reading them."""

    symbols: list[tuple[Symbol, float]]
    notes: list[str] = field(default_factory=list)


@dataclass
class _Open:
    """A group or repeat that is not finished: where it begins among the bars, and what its endings need."""

    kind: str
    first: int
    where: str
    body: list[Bar] | None = None  # of a repeat whose first ending has been played
    ending: int | None = None  # where the ending begins that is being read
    turns: int = 1  # how many times it is played


def unfold(elements: list[Bar | Mark]) -> list[Bar]:
    """Write repeats out.

    Raises:
        UserError: a group or a repeat is not closed, or not opened; the result is too long.
    """
    bars: list[Bar] = []
    stack: list[_Open] = []
    last = line = 0  # where a repeat begins that nothing opens: behind the one before it; where the line begins
    for element in elements:
        if isinstance(element, Bar):
            bars.append(element)
        elif element.kind in ("open", "start"):
            stack.append(_Open(element.kind, len(bars), element.where))
        elif element.kind == "line":
            line = len(bars)
        elif element.kind == "section":
            last = len(bars)
        elif element.kind == "again":
            first = max([line, *(one.first for one in stack[-1:])])
            _extend(bars, bars[first:], element.times - 1)
        elif element.kind == "close":
            if not stack or stack[-1].kind != "open":
                raise UserError(f"the bracket that closes at {element.where} was never opened; a group is written (C G) x2.")
            _extend(bars, bars[stack.pop().first :], element.times - 1)
        elif element.kind == "ending":
            if not stack or stack[-1].kind != "start":
                stack.append(_Open("start", max([last, *(one.first for one in stack[-1:])]), element.where))
            stack[-1].ending, stack[-1].turns = len(bars), element.times
        else:
            if not stack or stack[-1].kind != "start":
                stack.append(_Open("start", max([last, *(one.first for one in stack[-1:])]), element.where))
            last = _end(bars, stack, element.times)
    for one in stack:
        if one.kind == "open":
            raise UserError(f"the bracket that opens at {one.where} is never closed; a group is written (C G) x2.")
        if one.body is None:
            raise UserError(f"the repeat that begins at {one.where} is never closed; it is written |: C | G :|.")
    return bars


def _end(bars: list[Bar], stack: list[_Open], times: int) -> int:
    """Play the innermost repeat at its `:|`; one with endings stays open for those that follow. Returns where the next one may begin."""
    one = stack[-1]
    if one.ending is None:
        stack.pop()
        _extend(bars, bars[one.first :], times - 1)
        return len(bars)
    if one.body is None:
        one.body = bars[one.first : one.ending]
        turn = bars[one.first :]
        _extend(bars, turn, one.turns - 1)
    else:
        turn = [*one.body, *bars[one.ending :]]
        _extend(bars, turn, one.turns - 1)
    _extend(bars, one.body, 1)
    one.ending, one.turns = None, 1
    return len(bars)


def _extend(bars: list[Bar], more: list[Bar], times: int) -> None:
    if len(bars) + len(more) * max(times, 0) > MOST_CHORDS:
        raise UserError(f"with its repeats written out the chord line is longer than {MOST_CHORDS:,} bars, which is the most that is read.")
    for _ in range(times):
        bars.extend(more)
