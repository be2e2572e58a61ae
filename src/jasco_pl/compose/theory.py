"""Pitch classes, Chordino's sixteen chord types and the scales that melodies are drawn from.

The vocabulary itself is `controls.harmony`; what composing needs of it is repeated here (a test holds the two together),
because importing the controls brings torch into every rendering process.
"""

from __future__ import annotations

from dataclasses import dataclass

ROOTS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
TYPES = ("", "m", "6", "7", "maj7", "m7", "m6", "m7b5", "dim", "aug", "/3", "/5", "/b7", "/9", "7/3", "m7b5/b7")
NO_CHORD = "N"
# Keys by pitch class, spelled with the fewer accidentals.
MAJOR_KEYS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR_KEYS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")

# Upper structure in semitones above the root; for "/b7" and "/9" the foreign tone lies in the bass alone.
UPPER: dict[str, tuple[int, ...]] = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "6": (0, 4, 7, 9),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10),
    "m6": (0, 3, 7, 9),
    "m7b5": (0, 3, 6, 10),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "/3": (0, 4, 7),
    "/5": (0, 4, 7),
    "/b7": (0, 4, 7),
    "/9": (0, 4, 7),
    "7/3": (0, 4, 7, 10),
    "m7b5/b7": (0, 3, 6, 10),
}
BASS: dict[str, int] = {"/3": 4, "/5": 7, "/b7": 10, "/9": 2, "7/3": 4, "m7b5/b7": 10}

_LETTERS = "CDEFGAB"
_NATURAL = (0, 2, 4, 5, 7, 9, 11)
# Letters between root and bass, so that D/F# and C#/E# are spelled as Chordino spells them.
_BASS_LETTER = {"/3": 2, "/5": 4, "/b7": 6, "/9": 1, "7/3": 2, "m7b5/b7": 6}

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
        """Pitch classes of the upper structure, root first."""
        return tuple((self.root + step) % 12 for step in UPPER[self.kind])

    @property
    def bass(self) -> int:
        """Pitch class of the lowest note."""
        return (self.root + BASS.get(self.kind, 0)) % 12

    @property
    def label(self) -> str:
        """Chordino's spelling, e.g. `Am7`, `D/F#`, `C7/E`."""
        name = ROOTS[self.root]
        if self.kind not in BASS:
            return name + self.kind
        letter = (_LETTERS.index(name[0]) + _BASS_LETTER[self.kind]) % 7
        accidental = (self.bass - _NATURAL[letter] + 6) % 12 - 6
        spelled = _LETTERS[letter] + ("#" * accidental if accidental > 0 else "b" * -accidental)
        return f"{name}{self.kind.split('/')[0]}/{spelled}"


ALL_CHORDS = tuple(Chord(root, kind) for root in range(12) for kind in TYPES)


def scale_for(key: int, mode: str, chord: Chord) -> tuple[int, ...]:
    """Pitch classes a melody may step through over `chord`: the key's scale without tones that rub against altered chord tones."""
    scale = {(key + step) % 12 for step in SCALES[mode]}
    tones = set(chord.tones)
    foreign = tones - scale
    kept = {pc for pc in scale if pc in tones or not any((pc - tone) % 12 in (1, 11) for tone in foreign)}
    return tuple(sorted(kept | tones))
