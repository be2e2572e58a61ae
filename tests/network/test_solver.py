from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from jasco_pl.network.flow.config import Quality
from jasco_pl.network.flow.path import OptimalTransportPath, Path, VariancePreservingPath
from jasco_pl.network.flow.solver import END, Field, SolverConfig, remaining, solve, step_times
from jasco_pl.system.errors import UserError

FIXED = ("euler", "midpoint", "heun")
METHODS = (*FIXED, "dopri5")


def growing(items: slice) -> Field:
    """z' = 2 t z, so z(1) = e z(0)."""
    return lambda z, t: 2 * t * z


def exponential(items: slice) -> Field:
    return lambda z, t: z


def oscillating(items: slice) -> Field:
    """Rough enough that dopri5 has steps refused."""
    return lambda z, t: 20 * torch.cos(20 * t) * z.abs().sqrt()


def end_of(field: Any, method: str, **options: Any) -> float:
    return float(solve(field, torch.ones(1, 1, 1, dtype=torch.float64), SolverConfig(method, **options)).latents)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"method": "dopri5", "steps": 5}, "dopri5 chooses its steps by its tolerance"),
        ({"method": "dopri5", "times": "uniform"}, "dopri5 chooses its steps by its tolerance"),
        ({"tolerance": 0.1}, "the tolerance is dopri5's alone, and the solver is 'auto'"),
    ],
)
def test_what_would_not_count_is_refused(said: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        SolverConfig(**said).heeded()
    assert SolverConfig("dopri5", tolerance=0.1).heeded() == SolverConfig("dopri5", tolerance=0.1)


def test_steps_by_hand() -> None:
    assert end_of(exponential, "euler", steps=4) == pytest.approx(1.25**4)
    assert end_of(exponential, "midpoint", steps=4) == pytest.approx(1.28125**4)
    assert end_of(exponential, "heun", steps=4) == pytest.approx(1.28125**4)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_order_of_convergence(method: str, order: int) -> None:
    coarse, fine = (abs(end_of(growing, method, steps=steps) - math.e) for steps in (16, 32))
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5])
def test_dopri5_keeps_its_tolerance(tolerance: float) -> None:
    exact = math.exp(END**2)
    solution = solve(growing, torch.ones(1, 2, 2, dtype=torch.float64), SolverConfig("dopri5", tolerance=tolerance))
    assert float((solution.latents - exact).abs().max()) < 10 * tolerance
    assert solve(growing, torch.ones(1, 2, 2), SolverConfig("dopri5", tolerance=tolerance / 100)).evaluations > solution.evaluations


def test_times_at_which_the_field_is_asked() -> None:
    def times(method: str) -> list[float]:
        seen: list[float] = []
        solve(lambda items: lambda z, t: (seen.append(float(t)), z)[1], torch.ones(1, 1, 1), SolverConfig(method, steps=2))  # type: ignore[arg-type]
        return seen

    assert times("euler") == [0.0, 0.5]
    assert times("midpoint") == [0.0, 0.25, 0.5, 0.75]
    assert times("heun") == pytest.approx([0.0, 0.5, 0.5, END], abs=1e-7)


FITTED = [0.0, 0.02, 0.1, 0.4, 1.0]


def test_fitted_times_are_taken_in_equal_parts() -> None:
    assert step_times(4) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert step_times(4, FITTED) == FITTED
    assert step_times(2, FITTED) == [0.0, 0.1, 1.0]
    assert step_times(8, FITTED)[::2] == pytest.approx(FITTED)
    assert step_times(3, FITTED) == pytest.approx([0.0, 0.02 + 0.08 / 3, 0.1 + 0.3 * 2 / 3, 1.0])
    for steps in (1, 5, 7, 50):
        times = step_times(steps, FITTED)
        assert (times[0], times[-1], len(times)) == (0.0, 1.0, steps + 1)
        assert times == sorted(times)


