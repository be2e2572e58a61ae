"""A line with bar lines: what stands between two of them is a bar, which its chords and holds share."""

from __future__ import annotations

from collections.abc import Sequence

from jasco_pl.notation.chords.score import MOST_CHORDS, Bar
from jasco_pl.notation.chords.tokens import BARS, Token
from jasco_pl.notation.chords.writer import Writer
from jasco_pl.system.errors import UserError

_DEEPEST = 20
_MOST_SHARES = 1000


def read_bars(writer: Writer, tokens: Sequence[Token]) -> None:
    """Take down a line.

    Raises:
        UserError: a token where something else was expected, or too many chords.
    """
    spans = _spanning(tokens)
    cell: list[Token] = []
    opened: Token | None = None  # the bar line before the cell
    place = 0
    while place < len(tokens):
        token, behind = tokens[place], place + 1
        if token.kind in BARS:
            _flush(writer, cell, opened, token)
            if token.kind in ("end", "both"):
                times, behind = writer.times_behind(tokens, place)
                writer.mark("end", times, token)
            if token.kind in ("start", "both"):
                writer.mark("start", 1, token)
            cell, opened = [], token
        elif token.kind == "ending" or place in spans:
            if token.kind == "open" and cell:
                raise writer.refuse(token, "a bracket that closes in the same bar, or opens at a bar line")
            _flush(writer, cell, None, None)
            times = int(token.number)
            if token.kind == "close":
                times, behind = writer.times_behind(tokens, place)
            writer.mark(token.kind, times, token)
            cell, opened = [], None
        else:
            cell.append(token)
        place = behind
    _flush(writer, cell, None, None)


def _spanning(tokens: Sequence[Token]) -> set[int]:
    """Places of brackets with a bar line between them, or without a partner in the line."""
    spans: set[int] = set()
    stack: list[tuple[int, int]] = []
    lines = 0
    for place, token in enumerate(tokens):
        lines += token.kind in BARS
        if token.kind == "open":
            stack.append((place, lines))
        elif token.kind == "close":
            opened, before = stack.pop() if stack else (place, -1)
            if before != lines:
                spans |= {opened, place}
    return spans | {place for place, _ in stack}


def _flush(writer: Writer, cell: list[Token], opened: Token | None, closed: Token | None) -> None:
    """Take down what stands between two bar lines."""
    cell = [token for token in cell if token.kind not in ("separator", "comma")]
    if not cell:
        plain = opened is not None and closed is not None and opened.kind == closed.kind == "bar"
        if plain and opened and closed and closed.column > opened.column + len(opened.text):
            writer.add(Bar(()))  # an empty bar holds
        return
    *inside, last = cell
    if last.kind != "times":
        _add(writer, cell)
    elif not inside or closed is None:  # `| C | G | x2`: the line again
        if inside:
            _add(writer, inside)
        writer.mark("again", writer.times(last))
    else:  # `| C x2 |`: the bar again
        _add(writer, inside)
        writer.last_again(last)


def _add(writer: Writer, cell: list[Token]) -> None:
    """Take down one bar."""
    if all(token.kind == "percent" for token in cell):
        writer.same_again(cell[0])
        return
    if len(cell) == 2 and cell[0].kind == "symbol" and cell[1].text in ("6", "7", "9", "11", "13") and cell[1].number > writer.beats:
        cell = [cell[0]._replace(text=cell[0].text + cell[1].text)]  # `| G 7 |`: alone in its bar, where no beats need to be told
    shares = _strokes(_shares(writer, cell, 0), writer.beats)
    total = sum(weight for _, weight in shares)
    begin, symbols = 0.0, []
    for token, weight in shares:
        if token is not None:
            symbols.append((writer.symbol(token), begin / total))
        begin += weight
    if any(token.kind in ("hold", "number") for token in cell) and len(symbols) > 1 and total > 2 and writer.beats % total:
        writer.notes.append(f"bar {writer.bars + 1} has {total:g} places where the meter has {writer.beats} beats: they share it evenly")
    writer.add(Bar(tuple(symbols)))


def _strokes(shares: list[tuple[Token | None, float]], beats: int) -> list[tuple[Token | None, float]]:
    """`C /// G /`: where strokes alone make up the bar, each is a beat and the name of a chord is none."""
    names = {place for place, (token, _) in enumerate(shares) if token is not None}
    held = all(place + 1 < len(shares) and place + 1 not in names for place in names)
    if not names or not held or len(shares) == beats or len(shares) - len(names) != beats:
        return shares
    moved = [(shares[place - 1] if place - 1 in names else share) for place, share in enumerate(shares)]
    return [share for place, share in enumerate(moved) if place not in names]


def _shares(writer: Writer, cell: list[Token], depth: int) -> list[tuple[Token | None, float]]:
    """Symbols of a bar, None for what holds, with how much of it each takes."""
    shares: list[tuple[Token | None, float]] = []
    place = 0
    while place < len(cell):
        token = cell[place]
        place += 1
        if token.kind == "symbol":
            shares.append((token, 1.0))
        elif token.kind in ("hold", "percent"):
            shares += [(None, 1.0)] * min(int(token.number) if token.kind == "hold" else 1, _MOST_SHARES)
        elif token.kind == "number" and shares and cell[place - 2].kind == "symbol" and 0 < token.number <= _MOST_SHARES:
            shares[-1] = (shares[-1][0], token.number)
        elif token.kind == "times" and shares:
            shares += shares[-1:] * (writer.times(token, _MOST_SHARES) - 1)
        elif token.kind == "open" and depth < _DEEPEST:
            closing = _closing(cell, place)
            times, behind = writer.times_behind(cell, closing)
            inner = _shares(writer, cell[place:closing], depth + 1)
            if len(inner) * times > _MOST_SHARES:
                raise writer.refuse(token, f"no more than {_MOST_SHARES:,} chords in a bar")
            shares += inner * times
            place = behind
        else:
            raise writer.refuse(token, "a chord, or `/` to hold the one before")
        if len(shares) > MOST_CHORDS:
            raise UserError(f"a bar of the chord line holds more than {MOST_CHORDS:,} chords, which is the most that is read.")
    return shares


def _closing(cell: list[Token], place: int) -> int:
    """Of the bracket that stands before a place; it is in the cell, as those that are not have been taken out."""
    depth = 1
    while depth:
        depth += {"open": 1, "close": -1}.get(cell[place].kind, 0)
        place += 1
    return place - 1
