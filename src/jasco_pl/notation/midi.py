"""A melody out of a MIDI file: which part it is, and its notes one at a time in the range of the bins."""

from __future__ import annotations

import contextlib
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from jasco_pl.notation.melody import BINS, LOWEST_MIDI
from jasco_pl.notation.melody_files import begins_late, read_bytes, read_start
from jasco_pl.notation.midi_file import MidiFile, parse
from jasco_pl.notation.midi_melody import choose, highest_at_a_time
from jasco_pl.notation.midi_parts import Note, Part, Parts, read_parts
from jasco_pl.system.errors import UserError

HIGHEST_MIDI = LOWEST_MIDI + BINS - 1
_LISTED = 12  # parts that a sentence names
_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


@dataclass
class MidiMelody:
    """A melody that was read.

    Attributes:
        notes: in order, one at a time, pitches within 43..95; seconds from the one at which the clip takes it up.
        part: where it was found.
        parts: all that has notes in the file.
        remarks: for the user, on how it was read.
    """

    notes: list[Note]
    part: Part
    parts: list[Part]
    remarks: list[str] = field(default_factory=list)

    @property
    def track(self) -> str:
        """The name of its track, or where that has none the number of the part."""
        return self.part.name or str(self.part.number)

    @property
    def tracks(self) -> list[dict[str, Any]]:
        """All parts, as JSON."""
        return [
            {"number": one.number, "name": one.name, "instrument": one.instrument, "notes": len(one.notes), "range": _range(one)}
            for one in self.parts
        ]


def pitch_name(pitch: int) -> str:
    """C4 is MIDI 60."""
    return f"{_NAMES[pitch % 12]}{pitch // 12 - 1}"


def read_midi(path: str | os.PathLike[str], seconds: float, track: str | int | None = None, start: float | None = None) -> MidiMelody:
    """Read the melody of a MIDI file.

    The track asked for, or else the part that is most like a melody (`midi_melody.choose`). Where notes overlap the highest sounds; the
    whole melody moves by octaves into MIDI 43..95, and what is still outside is left out.

    Args:
        path: the file.
        seconds: how much of it is wanted.
        track: number (from 1, of the parts that have notes), name or instrument.
        start: second of the file at which to take it up; None is 0, or its first note where that comes after `seconds`.

    Raises:
        UserError: a missing or unreadable file, not a MIDI file, no notes in it, no such track, nothing after `start`.
    """
    return _melody(_opened(path), seconds, track, start)


def read_each(path: str | os.PathLike[str], seconds: float) -> tuple[MidiMelody, Iterator[MidiMelody]]:
    """What `read_midi` reads, and every part that holds a melody as one of its own: the file is read once.

    Raises:
        UserError: as `read_midi`.
    """
    opened = _opened(path)
    chosen = _melody(opened, seconds)

    def each() -> Iterator[MidiMelody]:
        for part in chosen.parts:
            with contextlib.suppress(UserError):  # nothing of it is a melody
                if not part.drums:
                    yield chosen if part is chosen.part else _melody(opened, seconds, part.number)

    return chosen, each()


@dataclass
class _Opened:
    """A file with notes that could be a melody, and its parts."""

    name: str
    file: MidiFile
    found: Parts


def _opened(path: str | os.PathLike[str]) -> _Opened:
    name = os.fspath(path)
    file = parse(read_bytes(path), name)
    found = read_parts(file)
    if all(part.drums for part in found.parts):
        holds = "only drums" if found.parts else "no notes"
        wrong = "".join(f" ({remark})" for remark in _mended(file))
        raise UserError(f"MIDI file {name!r} holds {holds}; a melody needs at least one pitched note{wrong}.")
    return _Opened(name, file, found)


