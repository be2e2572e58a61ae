"""A text of chord lines, possibly with labels, lyrics and directives between them -> bars."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field

from jasco_pl.notation.chords.cells import read_bars
from jasco_pl.notation.chords.lines import (
    Label,
    degrees_only,
    holds_chords,
    is_tablature,
    key_of,
    label_of,
    labels_within,
    language_of,
    over_words,
    share,
    tempo_of,
)
from jasco_pl.notation.chords.lists import read_list
from jasco_pl.notation.chords.score import Score, unfold
from jasco_pl.notation.chords.tokens import BARS, tokens_of
from jasco_pl.notation.chords.writer import Writer
from jasco_pl.system.errors import UserError

_DIRECTIVE = re.compile(r"\s*\{\s*([A-Za-z_]+)(?:-[\w-]+)?\s*(?:[:\s]\s*(.*?))?\s*\}\s*")
_COMMENT = re.compile(r"\s*(?:#(?![1-7IViv])|//).*")
_TOLD = re.compile(  # what a sheet says beside its chords
    r"\s*(?P<name>key|tonart|tonalidad|tonalit[eé]|tempo|bpm|time(?:\s+signature)?|meter|metre|takt|capo|title|artist|composer|tuning|album|by|"
    r"written\s+by|style|feel|year|transpose)\s*[:=]\s*(?P<value>.*)|\s*(?P<fret>capo)\s+(?P<at>\d.*)",
    re.IGNORECASE,
)
_HIDDEN = {"start_of_tab": "end_of_tab", "sot": "eot", "start_of_abc": "end_of_abc", "start_of_ly": "end_of_ly"}
_BEGIN = re.compile(r"(?:start_of_|so)(chorus|verse|bridge|c|v|b|[a-z_]{3,})")
_MOST_SHOWN = 3


@dataclass
class _Line:
    number: int
    text: str
    column: int


@dataclass
class _Section:
    name: str
    times: int
    lines: list[_Line] = field(default_factory=list)


class Sheet:
    """A text that is read line by line.

    Args:
        text: in plain signs.
        meter: of the bars, where the text does not say another.

    Raises:
        UserError: nothing to read, or a token where something else was expected.
    """

    def __init__(self, text: str, meter: str) -> None:
        self.score = Score([])
        self._meter = meter
        self._words: list[str] = []
        self._sections = [_Section("", 1)]
        self._known: dict[str, list[_Line]] = {}  # lines of a section by its name
        self._again: dict[str, str] = {}  # remarks on those that are played again
        self._hidden = ""  # the directive that ends what is not read
        self._grid = False
        lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        self._several = len(lines) > 1
        self._language = language_of([line for _, line in lines])
        self._barred = any("|" in line for _, line in lines)
        for number, line in lines:
            self._take(number, line)
        self._recall()
        self._write(text)

    def _take(self, number: int, line: str) -> None:
        directive = _DIRECTIVE.fullmatch(line)
        if directive is not None and (directive[2] is not None or not share(directive[1])[0]):
            self._direct(directive[1].lower(), directive[2] or "")
        elif self._hidden or (self._several and _COMMENT.fullmatch(line)):
            return
        elif self._several and is_tablature(line):
            self.score.notes = [*dict.fromkeys([*self.score.notes, "tablature is left out"])]
        elif self._grid:
            inside = re.fullmatch(r"[^|]*(\|.*\|)[^|]*", line)
            self._chords(number, inside[1] if inside else line, inside.start(1) if inside else 0)
        else:
            parts = [0, *(place for place in labels_within(line) if line[:place].strip()), len(line)]
            for first, last in itertools.pairwise(parts):
                self._line(number, line[first:last], first)

    def _line(self, number: int, line: str, column: int) -> None:
        told = _TOLD.fullmatch(line)
        if told is not None and self._tell((told["name"] or told["fret"]).lower(), told["value"] or told["at"] or ""):
            return
        if (tempo := tempo_of(line)) is not None and share(tempo[1])[0]:
            self.score.bpm, line = tempo
        if (key := key_of(line)) is not None:
            self.score.key, line, column = key[0].written, key[1], column + key[2]
        if (label := label_of(line, self._several)) is not None:
            self._label(label)
            line, column = label.rest, column + label.column
            if not line.strip():
                return
        if not self._several and (part := re.match(r"\s*(\[[A-G]\])\s+[^\[\]]+$", line)) is not None:
            raise UserError(
                f"{part[1]!r} at the beginning of the chord line can be read in two ways: the chord {part[1][1]} (leave the brackets out), "
                f"or the name of a part (write {part[1][1]}: before its chords)."
            )
        chords = over_words(line)
        if chords is not None:
            self._words.append(line)
            if chords.strip(" |"):
                self._chords(number, chords, column)
        elif self._several and self._barred and re.fullmatch(r"\s*[A-H]\s*", line):
            self._recall()
            self._sections.append(_Section(line.strip().lower(), 1))
            self.score.notes.append(f"{line.strip()!r} alone in a line, where others have bars, is taken for the name of a part")
        elif self._several and not holds_chords(line, self._language):
            self._words.append(line)
        else:
            self._chords(number, line, column)

    def _chords(self, number: int, line: str, column: int) -> None:
        self._sections[-1].lines.append(_Line(number, line, column + 1))

    def _label(self, label: Label) -> None:
        if (capo := re.match(r"capo\D{0,10}(\d+)", label.name, re.IGNORECASE)) is not None:
            self._tell("capo", capo[1])
        self._recall()
        self._sections.append(_Section(label.name.lower(), label.times))

    def _recall(self) -> None:
        """A section without lines is the one of that name before it, as `[Chorus]` alone is."""
        last = self._sections[-1]
        if last.lines:
            self._known[last.name] = last.lines
        elif last.name in self._known and last.name:
            last.lines = self._known[last.name]
            self._again[last.name] = f"the section {last.name[:40]!r} stands without chords: those it had before are played again"

    def _direct(self, name: str, value: str) -> None:
        if self._hidden:
            self._hidden = "" if name == self._hidden else self._hidden
        elif name in _HIDDEN:
            self._hidden = _HIDDEN[name]
        elif name in ("start_of_grid", "sog"):
            self._grid = True
        elif name in ("end_of_grid", "eog"):
            self._grid = False
        elif name == "chorus":
            self._label(Label("chorus", 1, "", 0))
        elif (begin := _BEGIN.fullmatch(name)) is not None:
            self._label(Label({"c": "chorus", "v": "verse", "b": "bridge"}.get(begin[1], begin[1]), 1, "", 0))
        elif name.startswith(("end_of_", "eo")):
            self._label(Label("", 1, "", 0))
        else:
            self._tell(name, value)

    def _tell(self, name: str, value: str) -> bool:
        """Take what a sheet says beside its chords; False where the line goes on with chords."""
        if name.startswith(("key", "ton")) and degrees_only(" ".join(value.split()[1:])):
            return False
        number = re.match(r"\D*(\d+(?:\.\d+)?)", value)
        if name in ("tempo", "bpm") and number is not None:
            self.score.bpm = float(number[1])
        elif name.startswith(("time", "met", "takt")) and (meter := re.search(r"\d+\s*/\s*\d+", value)) is not None:
            self.score.meter = self._meter = meter[0].replace(" ", "")
        elif name.startswith(("key", "ton")):
            self.score.key = value.strip() or None
        elif name in ("capo", "transpose") and number is not None and float(number[1]):
            self.score.notes.append(f"{name} {number[1]} is not played: the chords are taken as they are written")
        return True

    def _write(self, text: str) -> None:
        """Bars of all sections."""
        sections = [section for section in self._sections if section.lines]
        lines = [line for section in sections for line in section.lines]
        if not lines:
            raise UserError(f"the chord line {text.strip()[:40]!r} holds no chord; write for example `C G Am F` or `C | G7 | Am F`.")
        degrees = all(degrees_only(line.text) or not share(line.text)[0] for line in lines)
        writer = Writer(int(self._meter.split("/")[0]), max(2, len(lines)) if self._several else 1)
        for section in sections:
            writer.mark("section")
            if section.times > 1:
                writer.mark("open")
            for line in section.lines:
                tokens = tokens_of(line.text, line.column, degrees)
                writer.begin_line(line.number)
                lined = [place for place, token in enumerate(tokens) if token.kind in BARS]
                if len(lined) == 1 and tokens[lined[0]].kind == "bar" and [token.kind for token in tokens[lined[0] + 1 :]] == ["times"]:
                    del tokens[lined.pop()]  # `C G Am F | x4`: a bar line that parts no bars
                (read_bars if lined else read_list)(writer, tokens)
            if section.times > 1:
                writer.mark("close", section.times)
        self.score.bars = unfold(writer.elements)
        if not any(bar.symbols for bar in self.score.bars):
            raise UserError(f"the chord line {text.strip()[:40]!r} holds bars without a chord; write for example `C | G7 | Am F`.")
        self.score.notes += [*list(self._again.values())[:_MOST_SHOWN], *list(dict.fromkeys(writer.notes))[:_MOST_SHOWN]]
        if self._words:
            shown = ", ".join(repr(" ".join(words.split())[:30]) for words in self._words[:_MOST_SHOWN])
            more = f" and {len(self._words) - _MOST_SHOWN} more" if len(self._words) > _MOST_SHOWN else ""
            self.score.notes.append(f"taken for words and left out: {shown}{more}")


def read_sheet(text: str, meter: str) -> Score:
    """Read chord lines; `text` is in plain signs. Raises as `Sheet`."""
    return Sheet(text, meter).score
