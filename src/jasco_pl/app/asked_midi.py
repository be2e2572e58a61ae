"""What a job was asked for as MIDI, to be opened beside its sound in a sequencer."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from typing import Any

import pretty_midi

from jasco_pl.app.schema import Make
from jasco_pl.notation import harmony

_VOICES = {"kick": 36, "snare": 38, "hat": 42, "open hat": 46, "clap": 39, "tom": 45}
_BASS, _CHORD = 36, 60  # lowest notes of the two hands
_HIT = 0.1
Event = tuple[int, float, float, int]


def as_midi(make: Make, chords: Sequence[Sequence[Any]], seconds: float) -> bytes:
    """Tracks for the chords, the melody and the drum pattern, those that were asked for and are no recording.

    Args:
        make: what was asked for.
        chords: as they were read, [label, start].
        seconds: length of the clip.
    """
    file = pretty_midi.PrettyMIDI(initial_tempo=make.bpm or 120.0)
    if chords:
        _add(file, "chords", 0, _chord_notes(chords, seconds))
    if make.melody is not None and make.melody.notes:
        _add(file, "melody", 73, [(pitch, start, end, 100) for pitch, start, end in make.melody.notes])
    if make.drums is not None and make.drums.pattern is not None:
        _add(file, "drums", 0, _hits(make, seconds), drums=True)
    out = io.BytesIO()
    file.write(out)
    return out.getvalue()


def _add(file: pretty_midi.PrettyMIDI, name: str, program: int, notes: Sequence[Event], drums: bool = False) -> None:
    instrument = pretty_midi.Instrument(program, is_drum=drums, name=name)
    instrument.notes = [pretty_midi.Note(velocity, pitch, start, end) for pitch, start, end, velocity in notes]
    file.instruments.append(instrument)


def _chord_notes(chords: Sequence[Sequence[Any]], seconds: float) -> list[Event]:
    notes: list[Event] = []
    for (label, start), (_, end) in itertools.pairwise([*chords, ("N", seconds)]):
        number = harmony.index(label)
        if number >= harmony.N:
            continue
        classes, low = harmony.intervals(number)
        notes.append((_BASS + low, start, end, 80))
        notes += [(_CHORD + note, start, end, 70) for note in sorted(classes)]
    return notes


def _hits(make: Make, seconds: float) -> list[Event]:
    assert make.drums is not None
    assert make.drums.pattern is not None
    pattern, notes = make.drums.pattern, []
    step = 60 / (make.bpm or 120.0) / pattern.steps_per_beat
    steps = max(len(hits) for hits in pattern.voices.values())
    for place in range(round(seconds / step)):
        for voice, hits in pattern.voices.items():
            sign = hits[place % steps % len(hits)]
            start = (place + pattern.swing * (place % steps % 2)) * step
            if sign in "xX":
                notes.append((_VOICES[voice], start, start + _HIT, 115 if sign == "X" else 85))
    return notes
