"""Songs of iReal Pro: the links `irealb://` and `irealbook://` that it shares, alone or in a page of HTML, and their chord text."""

from __future__ import annotations

import re
from urllib.parse import unquote

from jasco_pl.notation.chords.score import Bar, Mark, Score, Symbol, unfold
from jasco_pl.system.errors import UserError

_LINK = re.compile(r"ireal(b|book)://([^\"\n]+)")
_BODY = re.compile(r"\s*(?:\*[A-Za-z])?[\[{]?\s*(?:\*[A-Za-z])?T\d\d")
_SCRAMBLED = "1r34LbKcu7"  # stands before the chords of an `irealb` link
_SHORT = {"XyQ": "   ", "Kcl": "| x", "LZ": " |"}
_TOKEN = re.compile(
    r"""(?P<chord>(?:[A-G][b#]?|W)(?:sus|alt|add|[-+^\dhob#])*(?:/[A-G][b#]?)?)
    | (?P<comment><[^>]*>) | (?P<other>\([^)]*\)) | (?P<section>\*[A-Za-z]) | T(?P<meter>\d\d) | N(?P<ending>\d)
    | (?P<line>[|\[\]{}Z]) | (?P<same>[xr]) | (?P<hold>p) | (?P<none>n) | (?P<space>\ ) | (?P<layout>[SQfYUslE,])""",
    re.VERBOSE,
)
_METERS = {"12": "12/8"}


def is_ireal(text: str) -> bool:
    """Whether a text holds a link of iReal Pro, or is the chord text of one."""
    return _LINK.search(text) is not None or _BODY.match(text) is not None


def read_ireal(text: str) -> Score:
    """Read the first song.

    Raises:
        UserError: there is none in the link, or its chords cannot be read.
    """
    link = _LINK.search(text)
    if link is None:
        return _Song(text).score
    fields = unquote(link[2]).split("=")
    scrambled = [place for place, field in enumerate(fields) if field.startswith(_SCRAMBLED)]
    if scrambled:  # title, composer, ..., style, key, ..., chords, accompaniment, tempo, choruses
        place, many = scrambled[0], len(scrambled)
        song = _Song(_unscrambled(fields[place].removeprefix(_SCRAMBLED)))
        tempo = fields[place + 2].strip() if len(fields) > place + 2 else ""
        song.score.bpm = float(tempo) if re.fullmatch(r"[1-9]\d{1,2}", tempo) else None
    elif link[1] == "book" and len(fields) > 5:  # title, composer, style, key, n, chords
        song, many = _Song(fields[5]), len(fields) // 6
    else:
        raise UserError("the link of iReal Pro holds no song; it is the whole link that is wanted, from irealb:// on.")
    if many > 1:
        song.score.notes.append(f"the link holds several songs: the first, {fields[0][:40]!r}, is read")
    return song.score


def _unscrambled(music: str) -> str:
    """Undo what the app does to chords: in every 50 characters some stand mirrored, and frequent groups are abbreviated."""
    blocks = []
    while len(music) > 51:
        block, music = list(music[:50]), music[50:]
        for place in (*range(5), *range(10, 24)):
            block[place], block[49 - place] = block[49 - place], block[place]
        blocks.append("".join(block))
    plain = "".join(blocks) + music
    for short, meant in _SHORT.items():
        plain = plain.replace(short, meant)
    return plain


class _Song:
    """Chord text, cell by cell: a chord is a cell, and so is every space behind it; the cells of a bar share it."""

    def __init__(self, text: str) -> None:
        self.score = Score([])
        self.elements: list[Bar | Mark] = []
        self._cells: list[Symbol | None] = []
        self._before: list[Bar] = []
        self._chord = ""
        self._beats = self._first = 0.0
        self._jumps: list[str] = []
        position, text = 0, text.replace("\n", " ").strip()
        while position < len(text):
            token = _TOKEN.match(text, position)
            if token is None:
                raise UserError(
                    f"the chords of iReal Pro are not understood at {text[position : position + 20]!r} (character {position + 1})."
                )
            self._take(token, position + 1)
            position = token.end()
        self._flush()
        self.score.bars = unfold(self.elements)
        if not any(bar.symbols for bar in self.score.bars):
            raise UserError("the song of iReal Pro holds no chords.")
        if self._jumps:
            self.score.notes.append(f"jumps are not played: {', '.join(self._jumps)[:60]}")

    def _take(self, token: re.Match[str], column: int) -> None:
        where = f"character {column} of the song"
        if token["chord"]:
            name = token["chord"]
            if name.startswith("W"):
                name = re.sub(r"/.*", "", self._chord) + name[1:]
            self._chord = name
            self._cells.append(Symbol(name, where))
        elif token["none"]:
            self._cells.append(Symbol("N", where))
        elif token["hold"] or token["space"]:
            if self._cells or token["hold"]:
                self._cells.append(None)
        elif token["same"]:
            self._flush()
            if not self._before:
                raise UserError(f"{token['same']!r} ({where}) repeats the bar before it: there is none.")
            self.elements += self._before[-1 if token["same"] == "x" else -2 :]
        elif token["meter"]:
            self._meter(token["meter"])
        elif token["line"]:
            self._flush()
            if token["line"] in "{}":
                self.elements.append(Mark("start", 1, where) if token["line"] == "{" else Mark("end", 2, where))
        elif token["ending"]:
            self._flush()
            self.elements.append(Mark("ending", 1, where))
        elif token["comment"] and re.search(r"D\.?\s?[CS]\.|Fine|Coda", token["comment"], re.IGNORECASE):
            self._jumps.append(token["comment"].strip("<>* 0123456789"))

    def _meter(self, digits: str) -> None:
        written = _METERS.get(digits, f"{digits[0]}/{digits[1]}")
        count, unit = (int(part) for part in written.split("/"))
        if not count or unit not in (2, 4, 8):
            raise UserError(f"the meter T{digits} of the song is not understood; T44 and T68 are.")
        self._beats = 4 * count / unit
        if not self._first:
            self._first, self.score.meter = self._beats, written

    def _flush(self) -> None:
        while self._cells and self._cells[-1] is None and not any(self._cells):
            self._cells.pop()
        if not self._cells:
            return
        symbols = tuple((cell, place / len(self._cells)) for place, cell in enumerate(self._cells) if cell is not None)
        bar = Bar(symbols, self._beats / self._first if self._first else 1.0)
        self.elements.append(bar)
        self._before = [*self._before[-1:], bar]
        self._cells = []
