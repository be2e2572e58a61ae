"""Beat: how far every frame lies into its beat and into its bar, so that a tempo and a meter can be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from jasco_pl.controls.base import Control, FrameGrid, Reading
from jasco_pl.controls.chords import BPM, METER
from jasco_pl.notation.beats import NOWHERE, phases, steady_beats

HARMONICS = 4  # of a beat: down to sixteenths


class Beat(Control):
    """Phases of beat and bar [T, 2] in 0..1 -> cosines and sines of their first multiples, and whether there are any -> a projection.

    A phase says in every frame what the last beat and the next are away, and its steps say the tempo; pulses would leave that to be
    gathered from a second around. Sums of the multiples peak on beats, eighths and sixteenths. A phase that is not known is -1, in
    single frames too, and of the bar alone where only beats are known.

    Args:
        dim: of the projection.
    """

    name, field = "beat", "beats"
    option, details = BPM, (METER,)
    dtype = torch.float32
    frame_shape = (2,)
    null = NOWHERE

    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.channels = dim
        self.projection = nn.Linear(2 * (2 * HARMONICS + 1), dim)

    def read(self, asked: Mapping[str, Any], grid: FrameGrid) -> Reading:
        """A steady tempo in beats a minute; the clip begins with a downbeat."""
        return Reading(phases(steady_beats(asked["bpm"], asked["meter"], grid.seconds), grid.frames, grid.frame_rate))

    def forward(self, raw: Tensor) -> Tensor:
        known = (raw >= 0).to(raw.dtype)
        angles = 2 * torch.pi * raw[..., None] * torch.arange(1, HARMONICS + 1, device=raw.device)
        waves = torch.cat([angles.cos(), angles.sin()], dim=-1) * known[..., None]
        features = torch.cat([known, waves.flatten(-2)], dim=-1)
        return self.projection(features.to(self.projection.weight.dtype))
