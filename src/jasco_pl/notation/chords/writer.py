"""What reading the lines of a text leaves behind: bars and marks, counted, with the place of everything in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jasco_pl.notation.chords.score import MOST_CHORDS, Bar, Mark, Symbol
from jasco_pl.notation.chords.tokens import Token
from jasco_pl.system.errors import UserError


@dataclass
class Writer:
    """Takes down bars and marks.

    Args:
        beats: of a bar.
        lines: of the text; places name the line where there are several.

    Attributes:
        elements: what was taken down.
        notes: remarks on reading it.
        bars: how many of the elements are bars.
    """

    beats: int
    lines: int = 1
    elements: list[Bar | Mark] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    bars: int = 0
    _chords: int = 0
    _line: int = 1
    _before: list[Bar] = field(default_factory=list)

    def begin_line(self, number: int) -> None:
        """From here on places are in that line."""
        self._line = number
        if self.lines > 1:
            self._chords = 0
        self.mark("line")

    def place(self, token: Token) -> str:
        """Where a token stands."""
        return f"line {self._line}, character {token.column}" if self.lines > 1 else f"character {token.column}"

    def symbol(self, token: Token) -> Symbol:
        """The next chord of the line."""
        self._chords += 1
        where = f"chord {self._chords} of the line, bar {self.bars + 1}, character {token.column}"
        return Symbol(token.text, f"line {self._line}, {where}" if self.lines > 1 else where)

    def add(self, bar: Bar) -> None:
        """Take down one more bar.

        Raises:
            UserError: there are too many.
        """
        if len(self.elements) > MOST_CHORDS:
            raise UserError(f"the chord line is longer than {MOST_CHORDS:,} bars, which is the most that is read.")
        self.bars += 1
        self.elements.append(bar)
        self._before = [*self._before[-1:], bar]

    def mark(self, kind: str, times: int = 1, token: Token | None = None) -> None:
        """Take down how what stands around is repeated."""
        self.elements.append(Mark(kind, times, "" if token is None else self.place(token)))  # type: ignore[arg-type]

    def last_again(self, token: Token) -> None:
        """Repeat the bar that was taken down last, as often as a token of times says."""
        bar = self.elements.pop()
        self.mark("open", 1, token)
        self.elements.append(bar)
        self.mark("close", self.times(token), token)

    def same_again(self, token: Token) -> None:
        """`%`: the bar before, or the two."""
        if not self._before:
            raise UserError("the first bar of the chord line is `%`, which repeats the bar before it: there is none.")
        for bar in self._before[-int(token.number) :]:
            self.add(bar)

    def times(self, token: Token, most: int = MOST_CHORDS) -> int:
        """A number of times.

        Raises:
            UserError: it is none, or too large.
        """
        if not 1 <= token.number <= most:
            raise self.refuse(token, f"a number of times from 1 to {most:,}")
        return int(token.number)

    def times_behind(self, tokens: Sequence[Token], place: int) -> tuple[int, int]:
        """How often what ends at a place is played: as the next token says, else twice for `:|` and once for `)`; the place behind."""
        if place + 1 < len(tokens) and tokens[place + 1].kind == "times":
            return self.times(tokens[place + 1]), place + 2
        return (1 if tokens[place].kind == "close" else 2), place + 1

    def refuse(self, token: Token, expected: str) -> UserError:
        """The sentence for a token that stands where something else was expected."""
        return UserError(f"{token.text[:40]!r} at {self.place(token)} of the chord line is not understood there; expected was {expected}.")
