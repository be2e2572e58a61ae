"""A melody out of a MIDI file: which track it is on, and its notes one at a time in the range of the bins."""

from __future__ import annotations

import heapq
import io
import itertools
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pretty_midi

from jasco_pl.notation.melody import BINS, LOWEST_MIDI
from jasco_pl.system.errors import UserError

SUFFIXES = (".mid", ".midi")
MOST_BYTES = 64 << 20  # of a file, and of the array in one: the salience of five hours
HIGHEST_MIDI = LOWEST_MIDI + BINS - 1
_MELODY_NAMES = re.compile(r"melod|lead|vocal|voice|vox|sing|theme|tune", re.IGNORECASE)
Note = tuple[int, float, float]
"""MIDI pitch, onset and offset in seconds."""


@dataclass
class MidiMelody:
    """A melody that was read.

    Attributes:
        notes: in order, one at a time, pitches within 43..95.
        track: the name of the track, or where it has none its number among the file's instruments (from 0).
        remarks: for the user, on how it was read.
    """

    notes: list[Note]
    track: str
    remarks: list[str] = field(default_factory=list)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """All of a melody's file.

    Raises:
        UserError: it is not there, cannot be read, or is too large.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"melody file {os.fspath(path)!r} does not exist.") from None
    except OSError as error:
        raise UserError(f"melody file {os.fspath(path)!r} cannot be read: {error.strerror}.") from None
    if len(content) > MOST_BYTES:
        raise UserError(f"melody file {os.fspath(path)!r} is larger than {MOST_BYTES >> 20} MiB, which no melody is.")
    return content


def read_midi(path: str | os.PathLike[str], seconds: float, track: str | int | None = None) -> MidiMelody:
    """Read the melody of a MIDI file.

    The track asked for, or else the one with a melody's name, or else the most melody-like one: of the tracks that play mostly one note at
    a time the highest. Where notes overlap the highest sounds; notes outside MIDI 43..95 are moved into it by octaves.

    Args:
        path: the file.
        seconds: how much of it is wanted; only remarks depend on it.
        track: name or number (from 0) of an instrument.

    Raises:
        UserError: a missing or unreadable file, not a MIDI file, no notes in it, no such track.
    """
    name = os.fspath(path)
    content = read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tempo changes on later tracks, common and harmless
            midi = pretty_midi.PrettyMIDI(io.BytesIO(content))
    except Exception as error:  # the parser raises whatever the bytes provoke: OSError, EOFError, KeyError, IndexError, ...
        raise UserError(f"{name!r} is not a MIDI file that can be read ({str(error).rstrip('.') or type(error).__name__}).") from None
    sounding = [instrument for instrument in midi.instruments if instrument.notes]
    pitched = [instrument for instrument in sounding if not instrument.is_drum]
    if not pitched:
        raise UserError(f"MIDI file {name!r} holds {'only drums' if sounding else 'no notes'}; a melody needs at least one pitched note.")
    chosen = _choose_track(midi.instruments, pitched, name, track)
    place = midi.instruments.index(chosen)
    called = chosen.name.strip()
    remarks = [f"the melody is track {place}{f' ({called})' if called else ''} of {len(midi.instruments)}"] if len(pitched) > 1 else []
    moved = sum(_into_range(note.pitch) != note.pitch and note.start < seconds for note in chosen.notes)
    if moved:
        remarks.append(
            f"{moved} of {len(chosen.notes)} notes lay outside MIDI {LOWEST_MIDI}-{HIGHEST_MIDI} and were moved into it by octaves"
        )
    notes = highest_at_a_time((_into_range(note.pitch), float(note.start), float(note.end)) for note in chosen.notes)
    return MidiMelody(notes, called or str(place), remarks)


def highest_at_a_time(notes: Iterable[Note]) -> list[Note]:
    """Notes that may overlap -> what is heard at the top, in order; of equal pitches the one that began last."""
    waiting = sorted((note for note in notes if note[2] > note[1]), key=lambda note: note[1])
    times = sorted({time for _, *span in waiting for time in span})
    sounding: list[tuple[int, float, int, float]] = []  # the top first: -pitch, -onset, place, offset
    heard: list[tuple[int, Note]] = []
    place = 0
    for start, end in itertools.pairwise(times):
        while place < len(waiting) and waiting[place][1] <= start:
            pitch, onset, offset = waiting[place]
            heapq.heappush(sounding, (-pitch, -onset, place, offset))
            place += 1
        while sounding and sounding[0][3] <= start:
            heapq.heappop(sounding)
        if not sounding:
            continue
        top = sounding[0]
        if heard and heard[-1][0] == top[2] and heard[-1][1][2] == start:
            heard[-1] = (top[2], (-top[0], heard[-1][1][1], end))
        else:
            heard.append((top[2], (-top[0], start, end)))
    return [note for _, note in heard]


def _into_range(pitch: int) -> int:
    while pitch < LOWEST_MIDI:
        pitch += 12
    while pitch > HIGHEST_MIDI:
        pitch -= 12
    return pitch


def _choose_track(every: Sequence[Any], pitched: Sequence[Any], name: str, track: str | int | None) -> Any:
    if track is not None:
        wanted = str(track).strip()
        listed = ", ".join(f"{place} ({one.name.strip() or 'unnamed'})" for place, one in enumerate(every) if one in pitched)
        by_name = [one for one in pitched if one.name.strip().lower() == wanted.lower()]
        by_number = [every[int(wanted)]] if wanted.isdecimal() and int(wanted) < len(every) else []
        for one in by_name or by_number:
            if one in pitched:
                return one
        raise UserError(f"MIDI file {name!r} has no track {wanted!r} with a melody; it has {listed}.")
    named = [one for one in pitched if _MELODY_NAMES.search(one.name)]
    longest = max(_seconds(one) for one in pitched)
    lasting = [one for one in pitched if _seconds(one) >= longest / 4]  # not two notes of a bell
    single = [one for one in lasting if _monophony(one) >= 0.8]
    return max(named or single or lasting, key=lambda one: (np.mean([note.pitch for note in one.notes]), -every.index(one)))


def _seconds(instrument: Any) -> float:
    return float(sum(note.end - note.start for note in instrument.notes))


def _monophony(instrument: Any) -> float:
    """Share of notes that begin when the one before has (nearly) ended."""
    notes = sorted(instrument.notes, key=lambda note: note.start)
    free = [
        after.start >= before.end - 0.5 * (before.end - before.start) and after.start > before.start
        for before, after in itertools.pairwise(notes)
    ]
    return float(np.mean(free)) if free else 1.0