def test_steps_lie_where_they_were_fitted_if_that_is_asked_for() -> None:
    def asked(config: SolverConfig, fitted: list[float] | None) -> list[float]:
        seen: list[float] = []
        solve(lambda items: lambda z, t: (seen.append(float(t)), z)[1], torch.ones(1, 1, 1), config, fitted=fitted)
        return seen

    assert asked(SolverConfig("midpoint", 4), FITTED) == pytest.approx([0, 0.01, 0.02, 0.06, 0.1, 0.25, 0.4, 0.7])
    uniform = asked(SolverConfig("midpoint", 4, times="uniform"), FITTED)
    assert uniform == asked(SolverConfig("midpoint", 4), None) == [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875]


@pytest.mark.parametrize("method", ["euler", "midpoint"])
def test_short_steps_where_the_field_bends_come_nearer(method: str) -> None:
    """z' = 20 exp(-20 t) z, whose slope falls as exp(-20 t): equal parts of the root of that."""
    times = [*(-math.log(1 - (1 - math.exp(-10)) * part / 16) / 10 for part in range(16)), 1.0]
    exact = math.exp(1 - math.exp(-20))

    def error(config: SolverConfig) -> float:
        found = solve(lambda items: lambda z, t: 20 * torch.exp(-20 * t) * z, torch.ones(1, 1, 1), config, fitted=times).latents
        return abs(float(found) - exact)

    assert error(SolverConfig(method, 16)) < error(SolverConfig(method, 16, times="uniform")) / 2  # type: ignore[arg-type]


@pytest.mark.parametrize("quality", ["fast", "balanced", "reference"])
def test_a_quality_is_the_models_own_sampler_with_more_steps_where_none_were_fitted(quality: Quality) -> None:
    fitted, even = (SolverConfig.of(quality, known) for known in (True, False))
    assert fitted.method == "auto"
    assert fitted.times == "fitted"
    assert fitted.steps < even.steps
    with pytest.raises(UserError, match="the quality 'best' is unknown: fast, balanced, reference are accepted"):
        SolverConfig.of("best", True)  # type: ignore[arg-type]


def test_dopri5_never_asks_beyond_the_end_of_the_flow() -> None:
    seen: list[float] = []
    solve(lambda items: lambda z, t: (seen.append(float(t)), oscillating(items)(z, t))[1], torch.ones(1, 1, 2), SolverConfig("dopri5"))
    assert len(seen) > 20
    assert max(seen) == pytest.approx(END, abs=1e-7)


def test_dopri5_solves_every_item_as_if_alone() -> None:
    noise = torch.randn(3, 5, 4)
    stiffness = torch.tensor([1.0, 30.0, 7.0])

    def field_of(items: slice) -> Field:
        rate = stiffness[items, None, None]
        return lambda z, t: torch.sin(rate * t) * rate - z

    together = solve(field_of, noise, SolverConfig("dopri5"))
    alone = [
        solve(lambda items, i=index: field_of(slice(i, i + 1)), noise[index : index + 1], SolverConfig("dopri5")) for index in range(3)
    ]
    assert torch.equal(together.latents, torch.cat([solution.latents for solution in alone]))
    assert together.evaluations == max(solution.evaluations for solution in alone)
    assert len({solution.evaluations for solution in alone}) > 1  # the items do need different steps


