"""A line without bar lines: a chord a bar, or beats where something says so.

Beats are said by holds in a row (`C / / / G / / /`) or by numbers behind the chords (`C 4 G 4`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from jasco_pl.notation.chords.score import Bar
from jasco_pl.notation.chords.tokens import Token
from jasco_pl.notation.chords.writer import Writer
from jasco_pl.system.errors import UserError

_DEEPEST = 20
_MOST_BEATS = 10_000
_NUMBERS = ("number", "bars")


def read_list(writer: Writer, tokens: Sequence[Token]) -> None:
    """Take down a line.

    Raises:
        UserError: a token where something else was expected, two readings, or too many chords.
    """
    kept = [token for token in tokens if token.kind != "separator"]
    if all(token.kind in ("hold", "comma") for token in kept):  # a ruled line
        return
    kept = _with_sevenths(kept)
    if any(token.kind in _NUMBERS for token in kept):
        _read_amounts(writer, [token for token in kept if token.kind != "comma"])
    elif _holds_beats(kept):
        _read_beats(writer, kept)
    else:
        _read_chords(writer, kept, _is_spaced(tokens))


def _with_sevenths(tokens: list[Token]) -> list[Token]:
    """`G 7 C`: a 7 behind a space is the chord's, where other chords have no number, as beats would be told of all."""
    numbers = [token for token in tokens if token.kind in _NUMBERS]
    symbols = sum(token.kind == "symbol" for token in tokens)
    if not numbers or len(numbers) == symbols or any(token.text not in ("6", "7", "9", "11", "13") for token in numbers):
        return tokens
    joined: list[Token] = []
    for token in tokens:
        if token.kind in _NUMBERS and joined and joined[-1].kind == "symbol":
            joined[-1] = joined[-1]._replace(text=joined[-1].text + token.text)
        else:
            joined.append(token)
    return joined


def _holds_beats(tokens: Sequence[Token]) -> bool:
    if any(token.kind == "hold" and (token.number > 1 or token.text == ".") for token in tokens):
        return True
    return any(left.kind == right.kind == "hold" for left, right in itertools.pairwise(tokens))


def _is_spaced(tokens: Sequence[Token]) -> bool:
    """Whether chords stand apart somewhere, so that a comma without a space ties them (`C G,G7 Em`, MusiConGen's form)."""
    return any(left.kind == right.kind == "symbol" for left, right in itertools.pairwise(tokens))


def _read_chords(writer: Writer, tokens: list[Token], spaced: bool) -> None:
    """A chord a bar, groups, and numbers of times."""
    prefix = tokens[0] if len(tokens) > 1 and tokens[0].kind == "times" and tokens[1].kind != "open" else None  # 2x C G
    if prefix is not None:
        writer.mark("open", 1, prefix)
    opened: list[tuple[Token, int, Token | None]] = []
    since, fresh = writer.bars, prefix is None  # bars when the last repetition ended; whether there was none in this line
    place = 0 if prefix is None else 1
    last = max((number for number, token in enumerate(tokens) if token.kind == "symbol"), default=-1)
    while place < len(tokens):
        token, behind = tokens[place], place + 1
        if token.kind == "symbol":
            behind = _read_bar(writer, tokens, place, spaced)
        elif token.kind == "percent":
            writer.same_again(token)
        elif token.kind == "hold":
            if token.text == "/" and place > last and writer.bars:
                raise _two_slashes(writer, token)
        elif token.kind == "open" and len(opened) < _DEEPEST:
            writer.mark("open", 1, token)
            before = tokens[place - 1] if place and tokens[place - 1].kind == "times" else None  # 2x (C G)
            opened.append((token, writer.bars, before))
        elif token.kind == "close":
            times, behind = writer.times_behind(tokens, place)
            if opened:
                begun, bars, before = opened.pop()
                whole = begun is tokens[0] and behind == len(tokens)
                if before is not None:
                    times *= writer.times(before)
                elif behind == place + 1 and writer.bars - bars > 1 and begun.text == "(" and not whole:
                    raise _two_brackets(writer, begun)
            writer.mark("close", times, token)
            if behind > place + 1:
                since, fresh = writer.bars, False
        elif token.kind == "times" and behind < len(tokens) and tokens[behind].kind == "open" and writer.bars == since:
            fresh = False  # taken by the group
        elif token.kind == "times" and fresh and behind == len(tokens):
            writer.mark("again", writer.times(token))
        elif token.kind == "times" and writer.bars - since == 1 and isinstance(writer.elements[-1], Bar):
            writer.last_again(token)
            since, fresh = writer.bars, False
        elif token.kind == "times":
            raise _two_repetitions(writer, token)
        else:
            raise writer.refuse(token, "a chord")
        place = behind
    if prefix is not None:
        writer.mark("close", writer.times(prefix), prefix)


