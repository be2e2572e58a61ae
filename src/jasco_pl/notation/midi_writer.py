"""What music was asked for, as a MIDI file that DAWs and notation programs open: tempo, meter, key, chords, a melody, drum hits."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import mido

from jasco_pl.notation import harmony
from jasco_pl.notation.beats import read_meter
from jasco_pl.notation.midi_parts import Note
from jasco_pl.system.files import atomic_path

TICKS = 960  # a quarter note
_TEMPO = 120.0  # quarter notes a minute, of a file that says none
_DRUMS, _HIT, _HIT_SECONDS = 9, 37, 0.05  # the side stick: which drum is hit is not asked for
_LOWEST_BASS, _LOWEST_TONE = 36, 52  # C2; E3
_NEAR = Fraction(1, 10**7)  # of a tick: what floating point leaves of a whole one
Event = tuple[float, mido.Message]


@dataclass(frozen=True)
class Sheet:
    """What is written.

    Attributes:
        seconds: how long it lasts.
        melody: one note at a time.
        chords: labels of the vocabulary with start and end in seconds; N and UNK are silent.
        drums: onsets in seconds.
        bpm: of the meter's beat (`beats.read_meter`); None is not known.
        key: pitch class of the tonic, and whether it is minor.
        title: of the piece.
    """

    seconds: float
    melody: Sequence[Note] = ()
    chords: Sequence[tuple[str, float, float]] = ()
    drums: Sequence[float] = ()
    bpm: float | None = None
    meter: str = "4/4"
    key: tuple[int, bool] | None = None
    title: str = ""


def key_name(key: tuple[int, bool]) -> str:
    """`Eb major`, `C# minor`."""
    tonic, minor = key
    return f"{harmony.MINOR_KEYS[tonic]} minor" if minor else f"{harmony.MAJOR_KEYS[tonic]} major"


def voiced(label: str) -> list[int]:
    """A chord of the vocabulary as MIDI pitches: its bass from C2, its tones in close position from E3; N and UNK have none."""
    classes, bass = harmony.intervals(harmony.index(label))
    if not classes:
        return []
    return [_LOWEST_BASS + bass, *sorted(_LOWEST_TONE + (tone - _LOWEST_TONE) % 12 for tone in classes)]


def write_midi(path: str | os.PathLike[str], sheet: Sheet) -> None:
    """Write a file of format 1: tempo, meter, key and chord names, then a track each for chords, melody and drums, where there are some.

    Times of the melody are rounded down to a tick, so that its frames [onset, offset) come back as they were; others to the nearest.

    Raises:
        UserError: it cannot be written.
    """
    quarters = read_meter(sheet.meter)[1]
    tempo = round(60e6 / (_TEMPO if sheet.bpm is None else sheet.bpm * quarters))
    count, unit = map(int, sheet.meter.split("/"))
    head: list[mido.MetaMessage] = [mido.MetaMessage("track_name", name=sheet.title), mido.MetaMessage("set_tempo", tempo=tempo)]
    if sheet.bpm is not None:
        head.append(mido.MetaMessage("time_signature", numerator=count, denominator=unit))
    if sheet.key is not None:
        tonic, minor = sheet.key
        head.append(mido.MetaMessage("key_signature", key=f"{harmony.MINOR_KEYS[tonic]}m" if minor else harmony.MAJOR_KEYS[tonic]))
    names = [(start, mido.MetaMessage("marker", text=label)) for label, start, _ in sheet.chords]
    parts: tuple[tuple[str, int, int | None, Sequence[Note]], ...] = (
        ("chords", 0, 0, [(pitch, start, end) for label, start, end in sheet.chords for pitch in voiced(label)]),
        ("melody", 1, 73, sheet.melody),
        ("drums", _DRUMS, None, _hits(sheet.drums)),
    )
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS, charset="utf-8")
    file.tracks.append(_track([*((0.0, message) for message in head), *names], tempo, sheet.seconds))
    tick = tempo / TICKS / 1e6  # seconds; a note within one would be switched off before it is on
    for name, channel, program, all_notes in parts:
        if notes := [note for note in all_notes if note[2] - note[1] >= tick]:
            first = [mido.MetaMessage("track_name", name=name)]
            first += [] if program is None else [mido.Message("program_change", channel=channel, program=program)]
            played = [*((0.0, message) for message in first), *_messages(notes, channel)]
            file.tracks.append(_track(played, tempo, sheet.seconds, down=name == "melody"))
    with atomic_path(path) as temporary:
        file.save(temporary)


def _hits(onsets: Sequence[float]) -> list[Note]:
    """Short notes, each over before the next."""
    ends = [*onsets[1:], float("inf")]
    return [(_HIT, time, min(time + _HIT_SECONDS, end)) for time, end in zip(onsets, ends, strict=False)]


def _messages(notes: Iterable[Note], channel: int) -> list[Event]:
    offs = [(offset, mido.Message("note_off", channel=channel, note=pitch)) for pitch, _, offset in notes]
    return offs + [(onset, mido.Message("note_on", channel=channel, note=pitch, velocity=90)) for pitch, onset, _ in notes]


def _track(events: Iterable[Event], tempo: int, seconds: float, down: bool = False) -> mido.MidiTrack:
    """Events in seconds -> a track; of one tick those that come first in `events` stand first. Times go to the nearest tick, or down."""
    ticks = Fraction(TICKS * 1_000_000, tempo)  # a second

    def tick(time: float) -> int:
        exact = ticks * Fraction(time)
        return math.floor(exact + _NEAR) if down else round(exact)

    track, now = mido.MidiTrack(), 0
    for place, message in sorted(((tick(time), message) for time, message in events), key=lambda event: event[0]):
        track.append(message.copy(time=place - now))
        now = place
    track.append(mido.MetaMessage("end_of_track", time=max(round(ticks * Fraction(seconds)) - now, 0)))
    return track
