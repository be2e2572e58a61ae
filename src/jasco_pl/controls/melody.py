"""Melody: one of 53 semitones (MIDI 43-95) or none a frame, one-hot and projected (paper, section 3.1: dimension 16)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from jasco_pl.controls.adherence import MELODY
from jasco_pl.controls.base import Control
from jasco_pl.notation.melody import BINS, UNVOICED


class Melody(Control):
    """Melody bin of every frame (-1 = none) -> linear projection of its one-hot vector.

    As in the paper's binary matrix, "no melody given" and "no note here" are the same: a zero column.
    """

    name = "melody"
    field = asked_by = "melody"
    null = UNVOICED
    adherence = MELODY

    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.channels = dim
        self.projection = nn.Linear(BINS, dim)

    def forward(self, raw: Tensor) -> Tensor:
        one_hot = functional.one_hot(raw + 1, BINS + 1)[..., 1:]
        return self.projection(one_hot.to(self.projection.weight.dtype))