def _melody(opened: _Opened, seconds: float, track: str | int | None = None, start: float | None = None) -> MidiMelody:
    name, found = opened.name, opened.found
    chosen = choose(found) if track is None else _asked(found, name, track)
    remarks = [_told(chosen, found)] if len(found.parts) > 1 else []
    line, said = _into_range(highest_at_a_time(chosen.notes))
    start = read_start(start)
    if start is None and line[0][1] >= seconds:
        start = line[0][1]
        said.append(begins_late(start))
    if start and line[-1][2] <= start:
        raise UserError(f"the melody in {name!r} ends after {line[-1][2]:.2f} s; nothing of it is left from second {start:g} on.")
    notes = [(pitch, max(onset - (start or 0), 0.0), offset - (start or 0)) for pitch, onset, offset in line if offset > (start or 0)]
    return MidiMelody(notes, chosen, found.parts, [*remarks, *said, *_mended(opened.file)])


def _into_range(line: list[Note]) -> tuple[list[Note], list[str]]:
    """The line, moved by the fewest octaves that bring most of its notes into the range, and what to say of it."""

    def inside(octaves: int) -> int:
        return sum(LOWEST_MIDI <= pitch + 12 * octaves <= HIGHEST_MIDI for pitch, _, _ in line)

    octaves = max(sorted(range(-5, 6), key=abs), key=inside)
    moved = [(pitch + 12 * octaves, onset, offset) for pitch, onset, offset in line]
    said = []
    if octaves:
        many = f"{abs(octaves)} octaves" if abs(octaves) > 1 else "an octave"
        said.append(f"the melody was moved {'up' if octaves > 0 else 'down'} by {many}, to lie in MIDI {LOWEST_MIDI}-{HIGHEST_MIDI}")
    kept = [note for note in moved if LOWEST_MIDI <= note[0] <= HIGHEST_MIDI]
    if len(kept) < len(moved):
        said.append(f"{len(moved) - len(kept)} of {len(moved)} notes lie outside MIDI {LOWEST_MIDI}-{HIGHEST_MIDI} and were left out")
    return kept, said


def _asked(found: Parts, name: str, track: str | int) -> Part:
    wanted = _plain(str(track))
    by_name = [part for part in found.parts if part.name and _plain(part.name) == wanted and isinstance(track, str)]
    by_number = [part for part in found.parts if wanted.isdecimal() and int(wanted) == part.number]
    by_words = [
        part for part in found.parts if isinstance(track, str) and wanted and wanted in (_plain(part.name) + "\n" + part.instrument.lower())
    ]
    for candidates in (by_name, by_number, by_words):
        if pitched := [part for part in candidates if not part.drums]:
            return choose(Parts(pitched, found.words))
    listed = _list([part for part in found.parts if not part.drums])
    raise UserError(f"MIDI file {name!r} has no track {str(track)!r} with a melody; it has {listed}.")


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip().casefold()


def _told(chosen: Part, found: Parts) -> str:
    sung = ", to which the words are sung" if found.sung(chosen) > 0.5 else ""
    others = _list([part for part in found.parts if part is not chosen])
    return (
        f"the melody is track {_called(chosen)} of {len(found.parts)}, {_range(chosen)}{sung}; "
        f"the file also has {others}; another can be chosen (track)"
    )


def _called(part: Part) -> str:
    return f"{part.number} ({', '.join(filter(None, (part.name, part.instrument)))})"


def _list(parts: list[Part]) -> str:
    more = f" and {len(parts) - _LISTED} more" if len(parts) > _LISTED else ""
    return ", ".join(map(_called, parts[:_LISTED])) + more


def _range(part: Part) -> str:
    pitches = [pitch for pitch, _, _ in part.notes]
    return f"{pitch_name(min(pitches))}-{pitch_name(max(pitches))}"


def _mended(file: MidiFile) -> list[str]:
    said = [f"{what} ({times} times)" if times > 1 else what for what, times in file.repairs.items()]
    return [f"the MIDI file was mended: {'; '.join(said)}"] if said else []
