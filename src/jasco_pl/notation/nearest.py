"""The vocabulary's chord that keeps most of what a symbol says."""

from __future__ import annotations

import functools
from typing import NamedTuple

from jasco_pl.notation import harmony


class Sounding(NamedTuple):
    """What a chord symbol says, in pitch classes (0 = C).

    Attributes:
        root: -1 for no chord, -2 for an unknown one.
        bass: the lowest.
        weights: of all twelve: 0 where a note is silent, 1 for the chord's own, 0.5 for what is added.
        third, seventh: those that tell what kind of chord it is, None where it has none.
    """

    root: int
    bass: int
    weights: tuple[float, ...]
    third: int | None = None
    seventh: int | None = None


NO_CHORD, UNKNOWN = Sounding(-1, -1, ()), Sounding(-2, -2, ())


@functools.cache
def nearest(chord: Sounding) -> tuple[str, bool, bool]:
    """The label with most in common, whether it has the same notes and bass, and whether it has the same root.

    The same notes over the same bass come first, whatever the name: Am/F is Fmaj7. Otherwise the weight of the shared pitch classes over
    the weight of all that sound in either, and something for what tells a chord: its root, its bass, its third and its seventh. So Gsus4 is
    G rather than C/G, C7#9b5 is C7 and not Cm7b5, C13 is C7, and F9sus, in which the third is silent, is Eb/F. Of equals the simpler type
    (first in the vocabulary) is taken.
    """
    if chord.root < 0:
        return harmony.LABELS[harmony.N if chord is NO_CHORD or chord == NO_CHORD else harmony.UNK], True, True
    sounding = {note for note, weight in enumerate(chord.weights) if weight}

    def score(number: int) -> tuple[bool, float]:
        classes, low = harmony.intervals(number)
        shared = sum(chord.weights[note] for note in classes)
        every = sum(chord.weights) + len(classes - sounding)
        told = 0.18 * (number // 16 == chord.root) + 0.3 * (low == chord.bass)
        told += 0.3 * (chord.third in classes) + 0.04 * (chord.seventh in classes)
        return (classes, low) == (sounding, chord.bass), round(shared / every + told, 6)

    best = max(range(harmony.N), key=score)
    return harmony.label(best), score(best)[0], best // 16 == chord.root
