"""How alike sounds are, by what networks make of them, and how figures of many clips are gathered.

States stream, and those of separate runs or processes can be merged. `ClipFigures` keeps one figure a clip, `KernelDistance` embeddings:
rows that torchmetrics gathers from processes that saw different numbers of them.

Frechet distance of embeddings, of some of them called FAD (Kilgour et al. 2019). The figure depends on the embedding, so that the name
always says which: `FAD[vggish]`, `FAD[clap]`, `FD[musicnn]`. It also depends on the number of samples (fewer give larger distances), so
that both numbers are part of the result. KAD, kernel audio distance (Chung et al. 2025, arXiv 2502.15602): maximum mean discrepancy of
embeddings, times 100. Unlike the Frechet distance it assumes no Gaussians and its expectation does not depend on the number of samples.

KL divergence over a classifier's labels (the paper, section 4.1): does the generated music hold the concepts of its reference? The
definition is AudioCraft's: softmax probabilities p of the reference and q of the generated clip, sum of p log(p / (q + 1e-6)), the mean
over clips. There the classifier is PaSST; any other gives another figure, so that the name always says which: `KL[passt]`, `KL[musicnn]`.

CLAP score (the paper, section 4.1): cosine of the embeddings of a description and of the audio made for it.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
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


def stored_rows(state: list[Tensor] | Tensor, dim: int) -> Tensor:
    """All rows [N, D] of a list state of flat vectors, in an order that does not depend on which process saw which."""
    if isinstance(state, list) and not state:
        return torch.zeros(0, dim)
    rows = dim_zero_cat(state).reshape(-1, dim)
    order = np.lexsort(rows[:, : min(dim, 4)].cpu().numpy().T)
    return rows[torch.from_numpy(order).to(rows.device)]


PUBLISHED = ("vggish", "clap")  # embeddings whose Frechet distance the literature calls FAD


class Gaussian(NamedTuple):
    """Mean [D] and covariance [D, D] in float64, and the square root [D, D] of the covariance."""

    mean: Tensor
    covariance: Tensor
    root: Tensor

    @classmethod
    def of(cls, mean: Tensor, covariance: Tensor) -> Gaussian:
        """Complete a mean and a covariance; eigenvalues below zero, which are rounding, count as zero."""
        values, vectors = torch.linalg.eigh(covariance.double())
        return cls(mean.double(), covariance.double(), (vectors * values.clamp_min(0).sqrt()) @ vectors.T)

    @classmethod
    def fit(cls, rows: Tensor) -> Gaussian:
        """Mean and unbiased covariance of rows [N, D]."""
        return cls.of(rows.double().mean(dim=0), torch.cov(rows.double().T))


def frechet_distance(one: Gaussian, other: Gaussian) -> float:
    """Squared Frechet (2-Wasserstein) distance of two Gaussians (Dowson and Landau 1982).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). The last trace is the sum of the singular values of C1^(1/2) C2^(1/2), which needs no root
    of an unsymmetric, perhaps singular matrix.
    """
    shared = torch.linalg.svdvals(one.root @ other.root).sum()
    distance = (one.mean - other.mean).square().sum() + one.covariance.trace() + other.covariance.trace() - 2 * shared
    return max(float(distance), 0.0)


class FrechetDistance(StreamingMetric):
    """Frechet distance between the embeddings of generated and of reference audio.

    Mean and covariance are sums in float64: memory does not grow, and any split over processes or `merge_state` gives the same figure.

    Args:
        embedding: name of what made the embeddings, as it is to be shown.
        dim: their dimension D.
        allow_few: compute the distance even from no more embeddings than dimensions, where the covariance is singular and the distance
            mostly bias.

    `compute` returns scalars by name: `FAD[x]`, `FAD[x] generated` and `FAD[x] reference` (how many embeddings).
    """

    higher_is_better = False

    def __init__(self, embedding: str, dim: int, *, allow_few: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = "FAD" if embedding.partition(":")[0] in PUBLISHED else "FD"
        self.embedding, self.dim, self.allow_few = embedding, dim, allow_few
        for side in ("generated", "reference"):
            self.add_state(f"{side}_sum", default=torch.zeros(dim, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{side}_outer", default=torch.zeros(dim, dim, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{side}_count", default=torch.tensor(0), dist_reduce_fx="sum")

    @property
    def name(self) -> str:
        """`FAD[vggish]`, `FD[musicnn]`."""
        return f"{self.kind}[{self.embedding}]"

    def update(self, embeddings: Tensor, reference: bool = False) -> None:
        """Add embeddings [..., D] of generated audio, or of the reference.

        Raises:
            UserError: they have another dimension, or hold NaN.
        """
        rows = embedding_rows(embeddings, self.dim, self.name)
        side = "reference" if reference else "generated"
        exact = rows.double()
        getattr(self, f"{side}_sum").add_(exact.sum(dim=0))
        getattr(self, f"{side}_outer").add_(exact.T @ exact)
        getattr(self, f"{side}_count").add_(len(rows))

    def compute(self) -> dict[str, Tensor]:
        """The distance and the numbers of embeddings.

        Raises:
            UserError: one side has no more embeddings than dimensions (without `allow_few`), or fewer than two.
        """
        counts = {side: int(getattr(self, f"{side}_count")) for side in ("generated", "reference")}
        least = 2 if self.allow_few else self.dim + 1
        if min(counts.values()) < least:
            given = f"{counts['generated']} generated and {counts['reference']} reference embeddings were given"
            remedy = "" if self.allow_few else "; add clips, or allow few and read the figure as mostly bias"
            raise UserError(f"{self.name} needs at least {least} embeddings on both sides, and {given}{remedy}.")
        reference = self._gaussian("reference", counts["reference"])
        found = {
            self.name: frechet_distance(self._gaussian("generated", counts["generated"]), reference),
            f"{self.name} generated": counts["generated"],
            f"{self.name} reference": counts["reference"],
        }
        return {key: torch.tensor(value, dtype=torch.float64) for key, value in found.items()}

    def _gaussian(self, side: str, count: int) -> Gaussian:
        mean = getattr(self, f"{side}_sum") / count
        covariance = (getattr(self, f"{side}_outer") - count * torch.outer(mean, mean)) / (count - 1)
        return Gaussian.of(mean, (covariance + covariance.T) / 2)


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
    kind = "KAD"
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
        return f"{self.kind}[{self.embedding}]"

    def update(self, embeddings: Tensor, reference: bool = False) -> None:
        """Add embeddings [..., D] of generated audio, or of the reference; UserError if they have another dimension or hold NaN."""
        # flat, because torchmetrics gathers a process that has seen nothing as an empty vector
        rows = embedding_rows(embeddings, self.dim, self.name).float().reshape(-1)
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


EPSILON = 1e-6


def label_kl(generated: Tensor, reference: Tensor) -> Tensor:
    """Divergence [...] of label probabilities [..., C] of generated clips from those of their references.

    Raises:
        UserError: the shapes differ, or a row is no distribution.
    """
    if generated.shape != reference.shape or generated.ndim < 1:
        shapes = f"{tuple(generated.shape)} and {tuple(reference.shape)}"
        raise UserError(f"label probabilities of shapes {shapes} cannot be compared: both must be [..., labels].")
    for probabilities in (generated, reference):
        total = probabilities.sum(dim=-1)
        if bool((probabilities < 0).any()) or not torch.allclose(total, torch.ones_like(total), atol=1e-3):
            raise UserError("label probabilities must not be negative and must sum to 1 over the labels: use softmax.")
    return torch.nn.functional.kl_div((generated.double() + EPSILON).log(), reference.double(), reduction="none").sum(dim=-1)


def clap_score(audio: Tensor, text: Tensor) -> Tensor:
    """Cosine [...] of audio embeddings [..., D] and text embeddings [..., D], pair by pair; -1 to 1.

    Raises:
        UserError: the shapes differ.
    """
    if audio.shape != text.shape or audio.ndim < 1:
        raise UserError(f"embeddings of shapes {tuple(audio.shape)} (audio) and {tuple(text.shape)} (text) are no pairs.")
    return cosine_similarity(audio.double(), text.double(), dim=-1, eps=1e-8)
