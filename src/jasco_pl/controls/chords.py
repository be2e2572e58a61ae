"""Chords: a learned embedding of Chordino's vocabulary (paper, section 3.1: dimension 16)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from jasco_pl.controls.adherence import CHORDS
from jasco_pl.controls.base import Control, FrameGrid, Option, Reading
from jasco_pl.notation import harmony
from jasco_pl.notation.chord_text import parse_chords

BPM = Option(
    "bpm", "tempo to follow (control beat), and that of the chord line; without it, chords are spread evenly over the clip", kind="number"
)
METER = Option("meter", "meter of both (default %(default)s)", default="4/4")


class Chords(Control):
    """Chord index of every frame -> embedding; row `harmony.NULL` stands for "no chord given".

    Args:
        dim: embedding dimension.
        pitch_class_init: start the rows from the chord's pitch classes and bass rather than from noise, which lets small models on small
            data learn harmony sooner (docs/decisions.md); needs dim >= 12.
    """

    name = field = "chords"
    option = Option("chords", 'chord line or .lab file, e.g. "C | G7 | Am F"', metavar="LINE")
    details = (BPM, METER)
    dtype = torch.long
    null = harmony.NULL
    adherence = CHORDS

    def __init__(self, dim: int = 16, pitch_class_init: bool = False) -> None:
        super().__init__()
        self.channels = dim
        self.embedding = nn.Embedding(harmony.SIZE + 1, dim)
        if pitch_class_init:
            if dim < 12:
                raise ValueError(f"pitch_class_init needs dim of at least 12, not {dim}.")
            with torch.no_grad():
                self.embedding.weight.mul_(0.1)
                for index in range(harmony.SIZE):
                    self.embedding.weight[index, :12] += torch.as_tensor(harmony.pitch_classes(index), dtype=torch.float32)

    def read(self, asked: Mapping[str, Any], grid: FrameGrid) -> Reading:
        """Chords in any usual spelling, or the path of a file (see `parse_chords`)."""
        changes = parse_chords(asked["chords"], bpm=asked["bpm"], meter=asked["meter"], duration=grid.seconds)
        raw = harmony.changes_to_frames([(change.label, change.start) for change in changes], grid.frames, grid.frame_rate)
        return Reading(raw, list(dict.fromkeys(change.note for change in changes if change.note)), changes)

    def forward(self, raw: Tensor) -> Tensor:
        return self.embedding(raw)
