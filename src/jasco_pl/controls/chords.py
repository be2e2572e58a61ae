"""Chords: a learned embedding of Chordino's vocabulary (paper, section 3.1: dimension 16)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from jasco_pl.controls import options
from jasco_pl.controls.adherence import CHORDS
from jasco_pl.controls.base import Control, FrameGrid, Reading
from jasco_pl.notation import harmony
from jasco_pl.notation.chord_text import read_chords


class Chords(Control):
    """Chord index of every frame -> embedding; row `harmony.NULL` stands for "no chord given".

    Args:
        dim: embedding dimension.
        pitch_class_init: start the rows from the chord's pitch classes and bass rather than from noise, which lets small models on small
            data learn harmony sooner (docs/decisions.md); needs dim >= 12.
    """

    name = field = "chords"
    option, details = options.CHORDS, (options.BPM, options.METER, options.KEY)
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
        """Chords in any usual spelling, or the path of a file (see `read_chords`)."""
        read = read_chords(asked["chords"], asked["bpm"], asked["meter"], grid.seconds, asked["key"])
        # frames end later than whole bars: a change that none of them hears is none
        changes = [change for change in read.changes if harmony.first_frame(change.start, grid.frame_rate) < grid.frames]
        raw = harmony.changes_to_frames([(change.label, change.start) for change in changes], grid.frames, grid.frame_rate)
        return Reading(raw, read.notes, changes)

    def forward(self, raw: Tensor) -> Tensor:
        return self.embedding(raw)
