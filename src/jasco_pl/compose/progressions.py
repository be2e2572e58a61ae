"""Chord progressions: common ones by family, coloured with sevenths, sixths and slash chords, and a tail of everything."""

from __future__ import annotations

import re
from random import Random

from jasco_pl.compose.theory import SCALES, TYPES, Chord

# Degrees are counted in the major scale whatever the mode (b3, b6, b7 in minor); what follows the degree is the chord type.
FAMILIES: dict[str, dict[str, tuple[str, ...]]] = {
    "pop": {
        "major": (
            "1 5 6m 4",
            "6m 4 1 5",
            "1 6m 4 5",
            "1 4 6m 5",
            "4 1 5 6m",
            "1 3m 4 5",
            "1 5/3 6m 1/5 4 1/3 2m 5",
            "4 5 3m 6m",
            "1 1/3 4 5",
            "1 b7 4 1",
            "2m 4 1 5",
            "1 5/3 6m 4",
            "4 4m 1 1",
            "1 3 4 4m",
            "1 1aug 1 6m",
            "1 5/3 1/b7 4/3",
        ),
        "minor": (
            "1m b6 b3 b7",
            "1m b7 b6 b7",
            "1m 4m b6 5",
            "b6 b7 1m 1m",
            "1m b3 b7 4m",
            "1m b6 4m 5",
            "1m 5m b6 b7",
            "1m b7/3 b3 b6",
            "1m 4m b7 b3",
            "1m b7 b6 5",
            "1m 2dim 5 1m",
            "4m 1m 5 1m",
        ),
    },
    "folk": {
        "major": (
            "1 4 1 5",
            "1 1 4 1 1 6m 5 1",
            "1 5 1 5 4 1 5 1",
            "1 6m 2m 5",
            "1 4 5 1",
            "1 b7 4 1",
            "1 5/3 6m 5 4 1/3 5 1",
            "1 4/5 1 5",
            "1 2m 4 1",
            "6m 5 4 5",
            "1 1/3 4 1/5 4 1/3 2m 5",
        ),
        "minor": ("1m b7 1m 5", "1m 4m 1m 5", "1m b3 b7 1m", "1m b7 b6 b7", "1m 1m b7 b7", "1m b3 4m 5", "1m b6 b7 1m"),
    },
    "jazz": {
        "major": (
            "2m7 57 1maj7 1maj7",
            "1maj7 6m7 2m7 57",
            "3m7 67 2m7 57",
            "1maj7 #1dim 2m7 57",
            "2m7 57 3m7 67",
            "4maj7 4m6 3m7 67",
            "1maj7 4maj7 7m7b5 37",
            "16 67/3 2m7 57",
            "1maj7 27 2m7 57",
            "1maj7 b3dim 2m7 57",
            "4m7 b77 1maj7 67",
            "16 1dim 2m7 57",
            "1maj7 37/3 6m7 57",
            "#4m7b5 4m6 3m7 b3dim 2m7 57 16 57",
            "1maj7 1aug 16 17",
        ),
        "minor": (
            "2m7b5 57 1m6 1m6",
            "1m7 4m7 2m7b5 57",
            "1m6 b6maj7 2m7b5 57",
            "1m7 b77 b6maj7 57",
            "4m7 b77 b3maj7 b6maj7 2m7b5 57 1m6 1m6",
            "1m6 6m7b5 2m7b5 57",
            "1m 5/3 1m7 4/3",
            "1m6 b6maj7 2m7b5/b7 57/3",
            "1m7 47 1m7 57",
        ),
    },
    "blues": {
        "major": (
            "17 17 17 17 47 47 17 17 57 47 17 57",
            "17 47 17 17 47 47 17 17 57 47 17 57",
            "17 47 17 57",
            "17 17 47 17 57 47 17 57",
            "17 67 27 57",
            "17 17/3 47 #4dim 1/5 57 17 57",
        ),
        "minor": ("1m7 1m7 1m7 1m7 4m7 4m7 1m7 1m7 b67 57 1m7 57", "1m7 4m7 1m7 57", "1m6 4m7 b67 57", "1m 1m7 4m7 57"),
    },
    "modal": {
        "major": (
            "1maj7 4maj7",
            "1 1/9",
            "1maj7 2/b7",
            "1 2/b7 4m6 1/5",
            "4maj7 1/3 2m7 16",
            "1 b7/9 4 1",
            "1 5/9 4maj7 1",
            "4/9 5/b7 1/3 6m7",
        ),
        "minor": ("1m7 47", "1m7 b7/9 b6maj7 b7", "1m b6maj7", "1m7 4m7", "b6maj7 b7/9 1m7 1m7", "1m b3/9 b6/9 b7", "1m 5m7 b6maj7 4m6"),
    },
    "classical": {
        "major": (
            "1 5/3 6m 3m 4 1/3 4 57",
            "1 4/5 57/3 1",
            "1 67/3 2m 57/3 1 4 1/5 57",
            "1 57/3 1 4 2m7 1/5 57 1",
            "1 4 7dim 3m 6m 2m 57 1",
            "1 5/b7 1/3 4m 1/5 57 1 1",
            "1 1aug 4 4m",
            "1 #1dim 2m #2dim 3m 4 57 1",
        ),
        "minor": (
            "1m 57/3 1m 4m",
            "1m 4m b7 b3 b6 2dim 57 1m",
            "1m 5/3 b7/3 4m6",
            "1m #7dim 1m 57",
            "1m b6 2m7b5 57",
            "1m 2m7b5/b7 57/3 1m",
            "1m b7/3 b3 b3aug b6 4m 57 1m",
            "1m #6dim #7dim 1m",
        ),
    },
    "vamp": {
        "major": ("17 47", "1 b7", "16 2m7", "17 17 47 17", "1 4", "1 2m7 1/3 4", "17 b77 47 17", "4maj7 3m7 2m7 57", "1 1/b7 4/3 4m6"),
        "minor": ("1m7 47", "1m7 4m7", "1m7 b77", "1m7 1m7 4m7 57", "1m b7", "1m7 b6maj7", "1m6 47", "1m7 b3 47 b6maj7"),
    },
}

