"""What a piece is made of: chords of the vocabulary and the scales of melodies; parts to render, and annotations in seconds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random

from jasco_pl.notation import harmony
from jasco_pl.notation.harmony import TYPES

NO_CHORD = "N"
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
}


@dataclass(frozen=True)
class Chord:
    """A root pitch class 0..11 and one of `TYPES`."""

    root: int
    kind: str

    @property
    def tones(self) -> tuple[int, ...]:
        """Pitch classes above the bass, root first: the foreign tone of "/b7" and "/9" lies in the bass alone."""
        steps = harmony.INTERVALS[self.kind]
        return tuple((self.root + step) % 12 for step in (steps[:3] if self.kind in ("/b7", "/9") else steps))

    @property
    def bass(self) -> int:
        """Pitch class of the lowest note."""
        degree = self.kind.partition("/")[2]
        return (self.root + (harmony.BASS[degree][1] if degree else 0)) % 12

    @property
    def label(self) -> str:
        """Chordino's spelling, e.g. `Am7`, `D/F#`, `C7/E`."""
        return harmony.LABELS[self.root * len(TYPES) + TYPES.index(self.kind)]


def scale_for(key: int, mode: str, chord: Chord) -> tuple[int, ...]:
    """Pitch classes a melody may step through over `chord`: the key's scale without tones that rub against altered chord tones."""
    scale = {(key + step) % 12 for step in SCALES[mode]}
    tones = set(chord.tones)
    foreign = tones - scale
    kept = {pc for pc in scale if pc in tones or not any((pc - tone) % 12 in (1, 11) for tone in foreign)}
    return tuple(sorted(kept | tones))


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
class Passage:
    """A section of a piece, as it is played.

    Attributes:
        start: in seconds; it lasts until the next one, or to the end.
        name: kind of section, a key of `SCENES`.
        roles: parts that play in it.
        lead_out: whether drums, which do not play in it, lead from it to the next.
        level: mean level in dB against the piece's loudest.
        change: level at its end against its beginning, dB.
    """

    start: float
    name: str
    roles: frozenset[str]
    lead_out: bool
    level: float
    change: float


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
        sections: in order; none where they do not differ (edition 1).
        dynamics: (time, dB) of the level, linear between; empty for an even one (edition 1).
        edition: see `compose.edition`.
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
    sections: tuple[Passage, ...] = ()
    dynamics: tuple[tuple[float, float], ...] = ()
    edition: int = 1


def generator(seed: int, split: str, index: int, purpose: str) -> Random:
    """The generator of one piece and purpose: a hash, so that splits and pieces never share a stream."""
    digest = hashlib.sha256(f"jasco-compose/{seed}/{split}/{index}/{purpose}".encode()).digest()
    return Random(int.from_bytes(digest[:16], "big"))
