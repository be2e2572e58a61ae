"""Dynamics: how loud the music is from moment to moment, in decibels below its loudest moment (after Music ControlNet, Wu et al. 2023)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jasco_pl.audio.files import AUDIO_SUFFIXES
from jasco_pl.audio.long_audio import InMemory
from jasco_pl.controls import options
from jasco_pl.controls.adherence import Adherence
from jasco_pl.controls.base import Control, FrameGrid, Reading
from jasco_pl.controls.waveforms import read_waveform
from jasco_pl.extract.dynamics import NOTHING, levels
from jasco_pl.extract.heard import Heard, Part
from jasco_pl.metrics.dynamics import dynamics_correlation, dynamics_error
from jasco_pl.metrics.report import Column
from jasco_pl.notation.level_curve import FLOOR, SHAPES, read_points
from jasco_pl.pages.curve import Curve
from jasco_pl.pages.lanes import Side
from jasco_pl.system.errors import UserError

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
    option = options.DYNAMICS
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
            found = _checked(value)
            return Reading(self._raw(found, grid), _given_up_to(found, grid.frames, grid.frame_rate))
        if isinstance(value, Tensor) or _is_file(value):
            notes: list[str] = []
            found = heard_levels(value, grid.codec.sample_rate, grid.codec.hop, grid.frames, notes)
            return Reading(self._raw(found, grid), notes)
        word = value.strip().lower() if isinstance(value, str) else ""
        points = [(share * grid.seconds, level) for share, level in SHAPES[word]] if word in SHAPES else read_points(value)
        times, decibels = zip(*points, strict=True)
        return Reading(np.interp(middles, times, decibels).astype(np.float32))

    def _raw(self, found: NDArray[np.float32], grid: FrameGrid) -> NDArray[np.float32]:
        raw = self.null_frames(1, grid.frames)[0].numpy()
        raw[: len(found)] = found[: grid.frames]
        return raw

    def forward(self, raw: Tensor) -> Tensor:
        known = raw < NOTHING / 2
        level = torch.where(known, (raw - _USUAL) / _SPREAD, torch.zeros_like(raw))
        return self.projection(torch.stack([known.to(raw.dtype), level], dim=-1).to(self.projection.weight.dtype))


def heard_levels(source: Any, sample_rate: int, hop: int, frames: int, notes: list[str]) -> NDArray[np.float32]:
    """Levels of a recording, a file or [1, S], for the frames of a clip that it reaches, [T]; `notes` takes how it was read.

    Raises:
        UserError: it cannot be read.
    """
    wav = read_waveform(source, sample_rate, Dynamics.name, frames * hop, notes)
    found = levels(InMemory(wav, sample_rate), -(-wav.shape[-1] // hop), sample_rate / hop)
    if (found <= FLOOR).all():
        notes.append(f"dynamics: silent: all of it asks for {FLOOR:g} dB")
    notes += _given_up_to(found, frames, sample_rate / hop)
    return found


def _given_up_to(found: NDArray[np.float32], frames: int, frame_rate: float) -> list[str]:
    return [f"dynamics: given up to {len(found) / frame_rate:.2f} s; free after it"] if len(found) < frames else []


def _is_file(value: Any) -> bool:
    return isinstance(value, os.PathLike) or (isinstance(value, str) and Path(value.strip()).suffix.lower() in AUDIO_SUFFIXES)


def _checked(found: NDArray[Any]) -> NDArray[np.float32]:
    if found.ndim != 1 or not len(found) or found.dtype.kind not in "fiu" or not ((found >= FLOOR) & (found <= 0)).all():
        raise UserError(f"the dynamics array has shape {list(found.shape)}, where [frames] of levels from {FLOOR:g} to 0 dB is accepted.")
    return found.astype(np.float32)