_TOKEN = re.compile(r"^([b#]?)([1-7])(.*)$")
_MAJOR = SCALES["major"]
# Colours that keep a chord's function; drawn in proportion to a style's liking for them.
_SEVENTH = {"": ("maj7", "6", "7"), "m": ("m7", "m7", "m6"), "dim": ("m7b5", "m7b5")}
_SLASH = {"": ("/3", "/5", "/3", "/b7", "/9"), "7": ("7/3",), "m7b5": ("m7b5/b7",)}


def parse(progression: str, key: int) -> list[Chord]:
    """Read a line of degrees such as `1 5/3 6m 4` in the key with tonic pitch class `key`."""
    chords = []
    for token in progression.split():
        match = _TOKEN.match(token)
        if match is None or match[3] not in TYPES:
            raise ValueError(f"not a degree with a known chord type: {token!r}")
        shift = {"b": -1, "#": 1, "": 0}[match[1]]
        chords.append(Chord((key + _MAJOR[int(match[2]) - 1] + shift) % 12, match[3]))
    return chords


def _colour(chord: Chord, rng: Random, key: int, sevenths: float, slash: float) -> Chord:
    kind = chord.kind
    if kind in _SEVENTH and rng.random() < sevenths:
        kind = rng.choice(_SEVENTH[kind])
        if chord.kind == "" and (chord.root - key) % 12 == 7:
            kind = "7"
    if kind in _SLASH and rng.random() < slash:
        kind = rng.choice(_SLASH[kind])
    return Chord(chord.root, kind)


def wander(rng: Random, length: int) -> list[Chord]:
    """Any type on any root, uniformly over the types; roots move by the steps that ears accept most easily."""
    root = rng.randrange(12)
    chords = []
    for _ in range(length):
        chords.append(Chord(root, rng.choice(TYPES)))
        root = (root + rng.choice((5, 5, 7, 2, 10, 9, 3, 8, 4, 1, 11))) % 12
    return chords


def progression(rng: Random, key: int, mode: str, families: tuple[str, ...], sevenths: float, slash: float, tail: float) -> list[Chord]:
    """Draw the chords of one section (2 to 12 of them).

    Args:
        key: tonic pitch class.
        mode: `major` or `minor`.
        families: names in `FAMILIES`, drawn uniformly.
        sevenths, slash: chance that a plain chord takes a seventh or sixth, or another bass.
        tail: chance that a chord is replaced by one of uniformly drawn type on the same or any root.
    """
    chords = parse(rng.choice(FAMILIES[rng.choice(families)][mode]), key)
    coloured = [_colour(chord, rng, key, sevenths, slash) for chord in chords]
    for i in range(len(coloured)):
        if rng.random() < tail:
            root = coloured[i].root if rng.random() < 0.6 else rng.randrange(12)
            coloured[i] = Chord(root, rng.choice(TYPES))
    return coloured
