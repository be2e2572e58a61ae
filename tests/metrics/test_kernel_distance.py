from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from jasco_pl.metrics.distances import KernelDistance, kernel_distance, median_distance
from jasco_pl.system.errors import UserError


def normal(count: int, dim: int, seed: int, shift: float = 0.0) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)) + shift


def test_of_four_points_as_written_down() -> None:
    # distances: within generated 1, within reference 2 (the bandwidth), across 3, 5 from the first and 2, 4 from the second
    generated, reference = torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [5.0]])

    def kernel(distance: float) -> float:
        return math.exp(-(distance**2) / (2 * 2**2))

    across = (kernel(3) + kernel(5) + kernel(2) + kernel(4)) / 4
    assert kernel_distance(generated, reference) == pytest.approx(100 * (kernel(1) + kernel(2) - 2 * across))


def test_known_gaussians() -> None:
    """For N(0, s^2) in one dimension the mean kernel of two independent draws has a closed form."""
    width, shift = 1.0, 1.5
    within = 1 / math.sqrt(1 + 2 / width**2)
    across = within * math.exp(-(shift**2) / (2 * (width**2 + 2)))
    found = kernel_distance(normal(3000, 1, 0), normal(3000, 1, 1, shift), bandwidth=width)
    assert found == pytest.approx(100 * (2 * within - 2 * across), rel=0.06)


def test_unbiased_where_the_distributions_agree() -> None:
    found = torch.tensor([kernel_distance(normal(20, 8, seed), normal(20, 8, 1000 + seed), bandwidth=4.0) for seed in range(200)])
    assert abs(found.mean()) < 3 * found.std() / math.sqrt(200)
    assert found.min() < 0 < found.max()


def test_median_is_that_of_all_pairs() -> None:
    rows = normal(30, 4, 0)
    assert median_distance(rows) == pytest.approx(torch.pdist(rows).median().item())
    many = normal(5000, 2, 0)  # more than are compared
    assert median_distance(many) == pytest.approx(torch.pdist(many).median().item(), rel=0.02)


def test_metric_streams_merges_and_counts() -> None:
    left, right = normal(40, 5, 0), normal(30, 5, 1, 1.0)
    first, second = KernelDistance("clap", 5), KernelDistance("clap", 5)
    first.update(left[:7])
    second.update(left[7:].reshape(3, 11, 5))
    second.update(right, reference=True)
    first.merge_state(second)
    found = first.compute()
    assert found["KAD[clap]"].item() == pytest.approx(kernel_distance(left, right))
    assert (found["KAD[clap] generated"], found["KAD[clap] reference"]) == (40, 30)


def test_grows_with_the_difference() -> None:
    reference = normal(200, 8, 0)
    found = [kernel_distance(normal(200, 8, 1, shift), reference) for shift in (0.0, 0.2, 0.5, 1.0)]
    assert found == sorted(found)


def test_what_has_no_figure_is_refused() -> None:
    with pytest.raises(UserError, match="two embeddings"):
        KernelDistance("clap", 5).compute()
    with pytest.raises(UserError, match="bandwidth"):
        kernel_distance(normal(5, 2, 0), torch.zeros(5, 2))
