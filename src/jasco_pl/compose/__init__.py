"""The embedded set: procedural songs with exact chords, melody, drum hits, beats and captions, rendered from a SoundFont."""

from __future__ import annotations

from jasco_pl.compose.composer import compose
from jasco_pl.compose.pieces import compose_set
from jasco_pl.compose.song import Song

__all__ = ["Song", "compose", "compose_set"]
