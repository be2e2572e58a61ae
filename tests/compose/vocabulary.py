"""The 192 chords, in the vocabulary's order and by label."""

from __future__ import annotations

from jasco_pl.compose.song import Chord
from jasco_pl.notation.harmony import TYPES

ALL_CHORDS = tuple(Chord(root, kind) for root in range(12) for kind in TYPES)
CHORDS = {chord.label: chord for chord in ALL_CHORDS}
