"""What all metrics that gather state share, so that updates stream and states of separate runs or processes can be merged.

`ClipFigures` keeps one figure a clip; `embedding_rows`, `flat` and `stored_rows` keep embeddings. Both are rows that torchmetrics gathers
from processes that saw different numbers of them.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from jasco_pl.metrics.report import Figure
from jasco_pl.system.errors import UserError

# A process that made no clip, and a network that heard none, have nothing to add: no reason to warn.
warnings.filterwarnings("ignore", message="The ``compute`` method of metric")


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


class ClipFigures(StreamingMetric):
    """One figure of many clips; each weighs the same, whatever its length, and however the clips are split over processes.

    A clip for which the figure is undefined (NaN) counts in the order of the clips, but not in their mean.
    """

    rows: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("rows", default=[], dist_reduce_fx="cat")
        self.set_dtype(torch.float64)  # also of the empty vector that a process without clips sends

    def update(self, value: float, position: int) -> None:
        """Add a clip: its figure, and which of all clips it is, so that the order in which they are made does not matter."""
        self.rows.append(torch.tensor([position, value], dtype=torch.float64, device=self.device))

    def compute(self) -> Tensor:
        """The clips' figures [N], by position."""
        if isinstance(self.rows, list) and not self.rows:
            return torch.zeros(0, dtype=torch.float64)
        positions, values = dim_zero_cat(self.rows).reshape(-1, 2).T
        return values[positions.argsort(stable=True)].cpu()

    def figure(self) -> Figure:
        """Their mean and its 95 % bootstrap interval; absent where it is defined for no clip."""
        return Figure.of(np.atleast_1d(self.compute().numpy()))


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
