"""What a clip costs: the real-time factor, and how often the network was evaluated."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from jasco_pl.metrics.base import ClipMean, StreamingMetric
from jasco_pl.system.errors import UserError


class RealTimeFactor(StreamingMetric):
    """Seconds of computing for a second of audio; below 1 is faster than real time.

    Over processes both sides are added, so that the figure is that of one process: divide by their number for the whole.
    """

    higher_is_better = False
    computing: Tensor
    audio: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("computing", default=torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("audio", default=torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, computing: float, audio: float) -> None:
        """Add a run: its wall-clock seconds, and the seconds of audio that it made (of all clips of a batch together).

        Raises:
            UserError: a time is negative or not a number, or there was no audio.
        """
        if not (math.isfinite(computing) and math.isfinite(audio) and computing >= 0 and audio > 0):
            raise UserError(f"a real-time factor needs seconds of computing (>= 0) and of audio (> 0), not {computing} and {audio}.")
        self.computing += computing
        self.audio += audio

    def compute(self) -> Tensor:
        """The factor over all runs so far, a scalar; NaN before the first."""
        return self.computing / self.audio


class FunctionEvaluations(ClipMean):
    """Mean over clips of how many times the network saw the clip while it was solved.

    Every branch of guidance counts: with three branches a step of Euler's method is three evaluations.
    """

    higher_is_better = False

    def update(self, evaluations: int, clips: int = 1) -> None:
        """Add `clips` clips that took so many evaluations each; UserError for a negative number."""
        if evaluations < 0 or clips < 0:
            raise UserError(f"evaluations and clips are counted from 0, not {evaluations} and {clips}.")
        for _ in range(clips):
            self.add(float(evaluations))
