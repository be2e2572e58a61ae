"""Beats and downbeats: of composed pieces as they were played."""

from __future__ import annotations

import torch
from torch import Tensor

from jasco_pl.extract.stage import Field, Piece, Stage
from jasco_pl.notation.beats import NOWHERE, phases


class Beats(Stage):
    """How far every frame lies into its beat and its bar [T, 2], see `notation.beats.phases`."""

    name = "beats"
    fields = (Field("beats", torch.float16, NOWHERE),)
    annotations = ("beats",)

    def of_piece(self, piece: Piece) -> dict[str, Tensor]:
        beats = [(float(time), int(number)) for time, number in piece.note["beats"]]
        return {"beats": torch.from_numpy(phases(beats, piece.frames, self.codec.frame_rate)).half()}
