"""KAD, kernel audio distance (Chung et al. 2025, arXiv 2502.15602): maximum mean discrepancy of embeddings, times 100.

Unlike the Frechet distance it assumes no Gaussians and its expectation does not depend on the number of samples.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from jasco_pl.errors import UserError
from jasco_pl.metrics.rows import embedding_rows, flat, stored_rows
from jasco_pl.metrics.streaming import StreamingMetric

SCALE = 100.0
_BLOCK = 1024
_FOR_MEDIAN = 4096


def median_distance(rows: Tensor) -> float:
    """Median distance between two of the rows [N, D]; of more than 4096, as many evenly chosen ones stand for all (pairs grow as N^2)."""
    if len(rows) > _FOR_MEDIAN:
        rows = rows[torch.linspace(0, len(rows) - 1, _FOR_MEDIAN, device=rows.device).long()]
    return float(torch.pdist(rows).median())


def kernel_distance(generated: Tensor, reference: Tensor, bandwidth: float | None = None) -> float:
    """Unbiased estimate of 100 MMD^2 with the kernel exp(-|x - y|^2 / (2 bandwidth^2)).

    Args:
        generated: embeddings [M, D].
        reference: embeddings [N, D].
        bandwidth: by default the median distance between two reference embeddings.

    Returns:
        0 in the mean for two sets of one distribution, so that single values below 0 are normal.

    Raises:
        UserError: a side has fewer than two embeddings, or all reference embeddings are the same.
    """
    if min(len(generated), len(reference)) < 2:
        raise UserError(
            f"KAD needs two embeddings on both sides at least: {len(generated)} generated and {len(reference)} reference were given."
        )
    left, right = generated.double(), reference.double()
    width = median_distance(right) if bandwidth is None else bandwidth
    if width <= 0:
        raise UserError("KAD has no bandwidth: the median distance between reference embeddings is 0.")
    m, n = len(left), len(right)
    within = (_kernel_sum(left, left, width) - m) / (m * (m - 1)) + (_kernel_sum(right, right, width) - n) / (n * (n - 1))
    return SCALE * (within - 2 * _kernel_sum(left, right, width) / (m * n))


def _kernel_sum(left: Tensor, right: Tensor, bandwidth: float) -> float:
    """Sum of the kernel over all pairs; distances are not expanded into products, which lose small ones."""
    mode = "donot_use_mm_for_euclid_dist"
    blocks = (torch.cdist(part, right, compute_mode=mode).square() for part in left.split(_BLOCK))
    return float(sum((-block / (2 * bandwidth**2)).exp().sum() for block in blocks))


class KernelDistance(StreamingMetric):
    """`KAD[embedding]` between the embeddings of generated and of reference audio; all are kept (4 D bytes each).

    Args:
        embedding: name of what made the embeddings, as it is to be shown.
        dim: their dimension D.

    `compute` returns scalars by name: `KAD[x]`, `KAD[x] generated`, `KAD[x] reference` (how many embeddings).
    """

    higher_is_better = False
    generated_rows: list[Tensor]
    reference_rows: list[Tensor]

    def __init__(self, embedding: str, dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.embedding, self.dim = embedding, dim
        self.add_state("generated_rows", default=[], dist_reduce_fx="cat")
        self.add_state("reference_rows", default=[], dist_reduce_fx="cat")

    @property
    def name(self) -> str:
        """`KAD[clap]`."""
        return f"KAD[{self.embedding}]"

    def update(self, embeddings: Tensor, reference: bool = False) -> None:
        """Add embeddings [..., D] of generated audio, or of the reference; UserError if they have another dimension or hold NaN."""
        rows = flat(embedding_rows(embeddings, self.dim, self.name))
        (self.reference_rows if reference else self.generated_rows).append(rows)

    def compute(self) -> dict[str, Tensor]:
        """The distance and the numbers of embeddings; UserError as for `kernel_distance`."""
        generated, reference = stored_rows(self.generated_rows, self.dim), stored_rows(self.reference_rows, self.dim)
        found = {
            self.name: kernel_distance(generated, reference),
            f"{self.name} generated": len(generated),
            f"{self.name} reference": len(reference),
        }
        return {key: torch.tensor(value, dtype=torch.float64) for key, value in found.items()}
