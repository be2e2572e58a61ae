"""What all metrics here share: states that are sums or lists, so that updates stream and states of separate runs can be merged.

The state that every metric here shares: a sum over clips and how many there were.

Embeddings kept as the state of a metric: rows that torchmetrics gathers from processes that saw different numbers of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from jasco_pl.system.errors import UserError


class StreamingMetric(Metric):
    """A metric whose figure after `merge_state` is that of both states.

    torchmetrics 1.9 leaves a figure computed before the merge in its cache and returns it again.
    """

    full_state_update = False
    is_differentiable = False

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the state of another metric of the same class and arguments, or its `metric_state`."""
        super().merge_state(incoming_state)
        self._computed = None
        self._update_count += incoming_state.update_count if isinstance(incoming_state, Metric) else 1


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


def embedding_rows(embeddings: Tensor, dim: int, name: str) -> Tensor:
    """Embeddings [..., D] as rows [N, D].

    Raises:
        UserError: they have another dimension than the metric's, or hold NaN or infinity.
    """
    if embeddings.ndim < 1 or embeddings.shape[-1] != dim:
        raise UserError(f"{name} compares embeddings of {dim} dimensions; these have shape {tuple(embeddings.shape)}.")
    rows = embeddings.detach().reshape(-1, dim)
    if not bool(torch.isfinite(rows).all()):
        raise UserError(f"{name} was given embeddings that hold NaN or infinity.")
    return rows


def flat(rows: Tensor) -> Tensor:
    """What goes into the list state: one dimension, because torchmetrics gathers a process that has seen nothing as an empty vector."""
    return rows.float().reshape(-1)


def stored_rows(state: list[Tensor] | Tensor, dim: int) -> Tensor:
    """All rows [N, D] of a list state of `flat` vectors, in an order that does not depend on which process saw which."""
    if isinstance(state, list) and not state:
        return torch.zeros(0, dim)
    rows = dim_zero_cat(state).reshape(-1, dim)
    order = np.lexsort(rows[:, : min(dim, 4)].cpu().numpy().T)
    return rows[torch.from_numpy(order).to(rows.device)]
