"""Beat: how far every frame lies into its beat and into its bar, so that a tempo and a meter can be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jasco_pl.controls import options
from jasco_pl.controls.adherence import Adherence
from jasco_pl.controls.base import Control, FrameGrid, Reading
from jasco_pl.extract import beats
from jasco_pl.extract.heard import Heard, Part
from jasco_pl.metrics.beats import TOLERANCE, WINDOW, beat_f1, tempo, tempo_error
from jasco_pl.metrics.report import Column
from jasco_pl.notation.beats import NOWHERE, beat_times, phases, steady_beats
from jasco_pl.notation.harmony import FRAME_RATE
from jasco_pl.pages.lanes import Events, Side

HARMONICS = 4  # of a beat: down to sixteenths


class _BeatLane(Events):
    """Beats [N, 2]: seconds, and 1 for a downbeat or another number."""

    def written(self, side: Side) -> list[float]:
        return super().written(side[:, 0])

    def draw(self, axes: Any, asked: Side | None, heard: Side | None, names: tuple[str, str]) -> str:
        return super().draw(axes, _seconds(asked), _seconds(heard), names)


def _seconds(side: Side | None) -> Side | None:
    return None if side is None else side[:, 0]


class BeatAdherence(Adherence):
    """Beats, downbeats and tempo as BeatNet hears them, against those that were asked for."""

    lane = _BeatLane("beat", WINDOW)
    columns = (
        Column("beat_f1", "beat F1", 3, True),
        Column("tempo_octaves", "tempo within 4 %, octaves apart", 3, True),
        Column("tempo_heard", "tempo heard, bpm", 1),
    )
    further = (
        Column("tempo_right", "tempo within 4 %", 3, True),
        Column("tempo_error", "tempo error, octaves apart", 3, False),
        Column("downbeat_f1", "downbeat F1", 3, True),
    )
    extracted = ("beats",)

    def missing(self) -> str | None:
        return None if beats.weights_file() else "BeatNet is not installed: `make setup` brings it."

    def asked(self, conditions: Mapping[str, Side], given: Heard | None) -> Side | None:
        """Beats [N, 2]: seconds, and 1 for a downbeat, 2 for another, 0 where bars are not known."""
        raw = conditions.get(self.name)
        times = np.zeros(0) if raw is None else beat_times(raw[:, 0], FRAME_RATE)
        if raw is None or not len(times):
            return None
        down = beat_times(raw[:, 1], FRAME_RATE)
        apart = np.abs(times[:, None] - down[None]).min(axis=1, initial=np.inf)
        return np.stack([times, np.where(apart < WINDOW, 1, 2) if len(down) else np.zeros(len(times))], axis=1)

    def heard(self, clip: Heard, asked: Side | None = None) -> Side | None:
        return None if self.missing() else clip.beats

    def figures(self, clip: Heard, asked: Side, part: Part) -> dict[str, float]:
        sides = (clip.beats, asked)
        found, wanted = (part.times(side[:, 0]) for side in sides)
        found_down, wanted_down = (part.times(side[side[:, 1] == 1, 0]) for side in sides)
        played, meant = tempo(found), tempo(wanted)
        figures = {"beat_f1": beat_f1(found, wanted), "downbeat_f1": beat_f1(found_down, wanted_down), "tempo_heard": played}
        if np.isnan(meant):
            return figures | dict.fromkeys(("tempo_error", "tempo_right", "tempo_octaves"), np.nan)
        off, apart = (tempo_error(played, meant, octaves) for octaves in (False, True))
        return figures | {"tempo_error": apart, "tempo_right": float(off <= TOLERANCE), "tempo_octaves": float(apart <= TOLERANCE)}


BEATS = BeatAdherence()


class Beat(Control):
    """Phases of beat and bar [T, 2] in 0..1 -> cosines and sines of their first multiples, and whether there are any -> a projection.

    A phase says in every frame what the last beat and the next are away, and its steps say the tempo; pulses would leave that to be
    gathered from a second around. Sums of the multiples peak on beats, eighths and sixteenths. A phase that is not known is -1, in
    single frames too, and of the bar alone where only beats are known.

    Args:
        dim: of the projection.
    """

    name, field = "beat", "beats"
    option, details = options.BPM, (options.METER,)
    dtype = torch.float32
    frame_shape = (2,)
    null = NOWHERE
    adherence = BEATS

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
