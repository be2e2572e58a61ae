"""The harmony of a MusicXML score: chord symbols in its bars, repeats, meter and tempo. No entity of the file is expanded."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass, field
from xml.etree import ElementTree
from xml.parsers import expat

from jasco_pl.notation.chords.score import Bar, Mark, Score, Symbol, unfold
from jasco_pl.system.errors import UserError

MOST_BYTES = 1 << 25  # of a score once it is unpacked
_KINDS = {
    "major": "",
    "minor": "m",
    "augmented": "aug",
    "diminished": "dim",
    "dominant": "7",
    "major-seventh": "maj7",
    "minor-seventh": "m7",
    "diminished-seventh": "dim7",
    "augmented-seventh": "7#5",
    "half-diminished": "m7b5",
    "major-minor": "mM7",
    "major-sixth": "6",
    "minor-sixth": "m6",
    "dominant-ninth": "9",
    "major-ninth": "maj9",
    "minor-ninth": "m9",
    "dominant-11th": "11",
    "major-11th": "maj11",
    "minor-11th": "m11",
    "dominant-13th": "13",
    "major-13th": "maj13",
    "minor-13th": "m13",
    "suspended-second": "sus2",
    "suspended-fourth": "sus4",
    "power": "5",
    "pedal": "(no3)",
    "Neapolitan": "",
    "Italian": "7(no5)",
    "French": "7b5",
    "German": "7",
    "Tristan": "m7b5",
}
_UNITS = {"whole": 4.0, "half": 2.0, "quarter": 1.0, "eighth": 0.5, "16th": 0.25}


def read_musicxml(content: bytes, name: str) -> Score:
    """Read the chord symbols of a score, `.musicxml`, `.xml` or `.mxl`.

    Raises:
        UserError: it is no score, declares entities, is too large, or has no chord symbols.
    """
    root = _parse(_unpacked(content, name), name)
    if root.tag not in ("score-partwise", "score-timewise"):
        raise UserError(f"{name!r} is no MusicXML score; its first element is <{root.tag[:40]}>, where <score-partwise> is accepted.")
    if root.tag == "score-timewise":
        raise UserError(f"{name!r} is a score by measures (score-timewise); save it by parts (score-partwise), as programs do by default.")
    parts = [part for part in root.iter("part") if part.find(".//harmony") is not None]
    if not parts:
        raise UserError(f"MusicXML file {name!r} has no chord symbols (<harmony>).")
    return _Part(name).read(parts[0])


def _unpacked(content: bytes, name: str) -> bytes:
    if not content.startswith(b"PK"):
        return content
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inside = [one for one in archive.infolist() if one.filename.lower().endswith((".xml", ".musicxml"))]
            scores = [one for one in inside if not one.filename.upper().startswith("META-INF")]
            if not scores:
                raise UserError(f"{name!r} holds no MusicXML score.")
            with archive.open(scores[0]) as file:
                found = file.read(MOST_BYTES + 1)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{name!r} is damaged: it cannot be unpacked.") from None
    if len(found) > MOST_BYTES:
        raise UserError(f"the score in {name!r} is larger than {MOST_BYTES >> 20} MiB, which is the most that is read.")
    return found


def _parse(content: bytes, name: str) -> ElementTree.Element:
    """The tree of a document, refusing one that declares entities."""
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data

    def refuse(*declaration: object) -> None:
        raise UserError(f"{name!r} declares entities, which no score needs; it is not read.")

    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
        return builder.close()
    except (expat.ExpatError, AssertionError, ValueError, LookupError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{name!r} is no XML that can be read ({error}).") from None


@dataclass
class _Part:
    """One part, measure by measure."""

    name: str
    divisions: float = 1.0
    quarters: float = 4.0  # of a bar
    first: float | None = None  # of the first meter: the unit of lengths
    score: Score = field(default_factory=lambda: Score([]))
    elements: list[Bar | Mark] = field(default_factory=list)

    def read(self, part: ElementTree.Element) -> Score:
        for measure in part.iter("measure"):
            self._measure(measure)
        self.score.bars = unfold(self.elements)
        return self.score

    def _measure(self, measure: ElementTree.Element) -> None:
        number = (measure.get("number") or str(len(self.elements) + 1))[:10]
        where = f"measure {number} of {self.name!r}"
        cursor = longest = 0.0
        symbols: list[tuple[Symbol, float]] = []
        after: list[Mark] = []
        for child in measure:
            if child.tag == "attributes":
                self._attributes(child, where)
            elif child.tag == "harmony":
                offset = _float(child.findtext("offset"), 0.0) / self.divisions
                symbols.append((Symbol(_symbol(child, where), where), max(0.0, cursor + offset)))
            elif child.tag == "note" and child.find("chord") is None and child.find("grace") is None:
                cursor += _float(child.findtext("duration"), 0.0) / self.divisions
            elif child.tag in ("backup", "forward"):
                moved = _float(child.findtext("duration"), 0.0) / self.divisions
                cursor = max(0.0, cursor + (moved if child.tag == "forward" else -moved))
            elif child.tag == "barline":
                after += self._barline(child, where)
            elif child.tag in ("direction", "sound"):
                self._tempo(child)
            longest = max(longest, cursor)
        short = measure.get("implicit") == "yes" and 0 < longest < self.quarters
        length = longest if short else self.quarters
        unit = self.first or self.quarters
        inside = [(symbol, min(start, length * 0.999) / unit) for symbol, start in sorted(symbols, key=lambda one: one[1])]
        self.elements += [Bar(tuple(inside), length / unit), *after]

    def _attributes(self, attributes: ElementTree.Element, where: str) -> None:
        self.divisions = _float(attributes.findtext("divisions"), self.divisions) or 1.0
        beats, unit = attributes.findtext("time/beats"), attributes.findtext("time/beat-type")
        if beats is None or unit is None:
            return
        counts = [int(beat) for beat in re.findall(r"\d{1,2}", beats)]
        if not counts or unit not in ("1", "2", "4", "8", "16", "32"):
            raise UserError(f"{where} has the meter {beats[:10]}/{unit[:10]}, which is not understood; 4/4 or 6/8 is.")
        self.quarters = 4 * sum(counts) / int(unit)
        if self.first is None and self.quarters:
            self.first = self.quarters
            self.score.meter = f"{sum(counts)}/{unit}"

    def _tempo(self, element: ElementTree.Element) -> None:
        if self.score.bpm is not None:
            return
        sound = element if element.tag == "sound" else element.find("sound")
        written = None if sound is None else sound.get("tempo")
        if written is not None:
            self.score.bpm = _float(written, 0.0) or None  # in quarter notes
            return
        unit = _UNITS.get(element.findtext(".//metronome/beat-unit") or "")
        rate = _float(element.findtext(".//metronome/per-minute"), 0.0)
        if unit and rate:
            dotted = 1.5 if element.find(".//metronome/beat-unit-dot") is not None else 1.0
            self.score.bpm = rate * unit * dotted

    def _barline(self, barline: ElementTree.Element, where: str) -> list[Mark]:
        """Marks in front of the measure are taken down at once, those behind it returned."""
        ending, repeat = barline.find("ending"), barline.find("repeat")
        if repeat is not None and repeat.get("direction") == "forward":
            self.elements.append(Mark("start", 1, where))
        if ending is not None and ending.get("type") == "start":
            self.elements.append(Mark("ending", max(1, len(re.findall(r"\d+", ending.get("number") or ""))), where))
        if repeat is not None and repeat.get("direction") == "backward":
            times = int(_float(repeat.get("times"), 2.0))
            return [Mark("end", min(max(times, 1), 100), where)]
        return []


def _symbol(harmony: ElementTree.Element, where: str) -> str:
    """A <harmony> as a chord symbol."""
    kind = (harmony.findtext("kind") or "major").strip()
    if kind == "none":
        return "N"
    step = harmony.findtext("root/root-step")
    if step is None:
        raise UserError(f"{where} has a chord without a root; degrees and functions are not read: write the chords out.")
    if kind not in _KINDS and kind != "other":
        raise UserError(f"{where} has a chord of the kind {kind[:40]!r}, which is not understood.")
    written = harmony.find("kind")
    suffix = _KINDS.get(kind, "")
    if kind == "other":
        suffix = (written.get("text") or "") if written is not None else ""
    degrees = ""
    for degree in harmony.iter("degree"):
        value = (degree.findtext("degree-value") or "").strip()
        sign = _sign(degree.findtext("degree-alter"))
        if degree.findtext("degree-type") == "subtract":
            degrees += f"(no{value})"
        elif sign:
            degrees += f"({sign}{value})"
        else:
            degrees += f"(add{value})"
    bass = harmony.findtext("bass/bass-step")
    low = "" if bass is None else f"/{bass.strip()}{_sign(harmony.findtext('bass/bass-alter'))}"
    return f"{step.strip()}{_sign(harmony.findtext('root/root-alter'))}{suffix}{degrees}{low}"


def _sign(alter: str | None) -> str:
    steps = max(-2, min(2, round(_float(alter, 0.0))))
    return "#" * steps if steps > 0 else "b" * -steps


def _float(text: str | None, default: float) -> float:
    try:
        value = float(text) if text is not None else default
    except ValueError:
        return default
    return value if abs(value) < 1e9 else default
