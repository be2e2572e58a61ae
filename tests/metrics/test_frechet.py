from __future__ import annotations

import math

import pytest
import scipy.linalg
import torch
from torch import Tensor

from jasco_pl.metrics.distances import FrechetDistance, Gaussian, frechet_distance
from jasco_pl.system.errors import UserError


def normal(count: int, dim: int, seed: int, shift: float = 0.0) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)) + shift


def covariance(dim: int, seed: int, rank: int | None = None) -> Tensor:
    factor = normal(dim, rank or dim, seed).double()
    return factor @ factor.T


def test_of_diagonal_gaussians_as_written_down() -> None:
    one = Gaussian.of(torch.tensor([1.0, 0.0]), torch.diag(torch.tensor([4.0, 9.0])))
    other = Gaussian.of(torch.tensor([0.0, 2.0]), torch.diag(torch.tensor([1.0, 16.0])))
    # |m|^2 = 1 + 4; of independent components each adds (s1 - s2)^2
    assert frechet_distance(one, other) == pytest.approx(5 + (2 - 1) ** 2 + (3 - 4) ** 2)


def test_agrees_with_the_root_of_the_product() -> None:
    one, other = Gaussian.of(torch.zeros(6), covariance(6, 0)), Gaussian.of(torch.ones(6), covariance(6, 1))
    product = scipy.linalg.sqrtm((one.covariance @ other.covariance).numpy())
    expected = 6 + float(one.covariance.trace() + other.covariance.trace()) - 2 * product.trace().real
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(other, one) == pytest.approx(expected, rel=1e-9)


def test_singular_covariances_are_no_trouble() -> None:
    mean, singular = torch.zeros(40), covariance(40, 2, rank=5)
    assert frechet_distance(Gaussian.of(mean, singular), Gaussian.of(mean, singular)) < 1e-5
    scaled = frechet_distance(Gaussian.of(mean, 4 * singular), Gaussian.of(mean, singular))
    assert scaled == pytest.approx(float(singular.trace()), rel=1e-6)  # tr(4C + C - 2 * 2C)


def test_the_same_set_on_both_sides_gives_0_and_its_numbers() -> None:
    metric = FrechetDistance("musicnn", 8)
    rows = normal(300, 8, 0)
    metric.update(rows)
    metric.update(rows, reference=True)
    found = metric.compute()
    assert found["FD[musicnn]"].item() == pytest.approx(0, abs=1e-9)
    assert found["FD[musicnn] generated"] == found["FD[musicnn] reference"] == 300


def test_streaming_equals_all_at_once_and_numpy_far_from_the_origin() -> None:
    left, right = normal(500, 8, 0, 1000.0), normal(400, 8, 1, 1000.5)
    metric = FrechetDistance("vggish", 8)
    for part in left.reshape(10, 5, 10, 8):
        metric.update(part)
    for part in right.split(33):
        metric.update(part, reference=True)
    assert metric.name == "FAD[vggish]"
    assert metric.compute()["FAD[vggish]"].item() == pytest.approx(frechet_distance(Gaussian.fit(left), Gaussian.fit(right)), rel=1e-6)


def test_merged_states_equal_one_whatever_the_split() -> None:
    left, right = normal(1200, 6, 0), normal(300, 6, 1, 0.3)
    whole, first, second = (FrechetDistance("x", 6) for _ in range(3))
    whole.update(left)
    whole.update(right, reference=True)
    first.update(left[:100])
    second.update(right, reference=True)
    second.update(left[100:])
    first.merge_state(second)
    one, merged = whole.compute(), first.compute()
    assert one.keys() == merged.keys()
    for key, value in one.items():
        assert merged[key].item() == pytest.approx(value.item(), rel=1e-6), key


def test_reset_forgets_both_sides() -> None:
    metric = FrechetDistance("x", 4)
    metric.update(normal(50, 4, 0))
    metric.update(normal(50, 4, 1, 5.0), reference=True)
    metric.reset()
    metric.update(normal(50, 4, 1, 5.0))
    metric.update(normal(50, 4, 1, 5.0), reference=True)
    assert metric.compute()["FD[x]"].item() == pytest.approx(0, abs=1e-6)


def test_no_more_samples_than_dimensions_is_refused_unless_allowed() -> None:
    strict, lenient = FrechetDistance("clap", 16), FrechetDistance("clap", 16, allow_few=True)
    for metric in (strict, lenient):
        metric.update(normal(16, 16, 0))
        metric.update(normal(200, 16, 1), reference=True)
    with pytest.raises(UserError, match=r"FAD\[clap\] needs at least 17 .* 16 generated and 200 reference"):
        strict.compute()
    assert lenient.compute()["FAD[clap] generated"] == 16
    with pytest.raises(UserError, match="at least 2"):
        FrechetDistance("clap", 16, allow_few=True).compute()


def test_bad_embeddings_are_refused() -> None:
    metric = FrechetDistance("clap", 16)
    with pytest.raises(UserError, match="16 dimensions"):
        metric.update(torch.zeros(3, 8))
    with pytest.raises(UserError, match="NaN"):
        metric.update(torch.full((3, 16), math.nan))
