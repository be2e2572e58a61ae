"""The chord line while it is typed: read as `jasco read` does, with the place of what is wrong; and moved by semitones."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from jasco_pl.app.errors import RefusedError
from jasco_pl.app.schema import ChordLine, Transposition
from jasco_pl.controls.adherence import CHORDS
from jasco_pl.notation import harmony
from jasco_pl.notation.chord_text import ReadChords, read_chords
from jasco_pl.notation.chords.files import ends_as_a_file, names_a_file, read_text
from jasco_pl.notation.chords.names import as_english, as_german, as_romance
from jasco_pl.notation.chords.numerals import parse_key
from jasco_pl.notation.chords.score import Score, Symbol, Timed
from jasco_pl.notation.chords.spelling import Spelling
from jasco_pl.notation.plain import plain
from jasco_pl.system.errors import UserError

_FILE = "the chord line is the name of a file; here it is typed, or pasted from the file."
_PLACE = re.compile(r"(?:line (\d+), [^;:]*?)?character (\d+)")
_NEAR = re.compile(r"accepted spellings near it are (.*)\.$")
_QUOTED = re.compile(r"^chord '([^']*)'")
_NAMES: dict[str, Callable[[str], str | None]] = {"English": as_english, "German": as_german, "Romance": as_romance}
_NOTE = re.compile(r"([A-Ga-g])(##?|bb?|)")
_ALONE = r"""(?<![^\s,;|(\['"])(?:{})(?![^\s,;|)\]'"@])"""  # a chord between what may stand around it, its time among that
_BASS = re.compile(r"/([A-G])(##?|bb?|)$")


def read_line(text: str, bpm: float | None = None, meter: str = "4/4", seconds: float = 10.0, key: str | None = None) -> ReadChords:
    """`read_chords` for who is not at this machine: the name of a file is refused, as it would be one of the server's.

    What is there and what is not have the same answer, so that nobody learns of files.
    """
    if ends_as_a_file(text):
        raise UserError(_FILE)
    read = read_chords(text, bpm, meter, seconds, key, files=False)
    if names_a_file(text):  # and chords as well
        raise UserError(_FILE)
    return read


def live(line: ChordLine) -> dict[str, Any]:
    """What a lane shows: `lane` as `Lane.judged` writes it, `changes`, `notes`; or `error`, its place in the text, and what is near it."""
    if not line.text.strip():
        return {"lane": None, "changes": [], "notes": []}
    try:
        read = read_line(line.text, line.bpm, line.meter, line.seconds, line.key)
    except UserError as error:
        return {"error": located(str(error), line.text)}
    changes = [[change.label, round(change.start, 4)] for change in read.changes]
    heard = [(change.label, change.start) for change in read.changes]
    frames = harmony.changes_to_frames(heard, round(line.seconds * harmony.FRAME_RATE))
    lane = CHORDS.lane.judged(CHORDS.lane.written(frames), [], line.seconds)
    return {"lane": {**lane, "heard": []}, "changes": changes, "notes": read.notes}


def located(message: str, text: str) -> dict[str, Any]:
    """An error with the characters [start, end) of the text that it is about, where it says so, and spellings that are accepted."""
    found: dict[str, Any] = {"message": message, "start": None, "end": None, "near": []}
    place, near, quoted = _PLACE.search(message), _NEAR.search(message), _QUOTED.search(message)
    if near is not None:
        found["near"] = near[1].split(", ")
    if place is not None:
        lines = text.split("\n")
        number = int(place[1] or 1) - 1
        start = sum(len(line) + 1 for line in lines[:number]) + int(place[2]) - 1
        word = quoted[1] if quoted is not None else re.split(r"[\s|]", text[start:], maxsplit=1)[0]
        found |= {"start": start, "end": min(len(text), start + max(1, len(word)))}
    elif quoted is not None and (start := text.find(quoted[1])) >= 0:
        found |= {"start": start, "end": start + len(quoted[1])}
    return found


def transposed(asked: Transposition) -> dict[str, Any]:
    """The line with every chord moved, written as before otherwise; of degrees the key moves.

    Raises:
        UserError: the line cannot be read, or is of a kind that cannot be rewritten in place.
    """
    text = plain(asked.text)
    if ends_as_a_file(text):
        raise UserError(_FILE)
    source = read_text(text, None, "4/4")
    key = parse_key(asked.key) if asked.key else None
    symbols = (
        [pair[0] for bar in source.bars for pair in bar.symbols] if isinstance(source, Score) else [pair[0] for pair in source.symbols]
    )
    spelling = Spelling(symbols, key or (parse_key(source.key) if isinstance(source, Score) and source.key else None))
    if spelling.needs_key:
        if key is None:
            raise RefusedError("degrees are moved by their key: write it into the field beside the line.")
        names = harmony.MINOR_KEYS if key.minor else harmony.MAJOR_KEYS
        return {"text": asked.text, "key": names[(key.tonic + asked.semitones) % 12] + (" minor" if key.minor else "")}
    lines = text.split("\n")
    places = _places_in_turn(symbols, text) if isinstance(source, Timed) else _places(symbols)
    for (line, column), symbol in sorted(places.items(), reverse=True):
        moved = _moved(symbol.text, spelling.language, asked.semitones)
        written = lines[line]
        if moved is None or not written.startswith(symbol.text, column):
            raise RefusedError(f"{symbol.text[:40]!r} cannot be moved as it is written.")
        lines[line] = written[:column] + moved + written[column + len(symbol.text) :]
    rewritten = "\n".join(lines)
    if isinstance(source, Timed):  # whose places were looked for: that all of them were the right ones shows in what is read now
        wanted = [(_moved(symbol.text, spelling.language, asked.semitones), time) for symbol, time in source.symbols]
        if [(symbol.text, time) for symbol, time in _timed(rewritten)] != wanted:
            raise RefusedError("this kind of line cannot be moved as it is written; the times of C@0 G@1:30 can.")
    return {"text": rewritten, "key": asked.key}


def _places(symbols: list[Symbol]) -> dict[tuple[int, int], Symbol]:
    found = {}
    for symbol in symbols:
        place = _PLACE.search(symbol.where)
        if place is None:
            raise RefusedError(f"{symbol.text[:40]!r} cannot be moved: chords of this kind of line have no place in it.")
        found[int(place[1] or 1) - 1, int(place[2]) - 1] = symbol
    return found


def _places_in_turn(symbols: list[Symbol], text: str) -> dict[tuple[int, int], Symbol]:
    """The same of chords with times, which are read in the order in which they stand."""
    found, after = {}, 0
    for symbol in symbols:
        if symbol.text == "N":  # does not move, and where a table has a gap stands nowhere
            continue
        place = re.compile(_ALONE.format(re.escape(symbol.text))).search(text, after)
        if place is None:
            raise RefusedError(f"{symbol.text[:40]!r} cannot be moved as it is written.")
        after = place.end()
        found[text.count("\n", 0, place.start()), place.start() - text.rfind("\n", 0, place.start()) - 1] = symbol
    return found


def _timed(text: str) -> list[tuple[Symbol, float]]:
    source = read_text(text, None, "4/4")
    return source.symbols if isinstance(source, Timed) else []


def _moved(symbol: str, language: str, semitones: int) -> str | None:
    read = _NAMES[language](symbol)
    if read is None:
        return None
    head = _NOTE.match(read)
    if head is None or read.upper() in ("N", "NC", "N.C."):
        return symbol
    rest = read[head.end() :]
    bass = _BASS.search(rest)
    if bass is not None:
        rest = rest[: bass.start()] + "/" + _shifted(bass[1], bass[2], semitones)
    root = _shifted(head[1], head[2], semitones)
    if head[1].islower() and language == "German":
        return f"{root}m{rest}"  # as a small letter says there, and would not among English names
    return (root.lower() if head[1].islower() else root) + rest


def _shifted(letter: str, signs: str, semitones: int) -> str:
    number = "C D EF G A B".index(letter.upper()) + signs.count("#") - signs.count("b")
    return harmony.ROOTS[(number + semitones) % 12]