def _read_bar(writer: Writer, tokens: list[Token], place: int, spaced: bool) -> int:
    """One bar: a symbol, and those that commas tie to it. Returns the place behind it."""
    tied = [tokens[place]]
    while place + 2 < len(tokens) and tokens[place + 1].kind == "comma" and spaced and tokens[place + 2].kind in ("symbol", "hold"):
        tied.append(tokens[place + 2])
        place += 2
    symbols = [(writer.symbol(token), number / len(tied)) for number, token in enumerate(tied) if token.kind == "symbol"]
    writer.add(Bar(tuple(symbols)))
    place += 1
    if place < len(tokens) and tokens[place].kind == "times" and tokens[place].column == tied[-1].column + len(tied[-1].text):
        writer.last_again(tokens[place])  # C*2
        place += 1
    return place + 1 if place < len(tokens) and tokens[place].kind == "comma" else place


def _two_slashes(writer: Writer, token: Token) -> UserError:
    """A single slash separates chords, but behind the last of them it could be a beat."""
    return UserError(
        f"'/' at {writer.place(token)} of the chord line can be read in two ways: as a beat (write bars, | Em / C / |), or as what "
        "separates chords (leave it out behind the last)."
    )


def _two_brackets(writer: Writer, token: Token) -> UserError:
    return UserError(
        f"'(' at {writer.place(token)} of the chord line can be read in two ways: around chords that share a bar (write G,D without a "
        "space), or around chords of a bar each (leave it out); a group is followed by a number of times, (G D) x2."
    )


def _two_repetitions(writer: Writer, token: Token) -> UserError:
    return UserError(
        f"{token.text!r} at {writer.place(token)} of the chord line can be read in two ways: the chords before it again, or the last of "
        "them alone; write (C G) x2, or G*2."
    )


def _read_beats(writer: Writer, tokens: list[Token]) -> None:
    """Every symbol and every hold is a beat; or holds alone are, where only that fills whole bars (`C //// G ////`)."""
    found: list[tuple[Token, float]] = []
    for token in tokens:
        if token.kind == "symbol":
            found.append((token, 1.0))
        elif token.kind == "hold" and found:
            found[-1] = (found[-1][0], found[-1][1] + token.number)
        elif token.kind != "comma" and not (token.kind == "times" and token is tokens[-1]):
            raise writer.refuse(token, "a chord, or `/` for a beat that holds it; what is repeated stands in bars, |: C / / / :|")
    total = sum(beats for _, beats in found)
    if total % writer.beats and (total - len(found)) % writer.beats == 0 and all(beats > 1 for _, beats in found):
        found = [(token, beats - 1) for token, beats in found]
        writer.notes.append("each stroke behind a chord is a beat, the chord's own name is none: so bars are whole")
    _add_lengths(writer, [(token, beats / writer.beats) for token, beats in found], tokens[-1])


def _read_amounts(writer: Writer, tokens: list[Token]) -> None:
    """Every symbol has a number behind it, of beats or of bars."""
    found: list[tuple[Token, float]] = []
    for place, token in enumerate(tokens):
        behind = tokens[place + 1] if place + 1 < len(tokens) else None
        if token.kind == "symbol":
            found.append((token, _amount(writer, token, behind)))
        elif not (token.kind in _NUMBERS and place and tokens[place - 1].kind == "symbol") and not (
            token.kind == "times" and behind is None
        ):
            raise writer.refuse(token, "a chord with a number of beats behind it, as in C 4 G 4")
    _add_lengths(writer, found, tokens[-1])


def _amount(writer: Writer, token: Token, behind: Token | None) -> float:
    """How many bars a symbol lasts by the number behind it."""
    if behind is None or behind.kind not in _NUMBERS:
        raise UserError(
            f"chord {token.text[:40]!r} at {writer.place(token)} of the chord line has no number of beats behind it, where another has; "
            f"expected was {token.text[:40]} {writer.beats}, or no numbers at all."
        )
    if not 0 < behind.number <= _MOST_BEATS:
        raise writer.refuse(behind, f"a number of beats above 0 and up to {_MOST_BEATS:,}")
    if behind.kind == "bars":
        return behind.number
    if behind.text in ("7", "9", "11", "13") and behind.number != writer.beats:
        raise UserError(
            f"'{token.text[:40]} {behind.text}' at {writer.place(token)} of the chord line can be read in two ways: as the chord "
            f"{token.text[:40]}{behind.text}, or as {behind.text} beats; write it without the space, or in bars."
        )
    return behind.number / writer.beats


def _add_lengths(writer: Writer, found: list[tuple[Token, float]], last: Token) -> None:
    for token, length in found:
        writer.add(Bar(((writer.symbol(token), 0.0),), length))
    if last.kind == "times":
        writer.mark("again", writer.times(last))
