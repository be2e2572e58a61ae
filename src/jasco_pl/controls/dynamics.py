"""Dynamics: how loud the music is from moment to moment, in decibels below its loudest moment (after Music ControlNet, Wu et al. 2023)."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jasco_pl.audio.files import AUDIO_SUFFIXES
from jasco_pl.audio.long_audio import InMemory
from jasco_pl.controls.adherence import Adherence
from jasco_pl.controls.audio import read_waveform
from jasco_pl.controls.base import Control, FrameGrid, Option, Reading
from jasco_pl.extract.dynamics import FLOOR, NOTHING, levels
from jasco_pl.extract.heard import Heard, Part
from jasco_pl.metrics.dynamics import dynamics_correlation, dynamics_error
from jasco_pl.metrics.report import Column
from jasco_pl.pages.curve import Curve
from jasco_pl.pages.lanes import Side
from jasco_pl.system.errors import UserError

SHAPES: dict[str, tuple[tuple[float, float], ...]] = {
    "steady": ((0.0, -3.0),),
    "build": ((0.0, -24.0), (1.0, 0.0)),
    "fade": ((0.0, 0.0), (0.4, -4.0), (1.0, -40.0)),
    "swell": ((0.0, -20.0), (0.5, 0.0), (1.0, -20.0)),
    "break": ((0.0, -2.0), (1 / 3, -2.0), (0.36, -18.0), (0.64, -18.0), (2 / 3, -2.0)),
    "drop": ((0.0, -16.0), (0.48, -10.0), (0.52, 0.0)),
}
"""Words that can be asked for: (share of the clip, level in dB), straight between."""
_USUAL, _SPREAD = -10.0, 10.0  # dB: what the projection sees as 0 and as 1


class DynamicsAdherence(Adherence):
    """The course of the level, in dB; how loud the clip is as a whole does not count."""

    lane = Curve("dynamics", FLOOR, 3.0)
    columns = (Column("dynamics_correlation", "dynamics, correlation", 3, True), Column("dynamics_error", "dynamics error, dB", 2, False))

    def asked(self, conditions: Mapping[str, Side], given: Heard | None) -> Side | None:
        """Levels [T], NaN where none was asked for."""
        raw = conditions.get(self.name)
        if raw is None or not (raw < NOTHING / 2).any():
            return None
        return np.where(raw < NOTHING / 2, raw, np.nan).astype(np.float64)

    def heard(self, clip: Heard, asked: Side | None = None) -> Side | None:
        return clip.levels

    def figures(self, clip: Heard, asked: Side, part: Part) -> dict[str, float]:
        pair = clip.levels[part.frames], asked[part.frames]
        return {"dynamics_correlation": dynamics_correlation(*pair), "dynamics_error": dynamics_error(*pair)}


class Dynamics(Control):
    """Level of every frame in dB (0 at the loudest moment of the piece, -60 in silence), and whether one is given -> a projection.

    What the level is relative to is the whole piece or recording, not the crop: a crop of a soft passage says that it is soft, and a clip
    that is made window by window goes on at its level. Nothing given is 100, in single frames too.

    Args:
        dim: of the projection.
    """

    name = field = "dynamics"
    option = Option(
        "dynamics",
        f'loudness over time, dB below the loudest moment: "0:-30, 5:-10, 8:0", a word ({", ".join(SHAPES)}), or audio to take it from',
        metavar="CURVE",
    )
    dtype = torch.float32
    null = NOTHING
    adherence = DynamicsAdherence()

    def __init__(self, dim: int = 4) -> None:
        super().__init__()
        self.channels = dim
        self.projection = nn.Linear(2, dim)

    @torch.inference_mode()
    def read(self, asked: Mapping[str, Any], grid: FrameGrid) -> Reading:
        """Points (see `read_points`), a word of `SHAPES`, an audio file, a waveform [1, S] at the codec's rate, or levels [T] as an array.

        Between points levels go in a straight line; before the first and after the last they stay. What audio and arrays leave of the
        clip is free.
        """
        value = asked[self.name]
        middles = (np.arange(grid.frames) + 0.5) / grid.frame_rate
        if isinstance(value, np.ndarray):
            return self._reading(_checked(value), grid)
        if isinstance(value, Tensor) or _is_file(value):
            wav = read_waveform(value, grid.codec.sample_rate, self.name, grid.frames * grid.codec.hop)
            return self._reading(levels(InMemory(wav, grid.codec.sample_rate), -(-wav.shape[-1] // grid.codec.hop), grid.frame_rate), grid)
        word = value.strip().lower() if isinstance(value, str) else ""
        points = [(share * grid.seconds, level) for share, level in SHAPES[word]] if word in SHAPES else read_points(value)
        times, decibels = zip(*points, strict=True)
        return Reading(np.interp(middles, times, decibels).astype(np.float32))

    def _reading(self, found: NDArray[np.float32], grid: FrameGrid) -> Reading:
        raw = self.null_frames(1, grid.frames)[0].numpy()
        raw[: len(found)] = found[: grid.frames]
        ends = len(found) / grid.frame_rate
        return Reading(raw, [f"dynamics: given up to {ends:.2f} s; free after it"] if len(found) < grid.frames else [])

    def forward(self, raw: Tensor) -> Tensor:
        known = raw < NOTHING / 2
        level = torch.where(known, (raw - _USUAL) / _SPREAD, torch.zeros_like(raw))
        return self.projection(torch.stack([known.to(raw.dtype), level], dim=-1).to(self.projection.weight.dtype))


def _is_file(value: Any) -> bool:
    return isinstance(value, os.PathLike) or (isinstance(value, str) and Path(value.strip()).suffix.lower() in AUDIO_SUFFIXES)


def read_points(written: str | Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points of a curve, (second, dB), rising in time.

    Args:
        written: `0:-30, 5:-10` (second:dB, with commas, semicolons or spaces between), or pairs of numbers.

    Raises:
        UserError: something else is written, times do not rise, or a level lies outside -60..0 dB.
    """
    try:
        if isinstance(written, str):
            parts = [part.split(":") for part in written.replace(";", " ").replace(",", " ").split()]
            points = [(float(time.removesuffix("s")), float(level.lower().removesuffix("db"))) for time, level in parts]
        else:
            points = [(float(time), float(level)) for time, level in written]
        if not points:
            raise ValueError
    except (TypeError, ValueError):
        raise UserError(
            f"the dynamics {str(written)[:40]!r} are not understood; write points as in '0:-30, 5:-10' (second:dB), "
            f"{', '.join(SHAPES)}, or the name of an audio file."
        ) from None
    for (before, _), (after, _) in pairwise(points):
        if not before < after:
            raise UserError(f"the dynamics have a point at {after:g} s after one at {before:g} s; times must rise.")
    for time, level in points:
        if not (time >= 0 and math.isfinite(time) and FLOOR <= level <= 0):
            raise UserError(
                f"the dynamics have {level:g} dB at {time:g} s; levels lie between {FLOOR:g} and 0 (the loudest moment), times from 0 on."
            )
    return points


def _checked(found: NDArray[Any]) -> NDArray[np.float32]:
    if found.ndim != 1 or not len(found) or found.dtype.kind not in "fiu" or not ((found >= FLOOR) & (found <= 0)).all():
        raise UserError(f"the dynamics array has shape {list(found.shape)}, where [frames] of levels from {FLOOR:g} to 0 dB is accepted.")
    return found.astype(np.float32)