@pytest.mark.parametrize(("method", "a_step"), [("euler", 1), ("midpoint", 2), ("heun", 2), ("dopri5", None)])
def test_evaluations_are_counted(method: str, a_step: int | None) -> None:
    calls = 0

    def field(z: Tensor, t: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return -z

    solution = solve(lambda items: field, torch.ones(1, 2, 2), SolverConfig(method, steps=6))  # type: ignore[arg-type]
    assert solution.evaluations == calls
    assert a_step is None or calls == 6 * a_step


@pytest.mark.parametrize("method", METHODS)
def test_progress_rises_to_one(method: str) -> None:
    shares: list[float] = []
    solve(oscillating, torch.ones(2, 1, 2), SolverConfig(method, steps=5), shares.append)  # type: ignore[arg-type]
    assert len(shares) >= 5
    assert shares == sorted(shares)
    assert 0 <= shares[0] < 0.5
    assert shares[-1] == 1.0


@pytest.mark.parametrize("method", METHODS)
def test_the_noise_is_left_as_it_was(method: str) -> None:
    noise = torch.ones(1, 2, 2)
    solve(exponential, noise, SolverConfig(method, steps=2))  # type: ignore[arg-type]
    assert torch.equal(noise, torch.ones(1, 2, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "rk4"}, "'rk4' is unknown: auto, euler, midpoint, heun, dopri5, ddim"),
        ({"times": "cosine"}, "times 'cosine' are unknown: uniform, fitted are accepted"),
        ({"steps": 0}, "steps must be from 1 to 10000, not 0"),
        ({"steps": 10**9}, "steps must be from 1 to 10000, not 1000000000"),
        ({"tolerance": 0.0}, "between 0 and 1, not 0"),
        ({"tolerance": float("nan")}, "between 0 and 1, not nan"),
    ],
)
def test_settings_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SolverConfig(**options)


def test_a_field_that_is_not_finite_is_one_sentence() -> None:
    with pytest.raises(UserError, match="dopri5 cannot keep tolerance 1e-05"):
        solve(lambda items: lambda z, t: z * float("nan"), torch.ones(1, 2, 2), SolverConfig("dopri5"))


def optimal(path: Path, mean: float, std: float) -> Field:
    """What a perfect network says where data is normal: the mean of the target given the point, by the moments of both."""

    def field(z: Tensor, t: Tensor) -> Tensor:
        ends = (torch.zeros(1, 1, 1), torch.ones(1, 1, 1))
        time = t.reshape(1).to(torch.float32)
        a, b = path.point(ends[1], ends[0], time), path.point(ends[0], ends[1], time)  # z = a noise + b data
        c, d = path.target(ends[1], ends[0], time), path.target(ends[0], ends[1], time)
        covariance, variance = a * c + std**2 * b * d, a**2 + std**2 * b**2
        return d * mean + covariance / variance * (z - b * mean)

    return field


@pytest.mark.parametrize(
    ("path", "method"),
    [(OptimalTransportPath(), "auto"), (VariancePreservingPath(), "auto"), (VariancePreservingPath(), "midpoint")],
    ids=["flow", "ddim", "v-midpoint"],
)
def test_a_perfect_network_turns_noise_into_the_data(path: Path, method: str) -> None:
    """Both objectives, each by its own sampler: for normal data the flow of every point is known, mean + std * noise."""
    noise = torch.linspace(-2, 2, 7)[None, :, None]
    config = SolverConfig(method, steps=400)  # type: ignore[arg-type]
    found = solve(lambda items: optimal(path, 3.0, 0.5), noise, config, path=path).latents
    torch.testing.assert_close(found, 3.0 + 0.5 * noise, atol=0.02, rtol=0)


def test_ddim_by_hand() -> None:
    """x = alpha z - sigma v and noise = sigma z + alpha v, put together again at the next level (v of Salimans and Ho, hence the signs)."""
    path, z = VariancePreservingPath(), torch.tensor([[[0.3, -1.2]]])
    field = lambda z, t: torch.sin(3 * z) + t  # noqa: E731
    expected = z
    for step in range(3):
        (alpha, sigma), (next_alpha, next_sigma) = (path.levels(torch.tensor(k / 3)) for k in (step, step + 1))
        v = -field(expected, torch.tensor(step / 3))
        data, noise = alpha * expected - sigma * v, sigma * expected + alpha * v
        expected = next_alpha * data + next_sigma * noise
    solution = solve(lambda items: field, z, SolverConfig("ddim", steps=3), path=path)
    torch.testing.assert_close(solution.latents, expected)
    assert solution.evaluations == 3


