"""The state that every metric here shares: a sum over clips and how many there were."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from jasco_pl.metrics.streaming import StreamingMetric


class ClipMean(StreamingMetric):
    """Mean of one figure a clip, each clip weighing the same whatever its length.

    Memory is constant, `merge_state` and DDP add the two sums, so any split of the clips over processes gives the same mean.
    A clip for which the figure is undefined (NaN) is left out. With no clip left the mean is NaN.
    """

    total: Tensor
    clips: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", default=torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("clips", default=torch.tensor(0), dist_reduce_fx="sum")

    def add(self, value: float) -> None:
        """Count one clip's figure; NaN counts as no clip."""
        if not math.isnan(value):
            self.total += value
            self.clips += 1

    def compute(self) -> Tensor:
        """The mean over the clips so far, a scalar."""
        return self.total / self.clips
