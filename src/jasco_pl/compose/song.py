"""A composed piece as data: parts to render, and annotations in seconds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Event:
    """A MIDI note in seconds; velocity 1..127."""

    pitch: int
    start: float
    end: float
    velocity: int


@dataclass(frozen=True)
class Part:
    """One instrument's notes.

    Attributes:
        role: `comp`, `second`, `pad`, `bass`, `melody` or `drums`.
        name: a key of `INSTRUMENTS`; for drums the words a caption uses.
        program: GM program, or preset of the drum bank.
        level: loudness in dB against the comping; for drums against everything else.
    """

    role: str
    name: str
    program: int
    level: float
    events: list[Event]


@dataclass(frozen=True)
class Song:
    """A composed piece.

    Attributes:
        bpm: pulses a minute; the pulse is a quarter, in 6/8 a dotted quarter.
        layout: which parts there are, e.g. `no drums, melody` or `chords only`.
        chords: (label, start); each holds until the next, the last one to the end, through its decay.
        melody: (MIDI pitch, start, end), never overlapping.
        drums: (drum name, time, velocity 0..1).
        beats: (time, number in the bar from 1), one a pulse.
    """

    style: str
    meter: str
    bpm: int
    key: str
    mood: str
    layout: str
    duration: float
    parts: list[Part]
    chords: list[tuple[str, float]]
    melody: list[tuple[int, float, float]]
    drums: list[tuple[str, float, float]]
    beats: list[tuple[float, int]]


def generator(seed: int, split: str, index: int, purpose: str) -> Random:
    """The generator of one piece and purpose: a hash, so that splits and pieces never share a stream."""
    digest = hashlib.sha256(f"jasco-compose/{seed}/{split}/{index}/{purpose}".encode()).digest()
    return Random(int.from_bytes(digest[:16], "big"))
