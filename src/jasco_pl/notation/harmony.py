"""The chord vocabulary: Chordino's 192 labels, no-chord and unknown, as integers that a model can embed.

An index is `16 * root + type` for the 192 chords, then `N` (no chord), `UNK` (a chord outside the vocabulary) and `NULL`
(the condition was dropped or not given; never a label). The labels are the ones Chordino writes (Mauch & Dixon 2010),
which are also the keys of audiocraft's chord map; the order is our own, because theirs is an accident of their data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jasco_pl.system.errors import UserError

ROOTS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
TYPES = ("", "m", "6", "7", "maj7", "m7", "m6", "m7b5", "dim", "aug", "/3", "/5", "/b7", "/9", "7/3", "m7b5/b7")
N = 192
UNK = 193
SIZE = 194
NULL = 194
# Names of keys by pitch class, spelled with the fewer accidentals.
MAJOR_KEYS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR_KEYS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
FRAME_RATE = 50

# Sounding intervals above the root, the bass included.
_MAJOR, _SEVENTH, _HALF_DIMINISHED = (0, 4, 7), (0, 4, 7, 10), (0, 3, 6, 10)
INTERVALS = {
    "": _MAJOR,
    "m": (0, 3, 7),
    "6": (0, 4, 7, 9),
    "7": _SEVENTH,
    "maj7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10),
    "m6": (0, 3, 7, 9),
    "m7b5": _HALF_DIMINISHED,
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "/3": _MAJOR,
    "/5": _MAJOR,
    "/b7": (*_MAJOR, 10),
    "/9": (*_MAJOR, 2),
    "7/3": _SEVENTH,
    "m7b5/b7": _HALF_DIMINISHED,
}
# A bass as (letters above the root, semitones above the root): Chordino spells it by letter, so C#/E#, not C#/F.
BASS = {"3": (2, 4), "5": (4, 7), "b7": (6, 10), "9": (1, 2)}
_LETTERS = "CDEFGAB"
_NATURAL = (0, 2, 4, 5, 7, 9, 11)


def _spell(root: str, degree: str) -> str:
    """Name of the note `degree` above `root`, by letter."""
    letters, semitones = BASS[degree]
    letter = (_LETTERS.index(root[0]) + letters) % 7
    shift = (ROOTS.index(root) + semitones - _NATURAL[letter] + 6) % 12 - 6
    return _LETTERS[letter] + ("#" * shift if shift > 0 else "b" * -shift)


def _label(root: str, chord_type: str) -> str:
    quality, slash, degree = chord_type.partition("/")
    return root + quality + (slash + _spell(root, degree) if slash else "")


LABELS: tuple[str, ...] = (*(_label(root, chord_type) for root in ROOTS for chord_type in TYPES), "N", "UNK")
_INDEX = {name: number for number, name in enumerate(LABELS)}


def _quality(chord_type: str) -> int:
    steps = INTERVALS[chord_type]
    if 3 in steps:
        return 2 if 6 in steps else 1
    return 3 if 8 in steps else 0


_TRIADS = np.array([root * 4 + _quality(kind) for root in range(12) for kind in TYPES] + [-1, -1, -1], dtype=np.int16)
_PITCH_CLASSES = np.zeros((SIZE + 1, 12), dtype=np.float32)
for _root in range(12):
    for _number, _kind in enumerate(TYPES):
        _PITCH_CLASSES[16 * _root + _number, [(_root + step) % 12 for step in INTERVALS[_kind]]] = 1.0


def label(index: int) -> str:
    """The label of a vocabulary index 0..193 (`NULL` has none)."""
    if not 0 <= index < SIZE:
        raise ValueError(f"chord index {index} is outside 0..{SIZE - 1}")
    return LABELS[index]


def index(label: str) -> int:
    """The index of a label spelled exactly as in the vocabulary; `chord_symbol.parse_chord` reads every other spelling.

    Raises:
        UserError: the label is not one of the 194.
    """
    try:
        return _INDEX[label]
    except KeyError:
        raise UserError(f"chord {label!r} is not in the vocabulary of Chordino's 194 labels such as C, F#m7, Bb/D or N.") from None


def intervals(index: int) -> tuple[frozenset[int], int]:
    """Sounding pitch classes (0 = C, bass included) and the bass pitch class; `(empty, -1)` for N, UNK and NULL."""
    if index >= N:
        return frozenset(), -1
    root, kind = divmod(index, 16)
    degree = TYPES[kind].partition("/")[2]
    bass = root + (BASS[degree][1] if degree else 0)
    return frozenset((root + step) % 12 for step in INTERVALS[TYPES[kind]]), bass % 12


def pitch_classes(index: ArrayLike) -> NDArray[np.float32]:
    """Pitch classes of indices [...] as 0/1 vectors [..., 12]; all zero for N, UNK and NULL."""
    return _PITCH_CLASSES[np.asarray(index)]


def triad(index: ArrayLike) -> NDArray[np.int16]:
    """Indices [...] reduced to `4 * root + {maj, min, dim, aug}` in 0..47; -1 for N, UNK and NULL."""
    return _TRIADS[np.asarray(index)]


def has_chords(frames: ArrayLike) -> bool:
    """Whether indices [T] name a chord half of the time at least; a drum solo has none to follow."""
    return bool((np.asarray(frames) >= N).mean() <= 0.5)


def transposed(index: ArrayLike, semitones: int) -> NDArray[np.int16]:
    """Indices [...] with every chord moved by that many semitones; N, UNK and NULL stay."""
    values = np.asarray(index, dtype=np.int16)
    return np.where(values < N, (values + len(TYPES) * semitones) % N, values)


def first_frame(time: float, frame_rate: float = FRAME_RATE) -> int:
    """The first frame k with k / frame_rate >= time (seconds).

    A millionth of a frame is forgiven: 3 * 0.1 s lies a rounding error after frame 15 and still belongs to it.
    """
    return math.ceil(time * frame_rate - 1e-6)


def changes_to_frames(changes: Sequence[tuple[str | int, float]], frames: int, frame_rate: float = FRAME_RATE) -> NDArray[np.int16]:
    """Spread chord changes over frames.

    Args:
        changes: (label or index, start in seconds), in any order; of two that reach the same frame the later one holds.
        frames: how many frames T to fill; changes after the last are dropped.
        frame_rate: frames a second.

    Returns:
        Indices [T]: a change holds from the first frame k with k / frame_rate >= start; N before the first change.
    """
    out = np.full(frames, N, dtype=np.int16)
    ordered = sorted(changes, key=lambda change: change[1])
    edges = [*(min(max(first_frame(start, frame_rate), 0), frames) for _, start in ordered), frames]
    for (chord, _), first, last in zip(ordered, edges, edges[1:], strict=False):
        out[first:last] = index(chord) if isinstance(chord, str) else chord
    return out


def frames_to_changes(frames: ArrayLike, frame_rate: float = FRAME_RATE) -> list[tuple[str, float]]:
    """The inverse: (label, start in seconds) of every run of equal indices in [T], the first at 0.0."""
    values = np.asarray(frames)
    starts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist()] if len(values) else []
    return [(label(int(values[start])), start / frame_rate) for start in starts]
