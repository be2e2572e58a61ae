"""A line of chords -> its tokens: symbols, bar lines, repeats, holds, numbers, brackets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from jasco_pl.notation.chords.names import words_as_quality
from jasco_pl.notation.chords.spelling import languages

_REST = r"[^\s|()\[\]{},;>→•\"]"
_SYMBOL = rf"(?:(?![-=~]{{1,3}}>|:{{1,2}}\|){_REST})+(?:\([^()|\[\]]*\)(?:(?![-=~]{{1,3}}>|:{{1,2}}\|){_REST})*)*"
_END = r"(?=[\s,;|()\[\]{}]|$)"
_COUNT = r"(?:times|time|mal|fois|veces|vezes|volte)"
_TOKEN = re.compile(
    rf"""(?P<space>[\s"]+)
    | (?P<fingering>(?=[0-9]*[xX])[xX0-9]{{6}}{_END})
    | (?P<times>(?:[x*]\ ?(?P<t1>\d{{1,9}})|(?P<t2>\d{{1,9}})(?:[x*]|\ ?{_COUNT}))(?=:?\s|[,;|()\[\]{{}}]|$)
        | [(\[]\ *(?:[x*]\ ?(?P<t3>\d{{1,9}})|(?P<t4>\d{{1,9}})\ ?(?:[x*]|{_COUNT}))\ *[)\]]
        | (?:twice|bis){_END} | \((?:twice|repeat|bis)\)):?
    | (?P<bar>:{{0,2}}(?:\[?\|+\]?)+:{{0,2}}|\[:|:\])
    | (?P<ending>(?:\[(?P<e1>\d(?:[.,\ -]{{1,2}}\d)*)[.:]?|(?P<e2>\d(?:[.,-]\ ?\d)*)\.)(?=\s|$))
    | (?P<jump>(?:D\.\ ?[CS]\.?|[Dd]a\ [Cc]apo|[Dd]al\ [Ss]egno|(?:[Tt]o\ )?Coda|Fine|Segno)(?:\ al\ \w+)?{_END})
    | (?P<percent>%+|\./\.|\.//\.)
    | (?P<arrow>[-=~]{{0,3}}>|→|•|;|(?:&|\+|and|then|to|und|repeat|etc\.?|usw\.?|\\){_END})
    | (?P<comma>,)
    | (?P<amount>\(?(?P<n>\d{{1,6}}(?:\.\d{{1,6}})?)(?:\ ?(?P<unit>beats?|counts?|bars?|measures?))?\)?{_END})
    | (?P<hold>(?:/+|-+|\.+|_+|~+){_END})
    | (?P<open>[(\[{{])
    | (?P<close>[)\]}}])
    | (?P<symbol>{_SYMBOL})
    | (?P<other>.)""",
    re.VERBOSE,
)
_GLUED_TIMES = re.compile(r"(.*[^*x(])(?:[*x]|\((?:x\s?(?=\d+\))|(?=\d+x\))))(\d{1,9})(?:x?\))?")
_WORD = re.compile(r" ([^\s|()\[\]{},;>→•]{1,20})(?![^\s|()\[\]{},;>→•])")
_HOLDS = re.compile(r"(/{2,}|\.{2,}|-{2,}|_{2,}|~{2,})")
_JOINTS = "-/._+~*=:&\\"  # what stands between symbols that were written without spaces


class Token(NamedTuple):
    """One token of a line.

    Attributes:
        kind: `symbol`, `hold`, `percent`, `number` (of beats), `bars` (a number of bars), `times`, `comma` (between symbols without a
            space), `separator`, `open`, `close`, `bar`, `start` (`|:`), `end` (`:|`), `both` (`:|:`), `ending`, `jump` (`D.C.`).
        text: as written.
        column: where it begins, from 1.
        number: of beats, bars, times or holds; for how many turns an ending is.
    """

    kind: str
    text: str
    column: int
    number: float = 1


def tokens_of(line: str, column: int = 1, degrees: bool = False) -> list[Token]:
    """Cut a line that holds chords.

    Args:
        line: in plain signs.
        column: where it begins, for errors.
        degrees: whether chords are numbers (`1 5 6- 4`). Otherwise a number is beats behind a chord, and an ending behind a bar line.
    """
    found: list[Token] = []
    position = 0
    for match in _TOKEN.finditer(line):
        start, kind, text = match.start(), match.lastgroup, match[0]
        if start < position:
            continue
        place = column + start
        if kind in ("space", "fingering"):
            continue
        if match["jump"] is not None:
            found.append(Token("jump", text, place))
        elif match["times"] is not None:
            number = next((match[name] for name in ("t1", "t2", "t3", "t4") if match[name]), "2")
            found.append(Token("times", text, place, int(number)))
        elif match["bar"] is not None:
            found.append(Token(_bar_kind(text), text, place))
        elif match["ending"] is not None and not degrees and (text[0] == "[" or (found and found[-1].kind in BARS)):
            found.append(Token("ending", text, place, len(re.findall(r"\d", text))))
        elif match["percent"] is not None:
            found.append(Token("percent", text, place, 2 if text in ("%%", ".//.") else 1))
        elif match["arrow"] is not None:
            found.append(Token("separator", text, place))
        elif match["comma"] is not None:
            tight = 0 < start < len(line) - 1 and not line[start - 1].isspace() and not line[start + 1].isspace()
            found.append(Token("comma" if tight else "separator", text, place))
        elif match["amount"] is not None and degrees:
            found += _degrees(text, place)
        elif match["amount"] is not None:
            unit = "bars" if (match["unit"] or "").startswith(("bar", "measure")) else "number"
            found.append(Token(unit, text, place, float(match["n"])))
        elif match["hold"] is not None:
            found.append(Token("hold", text, place, len(text)))
        elif match["open"] is not None or match["close"] is not None:
            found.append(Token("open" if match["open"] else "close", text, place))
        else:
            text, end = _with_words(line, match.end(), text)
            position = end
            found += _symbols(text.strip("'"), place)
    return _ended(found, degrees)


BARS = ("bar", "start", "end", "both")


def _bar_kind(text: str) -> str:
    if text.startswith(":"):
        return "both" if text.endswith(":") else "end"
    return "start" if text.endswith(":") else "bar"


def _ended(found: list[Token], degrees: bool) -> list[Token]:
    """A bare number right behind a bar line as the ending that it is; dots at the end of a line as `and so on`, which says nothing."""
    out: list[Token] = []
    for token in found:
        behind = bool(out) and out[-1].kind in BARS and token.column == out[-1].column + len(out[-1].text)
        if token.kind == "number" and out and out[-1].kind == "close" and token.column == out[-1].column + 1 and token.text.isdigit():
            token = token._replace(kind="times")  # (C G)2
        if behind and not degrees and token.kind == "number" and token.text.isdigit():
            token = token._replace(kind="ending", number=1)
        out.append(token)
    if out and out[-1].kind == "hold" and set(out[-1].text) == {"."} and out[-1].number >= 3:
        out.pop()
    return out


def _degrees(text: str, column: int) -> list[Token]:
    """A number as a chord; four and more digits are so many chords (`1564`)."""
    number = text.strip("()")
    if len(number) >= 4 and set(number) <= set("1234567"):
        return [Token("symbol", digit, column + place) for place, digit in enumerate(number)]
    return [Token("symbol", number, column)]


def _with_words(line: str, end: int, text: str) -> tuple[str, int]:
    """A symbol with the words behind it that say its kind: `C sharp minor`, `A m7`."""
    words: list[str] = []
    joined = text
    while len(words) < 3 and (match := _WORD.match(line, end)) is not None:
        word = match[1]
        amount = word.isdigit() and (not words or word not in ("4", "6", "7", "9", "11", "13", "2"))
        if amount or (languages(word) and not word.isdigit()):
            break
        quality = words_as_quality([*words, word])
        if quality is None or not languages(text + quality):
            break
        words.append(word)
        joined, end = text + quality, match.end()
    return joined, end


def _symbols(text: str, column: int) -> Iterator[Token]:
    """A symbol, or what it is made of: a repetition behind it, beats that hold it, several symbols without spaces, a full stop."""
    if languages(text):
        yield Token("symbol", text, column)
        return
    glued = _GLUED_TIMES.fullmatch(text)
    if glued is not None and languages(glued[1]):
        yield Token("symbol", glued[1], column)
        yield Token("times", text[len(glued[1]) :], column + len(glued[1]), int(glued[2]))
        return
    held = _HOLDS.split(text)
    if len(held) > 1 and all(languages(part) for part in held[:-1:2]) and (not held[-1] or languages(held[-1])):
        yield from _held(held, column)
        return
    for mark in _JOINTS:
        pieces = _pieces(text, mark)
        if pieces is not None:
            for piece, offset in pieces:
                yield Token("symbol", piece, column + offset)
            return
    bare = text.rstrip(".;:!")
    yield Token("symbol", bare if languages(bare) else text, column)


def _held(parts: list[str], column: int) -> Iterator[Token]:
    """Symbols with runs of dashes, slashes or dots between them: beats where the last symbol has some too (`C///G///`), else separators."""
    for place, part in enumerate(parts):
        if place % 2 == 0 and part:
            yield Token("symbol", part, column)
        elif part:
            yield Token("hold" if not parts[-1] else "separator", part, column, len(part))
        column += len(part)


def _pieces(text: str, mark: str) -> list[tuple[str, int]] | None:
    """Cut a text at a mark into symbols, each the longest that can be read (`C-7-F` is C-7 and F); None where a piece is none."""
    parts = text.split(mark)
    if len(parts) < 2:
        return None
    starts = [0]
    for part in parts:
        starts.append(starts[-1] + len(part) + 1)
    found: list[tuple[str, int]] = []
    place = 0
    while place < len(parts):
        for many in (2, 1) if mark == "-" else (1,):
            piece = mark.join(parts[place : place + many])
            if place + many <= len(parts) and languages(piece) and _capital(piece):
                found.append((piece, starts[place]))
                place += many
                break
        else:
            if parts[place] or place not in (0, len(parts) - 1):
                return None
            place += 1
    return found if len(found) > 1 else None


def _capital(piece: str) -> bool:
    """Whether a piece may be cut out: small letters and signs of a quality are not taken for notes."""
    return piece[:1].isupper() or piece[:1].isdigit() or re.match(r"[b#]?[1-7ivIV]", piece) is not None
