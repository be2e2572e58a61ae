"""Embeddings kept as the state of a metric: rows that torchmetrics gathers from processes that saw different numbers of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from jasco_pl.errors import UserError


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
