"""Chords with their times: `(C, 0.0), (D, 2.0)` with brackets and quotes of any kind, `C@1:30`, `0:00 C 0:02 G`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from jasco_pl.notation.chords.score import Symbol, Timed
from jasco_pl.system.errors import UserError

NUMBER = r"[+-]?(?:\d{1,15}\.?\d{0,15}|\.\d{1,15})(?:[eE][+-]?\d{1,3})?"
_CLOCK = r"(?:\d{1,3}:)?\d{1,4}:\d{2}(?:\.\d{1,9})?"
_MINUTES = r"\d{1,4}m\d{1,2}(?:\.\d{1,9})?"
_TIME = rf"(?:{_CLOCK}|{_MINUTES}|{NUMBER})"
_NAME = r"""['"]?(?P<{0}>[^\s'",()\[\]]+(?:\([^()\[\]]*\)[^\s'",()\[\]]*)?)['"]?"""
_PAIR = re.compile(
    rf"""[(\[]\s*(?:{_NAME.format("first")}\s*,\s*(?P<after>{_TIME})\s*s?|(?P<before>{_TIME})\s*s?\s*,\s*(?:{_TIME}\s*,\s*)?{_NAME.format("second")})"""
    r"\s*[)\]]\s*[,;]?\s*"
)
_PAIRS = re.compile(rf"\s*\[?\s*{_PAIR.pattern}")
_CLOCKS = re.compile(rf"[\[(]?(?P<time>{_CLOCK}|{_MINUTES}s?|{NUMBER}s?)[\])]?[,;:]?")
_BETWEEN = ("-", "|", "||", "->", "→", ":", "=", "•", ",", "/", "at", "@")


def read_times(text: str) -> Timed | None:
    """Read a line of chords with times; None for a line without.

    Raises:
        UserError: a chord without a time, a time that is none, or times that do not rise.
    """
    if _PAIRS.match(text):
        return _read_pairs(text)
    if re.search(r"@(?!\s*\d+(?:\.\d+)?\s?bpm)", text, re.IGNORECASE):
        return _read_at(re.sub(r"\s*@\s*", "@", text))
    if re.match(r"\s*0+(?:\.0+)?:?\s+[^\W\d]", text):
        return _read_clock(text)
    if re.search(rf"(?:^|[\s\[(]){_CLOCK}|(?:^|\s)\d+(?:\.\d+)?s:?(?:\s|$)", text):
        return _read_clock(text)
    return None


def seconds_of(written: str) -> float:
    """Seconds, or minutes and seconds (`1:30`, `1m30s`), or hours too.

    Raises:
        ValueError: more than 59 seconds behind a colon.
    """
    *larger, seconds = written.removesuffix("s").replace("m", ":").split(":")
    total = float(seconds)
    if larger and total >= 60:
        raise ValueError(written)
    for power, part in enumerate(reversed(larger), 1):
        total += 60**power * int(part)
    return total


def rising(found: Iterable[tuple[Symbol, float]]) -> list[tuple[Symbol, float]]:
    """The same, once it is known that times rise from zero on.

    Raises:
        UserError: they do not.
    """
    kept: list[tuple[Symbol, float]] = []
    for symbol, time in found:
        if time < 0:
            raise UserError(f"{symbol.where}, {symbol.text!r}, starts at {time:g} s; times count from 0.")
        if kept and time <= kept[-1][1]:
            raise UserError(
                f"{symbol.where}, {symbol.text!r}, starts at {time:g} s, not after the one before it ({kept[-1][1]:g} s); times must rise."
            )
        kept.append((symbol, abs(time)))
    return kept


def _read_pairs(text: str) -> Timed:
    body = text.strip()
    if re.match(r"\[\s*[(\[]", body):
        body = body.removeprefix("[").removesuffix("]").strip()
    found: list[tuple[Symbol, float]] = []
    position = 0
    while position < len(body):
        pair = _PAIR.match(body, position)
        if pair is None:
            raise UserError(
                f"the chord line is not understood at {body[position : position + 30]!r} (pair {len(found) + 1}); "
                "pairs are written `(C, 0.0), (D, 2.0)` with times in seconds."
            )
        where = f"pair {len(found) + 1}"
        found.append((Symbol(pair["first"] or pair["second"], where), _time(pair["after"] or pair["before"], where)))
        position = pair.end()
    return Timed(rising(found))


def _read_at(text: str) -> Timed:
    found: list[tuple[Symbol, float]] = []
    tokens = (match for match in re.finditer(r"(?:[^\s,;(]|\([^()]*\)|\()+", text) if match[0] not in _BETWEEN)
    for number, match in enumerate(tokens, 1):
        symbol, _, time = match[0].rpartition("@")
        where = f"chord {number}"
        if not symbol or not re.fullmatch(rf"{_TIME}s?", time):
            raise UserError(
                f"{where}, {match[0][:40]!r}, has no time; with `@` every chord is written as `C@2.5`, in seconds, or `C@1:30`, in minutes."
            )
        found.append((Symbol(symbol, where), _time(time, where)))
    return Timed(rising(found))


def _read_clock(text: str) -> Timed:
    """Times and chords in turn, whichever comes first."""
    words = [word for word in re.split(r"[\s;]+|,(?=\s)", text) if word and word not in _BETWEEN]
    pairs = list(zip(words[::2], words[1::2], strict=False))
    first = bool(words) and _CLOCKS.fullmatch(words[0]) is not None
    found: list[tuple[Symbol, float]] = []
    for number, pair in enumerate(pairs, 1):
        written, symbol = pair if first else (pair[1], pair[0])
        time = _CLOCKS.fullmatch(written)
        where = f"chord {number}"
        if time is None or _CLOCKS.fullmatch(symbol):
            raise UserError(
                f"{' '.join(pair)[:40]!r} ({where}) is not understood: where chords have times, every chord has one, as in 0:00 C 0:02 G "
                "or C@0 G@1:30."
            )
        found.append((Symbol(symbol, where), _time(time["time"], where)))
    if len(words) % 2:
        raise UserError(
            f"{words[-1][:40]!r} at the end of the chord line stands alone: where chords have times, every chord has one, as in C@1:30."
        )
    return Timed(rising(found))


def _time(written: str, where: str) -> float:
    try:
        return seconds_of(written)
    except ValueError:
        raise UserError(f"{written!r} ({where}) is no time: behind the colon there are at most 59 seconds, as in 1:30.") from None
