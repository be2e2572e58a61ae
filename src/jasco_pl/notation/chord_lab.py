"""Chords as a `.lab` file in Harte's syntax (Harte et al. 2005): `start end label` a line, as annotation tools and mir_eval read them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from jasco_pl.notation import harmony
from jasco_pl.system.files import atomic_path

# By the kinds of `harmony.TYPES`.
_SHORTHAND = {
    "": "maj",
    "m": "min",
    "6": "maj6",
    "7": "7",
    "maj7": "maj7",
    "m7": "min7",
    "m6": "min6",
    "m7b5": "hdim7",
    "dim": "dim",
    "aug": "aug",
    "/3": "maj/3",
    "/5": "maj/5",
    "/b7": "maj/b7",
    "/9": "maj/9",
    "7/3": "7/3",
    "m7b5/b7": "hdim7/b7",
}


def harte(label: str) -> str:
    """A label of the vocabulary in Harte's syntax: `F#m7b5` is `F#:hdim7`, `C/E` is `C:maj/3`, `N` stays, `UNK` is `X`."""
    index = harmony.index(label)
    if index >= harmony.N:
        return "N" if index == harmony.N else "X"
    root, kind = divmod(index, len(harmony.TYPES))
    return f"{harmony.ROOTS[root]}:{_SHORTHAND[harmony.TYPES[kind]]}"


def write_lab(path: str | os.PathLike[str], changes: Sequence[tuple[str, float]], seconds: float) -> int:
    """Write chord changes (label of the vocabulary, start in seconds, rising) up to `seconds`; before the first there is none (`N`).

    Returns:
        How many chords are written: equal ones that follow one another are one.
    """
    given = [("N", 0.0), *((label, max(start, 0.0)) for label, start in changes if start < seconds)]
    ends = [start for _, start in given[1:]] + [seconds]
    merged: list[tuple[str, float, float]] = []
    for (label, start), end in zip(given, ends, strict=True):
        if end <= start:
            continue
        if merged and merged[-1][0] == label:
            start = merged.pop()[1]
        merged.append((label, start, end))
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{start:.6f} {end:.6f} {harte(label)}\n" for label, start, end in merged), encoding="utf-8")
    return len(merged)
