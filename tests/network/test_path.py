from __future__ import annotations

import pytest
import torch

from jasco_pl.network.flow.path import (
    OptimalTransportPath,
    VariancePreservingPath,
    flow_matching_loss,
    loss_weight,
    make_path,
    skip_coefficient,
)


def constant(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1), value, dtype=torch.float64)


def test_point_and_velocity_by_hand() -> None:
    path = OptimalTransportPath()
    noise, data = constant(2.0), constant(5.0)
    at = {t: float(path.point(noise, data, torch.tensor([t], dtype=torch.float64))) for t in (0.0, 0.5, 1.0)}
    assert at[0.0] == 2.0
    assert at[0.5] == pytest.approx(3.50001, abs=1e-12)  # sigma_min = 1e-5
    assert at[1.0] == pytest.approx(5.00002, abs=1e-12)
    assert float(path.target(noise, data, torch.zeros(1))) == pytest.approx(3.00002, abs=1e-12)
    assert float(OptimalTransportPath(0.1).point(noise, data, torch.tensor([1.0], dtype=torch.float64))) == pytest.approx(5.2)


def test_velocity_is_the_derivative_of_the_path() -> None:
    path = OptimalTransportPath(0.01)
    noise, data = torch.randn(2, 3, 4, 5, dtype=torch.float64).unbind(0)
    t = torch.rand(3, dtype=torch.float64)
    _, slope = torch.func.jvp(lambda t: path.point(noise, data, t), (t,), (torch.ones_like(t),))
    torch.testing.assert_close(slope, path.target(noise, data, t))


def test_every_item_has_its_own_time() -> None:
    path = OptimalTransportPath()
    noise, data = torch.randn(2, 3, 4, 5).unbind(0)
    t = torch.tensor([0.0, 0.3, 1.0])
    points = path.point(noise, data, t)
    for index in range(3):
        one = slice(index, index + 1)
        torch.testing.assert_close(points[one], path.point(noise[one], data[one], t[one]))


def test_loss_weights() -> None:
    t = torch.tensor([0.0, 0.25, 1.0])
    assert loss_weight(t, "increasing").tolist() == [1.0, 1.25, 2.0]  # equation 3: 1 + t
    assert loss_weight(t, "uniform").tolist() == [1.0, 1.0, 1.0]
    assert loss_weight(t, "decreasing").tolist() == [2.0, 1.75, 1.0]
    with pytest.raises(ValueError, match=r"'rising'.*increasing, uniform or decreasing"):
        loss_weight(t, "rising")  # type: ignore[arg-type]


def test_loss_is_the_mean_square_of_every_item() -> None:
    predicted = torch.zeros(2, 3, 2)
    target = torch.tensor([[[1.0, 0.0], [0.0, 0.0], [2.0, 1.0]], [[0.0, 0.0], [3.0, 3.0], [0.0, 0.0]]])
    torch.testing.assert_close(flow_matching_loss(predicted, target), torch.tensor([1.0, 3.0]))


def test_masked_frames_count_neither_above_nor_below_the_line() -> None:
    predicted, target = torch.randn(2, 3, 6, 4).unbind(0)
    mask = torch.zeros(3, 6, dtype=torch.bool)
    mask[0, :4], mask[1] = True, True
    losses = flow_matching_loss(predicted, target, mask)
    torch.testing.assert_close(losses[0], flow_matching_loss(predicted[:1, :4], target[:1, :4])[0])
    torch.testing.assert_close(losses[1], flow_matching_loss(predicted, target)[1])
    assert float(losses[2]) == 0.0  # nothing to learn from, and no division by zero


def test_loss_is_taken_in_single_precision() -> None:
    predicted, target = torch.full((1, 1, 1), 256.0, dtype=torch.bfloat16), torch.full((1, 1, 1), 255.0)
    assert flow_matching_loss(predicted, target).tolist() == [1.0]


@pytest.mark.parametrize("time", [0.0, 0.1, 0.5, 0.8, 1.0])
def test_skip_coefficient_is_the_regression_of_velocity_on_the_point(time: float) -> None:
    noise, data = torch.randn(2, 4, 1000, 8, generator=torch.Generator().manual_seed(0))
    path, t = OptimalTransportPath(sigma_min=0.0), torch.full((4,), time)
    z, velocity = path.point(noise, data, t), path.target(noise, data, t)
    slope = (z * velocity).sum() / z.square().sum()
    assert abs(float(slope) - float(skip_coefficient(t)[0])) < 0.02


def test_the_quarter_circle_of_v_diffusion_by_hand() -> None:
    path, noise, data = VariancePreservingPath(), constant(2.0), constant(5.0)
    third = torch.tensor([1 / 3], dtype=torch.float64)  # 30 degrees
    assert float(path.point(noise, data, torch.zeros(1, dtype=torch.float64))) == 2.0
    assert float(path.point(noise, data, torch.ones(1, dtype=torch.float64))) == pytest.approx(5.0, abs=1e-12)
    assert float(path.point(noise, data, third)) == pytest.approx(2.5 + 3**0.5, abs=1e-12)
    # Salimans and Ho: v = alpha noise - sigma data, here with its sign changed, as our time runs to the data
    assert float(path.target(noise, data, third)) == pytest.approx(-(0.5 * 2.0 - 0.75**0.5 * 5.0), abs=1e-12)


def test_the_target_of_v_diffusion_is_the_derivative_by_time_but_for_its_speed() -> None:
    path = VariancePreservingPath()
    noise, data = torch.randn(2, 3, 4, 5, dtype=torch.float64).unbind(0)
    t = torch.rand(3, dtype=torch.float64)
    _, slope = torch.func.jvp(lambda t: path.point(noise, data, t), (t,), (torch.ones_like(t),))
    torch.testing.assert_close(slope, path.speed * path.target(noise, data, t))


@pytest.mark.parametrize("time", [0.0, 0.3, 0.7, 1.0])
def test_under_v_diffusion_the_point_alone_says_nothing_of_the_target(time: float) -> None:
    noise, data = torch.randn(2, 4, 1000, 8, generator=torch.Generator().manual_seed(0))
    path, t = VariancePreservingPath(), torch.full((4,), time)
    z, target = path.point(noise, data, t), path.target(noise, data, t)
    assert abs(float((z * target).sum() / z.square().sum())) < 0.02
    assert float(z.std()) == pytest.approx(1.0, abs=0.02)  # at every time: variance is preserved


def test_objectives_name_their_paths() -> None:
    ours = make_path("flow_matching", 0.1)
    assert isinstance(ours, OptimalTransportPath)
    assert (ours.sigma_min, ours.sampler) == (0.1, "midpoint")
    assert make_path("v_diffusion").sampler == "ddim"