def test_ddim_is_refused_where_flow_was_matched() -> None:
    with pytest.raises(UserError, match="'ddim' samples models of v-diffusion, and this one was trained by flow matching"):
        solve(exponential, torch.ones(1, 1, 1), SolverConfig("ddim"))


def test_the_path_decides_what_auto_means() -> None:
    straight, curved = OptimalTransportPath(), VariancePreservingPath()
    assert SolverConfig(steps=7).resolved(straight, fitted=False) == SolverConfig("midpoint", 7, times="uniform")
    assert SolverConfig(steps=7).resolved(curved, fitted=True) == SolverConfig("ddim", 7, times="uniform")
    assert SolverConfig("euler").resolved(curved, fitted=False).method == "euler"


def test_what_is_not_said_depends_on_whether_times_were_fitted() -> None:
    def steps(config: SolverConfig, fitted: bool) -> tuple[int | None, str]:
        found = config.resolved(OptimalTransportPath(), fitted)
        return found.steps, found.times

    assert steps(SolverConfig(), True) == (6, "fitted")
    assert steps(SolverConfig("euler"), True) == (12, "fitted")  # as many evaluations
    assert steps(SolverConfig(), False) == (10, "uniform")
    assert steps(SolverConfig(times="uniform"), True) == (10, "uniform")
    assert steps(SolverConfig(steps=3), True) == (3, "fitted")
    assert steps(SolverConfig("dopri5"), True)[1] == "uniform"
    assert SolverConfig.of("balanced", fitted=True).resolved(OptimalTransportPath(), True) == SolverConfig().resolved(
        OptimalTransportPath(), True
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_flow_that_begins_on_the_way(method: str) -> None:
    """z' = 2 t z from t = s: z(1) = e^(1 - s^2) z(s)."""
    config = SolverConfig(method, steps=1000 if method == "euler" else 40, tolerance=1e-6)  # type: ignore[arg-type]
    point, shares = torch.ones(1, 1, 1, dtype=torch.float64), list[float]()
    for start in (0.0, 0.123, 0.5, 0.97):
        found = solve(growing, point, config, shares.append, start=start)
        assert float(found.latents) == pytest.approx(math.exp(1 - start**2), rel=4e-3)
        assert shares[-1] == pytest.approx(1.0)
    ended = solve(growing, point, config, shares.append, start=1.0)
    assert (float(ended.latents), ended.evaluations, shares[-1]) == (1.0, 0, 1.0)


def test_times_that_are_left() -> None:
    assert remaining(step_times(4), 0.0) == step_times(4)
    assert remaining(step_times(4), 0.3) == [0.3, 0.5, 0.75, 1.0]
    assert remaining(step_times(4), 0.5) == [0.5, 0.75, 1.0]
    assert remaining(step_times(10), 1 - 0.7) == [1 - 0.7, *step_times(10)[4:]]  # not a step of 1e-17
    assert remaining(FITTED, 0.2) == [0.2, 0.4, 1.0]
    assert remaining(FITTED, 1.0) == [1.0]


def test_an_adaptive_step_ends_where_the_field_jumps() -> None:
    """As guidance that begins at a flow time makes it do: dz/dt = 1 before 0.05 and -z after it, whose solution is known."""
    counts = []

    def field_of(items: slice) -> Field:
        def field(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            counts.append(float(t))
            return torch.ones_like(z) if float(t) + 1e-6 < 0.05 else -z

        return field

    noise = torch.zeros(1, 2, 3)
    config, evaluations = SolverConfig("dopri5", tolerance=1e-6), []
    for jumps in ((), (0.05,)):
        counts.clear()
        solution = solve(field_of, noise, config, jumps=jumps)
        assert solution.evaluations == len(counts)
        evaluations.append(len(counts))
    torch.testing.assert_close(solution.latents, torch.full_like(noise, 0.05 * math.exp(-0.95)), atol=1e-5, rtol=1e-4)
    assert evaluations[1] < 0.7 * evaluations[0]
