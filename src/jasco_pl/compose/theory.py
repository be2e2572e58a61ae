"""Chords of the vocabulary as composing needs them, and the scales that melodies are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

from jasco_pl.notation import harmony
from jasco_pl.notation.harmony import ROOTS, TYPES

NO_CHORD = "N"
# Keys by pitch class, spelled with the fewer accidentals.
MAJOR_KEYS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR_KEYS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")

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


ALL_CHORDS = tuple(Chord(root, kind) for root in range(len(ROOTS)) for kind in TYPES)


def scale_for(key: int, mode: str, chord: Chord) -> tuple[int, ...]:
    """Pitch classes a melody may step through over `chord`: the key's scale without tones that rub against altered chord tones."""
    scale = {(key + step) % 12 for step in SCALES[mode]}
    tones = set(chord.tones)
    foreign = tones - scale
    kept = {pc for pc in scale if pc in tones or not any((pc - tone) % 12 in (1, 11) for tone in foreign)}
    return tuple(sorted(kept | tones))
