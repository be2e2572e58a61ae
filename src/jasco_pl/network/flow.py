"""The flow: what the network regresses between noise (t = 0) and data (t = 1), how its answers under several conditions are joined, and how
noise becomes latents.

Two paths: optimal-transport flow matching, the paper's choice (section 2 and equations 1-3), and v-diffusion, to which the paper compares
it (section 6, figure 2). Multi-source classifier-free guidance (equation 4) for arbitrary weighted sets of conditions: a guidance is a
mapping from a set of conditions to its weight; the unconditional term takes what is missing to one:
    v = (1 - sum_c a_c) v(z, t) + sum_c a_c v(z, t | c).
Sets are written `all`, `text`, `local`, or by joining names with "+": `text+chords`, `drums`. Solvers: fixed-step Euler, midpoint and
Heun, adaptive dopri5 (section 3.3), and DDIM for v-diffusion.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
import torchdiffeq
from torch import Tensor

from jasco_pl.system.errors import UserError

Weighting = Literal["increasing", "uniform", "decreasing"]
Objective = Literal["flow_matching", "v_diffusion"]


class Path(ABC):
    """How noise becomes data, and what the network says about it on the way.

    Attributes:
        sampler: the solver that belongs to it (`Method`).
        speed: dz/dt is the network's output times this, so that any solver can follow either path.
    """

    sampler: Literal["midpoint", "ddim"]
    speed: float

    @abstractmethod
    def point(self, noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
        """Point of the path, [B, T, C] for t [B]."""

    @abstractmethod
    def target(self, noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
        """What the network learns to say there, [B, T, C]."""


class OptimalTransportPath(Path):
    """Straight path z = (1 - (1 - sigma_min) t) z0 + t z1 from noise z0 to data z1, equation 2."""

    sampler = "midpoint"
    speed = 1.0

    def __init__(self, sigma_min: float = 1e-5) -> None:
        self.sigma_min = sigma_min

    def point(self, noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
        t = t[:, None, None]
        return (1 - (1 - self.sigma_min) * t) * noise + t * data

    def target(self, noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
        """The velocity z1 - (1 - sigma_min) z0, equation 1; the same all along the path."""
        return data - (1 - self.sigma_min) * noise


class VariancePreservingPath(Path):
    """Quarter circle z = sin(a) z1 + cos(a) z0 with a = t pi/2, for v-diffusion (Salimans and Ho 2022).

    The schedule is that of Mousai (the paper's [4]): noise level linear in time, alpha = cos, sigma = sin of the angle. Theirs runs from
    data to noise and is told v = alpha z0 - sigma z1; ours runs to the data, so that v changes its sign and points where the sample goes.
    """

    sampler = "ddim"
    speed = math.pi / 2

    @staticmethod
    def levels(t: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of data and of noise at t, both of t's shape; their squares add up to one."""
        angle = t * (math.pi / 2)
        return torch.sin(angle), torch.cos(angle)

    def point(self, noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
        signal, sigma = self.levels(t[:, None, None])
        return signal * data + sigma * noise

    def target(self, noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
        """v = sigma z1 - alpha z0: the path's derivative by the angle."""
        signal, sigma = self.levels(t[:, None, None])
        return sigma * data - signal * noise


def make_path(objective: Objective, sigma_min: float = 1e-5) -> Path:
    """The path that belongs to an objective; `sigma_min` is that of flow matching."""
    return VariancePreservingPath() if objective == "v_diffusion" else OptimalTransportPath(sigma_min)


def skip_coefficient(t: Tensor) -> Tensor:
    """Best linear guess of the velocity from the point alone, v = c(t) z, for independent noise and data of unit variance: [B] -> [B].

    It is the c_skip of EDM (Karras et al. 2022, section 5) for the optimal-transport path: -1 at t = 0, where all of z is noise, 1 at
    t = 1. On the variance-preserving path it is zero everywhere.
    """
    return (2 * t - 1) / ((1 - t).square() + t.square())


def loss_weight(t: Tensor, weighting: Weighting) -> Tensor:
    """Weight of a sample at flow time t [B]: 1 + t (equation 3), 1, or 2 - t."""
    if weighting == "increasing":
        return 1 + t
    if weighting == "decreasing":
        return 2 - t
    if weighting == "uniform":
        return torch.ones_like(t)
    raise ValueError(f"unknown loss weighting {weighting!r}: increasing, uniform or decreasing.")


def flow_matching_loss(predicted: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Squared error of the velocity of every item, meaned over channels and (unmasked) frames: [B, T, C] -> [B]."""
    error = (predicted.float() - target.float()).square().mean(dim=-1)
    if mask is None:
        return error.mean(dim=1)
    return (error * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


TEXT = "text"


@dataclass(frozen=True)
class Term:
    """One evaluation of the network: which conditions it sees, and its weight in the sum."""

    conditions: frozenset[str]
    weight: float


def parse_guidance(text: str | Mapping[str, float], local: Iterable[str]) -> tuple[Term, ...]:
    """Read `all=1.5 text=0.5` (or a mapping) for a model whose local controls are `local`; zero-weight terms are left out.

    Names that mean the same set, such as `all` and `text` for a model without local controls, add up.

    Raises:
        UserError: an unknown condition, a weight that is no finite number, a name written twice.
    """
    names = [TEXT, *local]
    pairs = text.items() if isinstance(text, Mapping) else [_split(part) for part in text.replace(",", " ").split()]
    weights: dict[frozenset[str], float] = {}
    seen: set[frozenset[str]] = set()
    for written, value in pairs:
        conditions, spelling = _condition_set(written, names), frozenset(written.split("+"))
        if spelling in seen:
            raise UserError(f"guidance names the set {written!r} twice.")
        if not math.isfinite(value):
            raise UserError(f"guidance gives the set {written!r} the weight {value}, where a finite number is accepted.")
        seen.add(spelling)
        weights[conditions] = weights.get(conditions, 0.0) + value
    unconditional = 1.0 - sum(weights.values())
    weights[frozenset()] = weights.get(frozenset(), 0.0) + unconditional
    terms = tuple(Term(conditions, weight) for conditions, weight in weights.items() if abs(weight) > 1e-6)
    return terms or (Term(frozenset(), 1.0),)


def _split(part: str) -> tuple[str, float]:
    name, equals, value = part.partition("=")
    try:
        if not equals:
            raise ValueError
        return name, float(value)
    except ValueError:
        raise UserError(f"guidance part {part!r} is not NAME=WEIGHT, as in 'all=1.5 text=0.5'.") from None


def _condition_set(written: str, names: list[str]) -> frozenset[str]:
    members: set[str] = set()
    for name in written.split("+"):
        if name == "all":
            members.update(names)
        elif name == "local":
            members.update(names[1:])
        elif name in names:
            members.add(name)
        else:
            raise UserError(f"guidance names the condition {name!r}; this model has: all, local, {', '.join(names)}.")
    return frozenset(members)


def guided_velocity(velocity: Callable[[Tensor, Tensor, int], Tensor], terms: tuple[Term, ...]) -> Callable[[Tensor, Tensor], Tensor]:
    """Join the terms into one field.

    Args:
        velocity: (rows [K * B, T, C], t [K * B], K) -> [K * B, T, C]; the rows of term k see that term's conditions.
        terms: K terms; their rows are evaluated in one batch.

    Returns:
        (z [B, T, C], t scalar tensor) -> guided velocity [B, T, C].
    """
    count = len(terms)
    weights = torch.tensor([term.weight for term in terms])

    def field(z: Tensor, t: Tensor) -> Tensor:
        rows = velocity(z.repeat(count, 1, 1), t.expand(count * z.shape[0]), count)
        if count == 1 and terms[0].weight == 1.0:
            return rows
        return torch.einsum("k,kbtc->btc", weights.to(rows), rows.unflatten(0, (count, -1)))

    return field


Method = Literal["auto", "euler", "midpoint", "heun", "dopri5", "ddim"]
Field = Callable[[Tensor, Tensor], Tensor]
Progress = Callable[[float], None]
"""Called with the share of the work that is done, rising to 1."""

END = 1.0 - 1e-5  # the path's own sigma_min keeps the adaptive solver off t = 1


@dataclass(frozen=True)
class SolverConfig:
    """How the flow's equation is integrated from t = 0 to t = 1."""

    method: Method = "auto"
    """euler (1 evaluation a step), midpoint or heun (2), dopri5 (adaptive, the paper's), ddim (1; models of v-diffusion alone); auto is
    what belongs to the model's objective: midpoint for flow matching, ddim for v-diffusion."""
    steps: int = 10
    """Steps of the fixed-step methods."""
    tolerance: float = 1e-5
    """Relative and absolute tolerance of dopri5."""

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise UserError(f"solver {self.method!r} is unknown: {', '.join(get_args(Method))} are accepted.")
        if self.steps < 1:
            raise UserError(f"steps must be at least 1, not {self.steps}.")
        if not 0 < self.tolerance < 1:
            raise UserError(f"tolerance must lie between 0 and 1, not {self.tolerance}.")

    def resolved(self, path: Path) -> SolverConfig:
        """The same with "auto" replaced by the path's own sampler.

        Raises:
            UserError: DDIM for a model of flow matching.
        """
        if self.method == "ddim" and path.sampler != "ddim":
            raise UserError("the solver 'ddim' samples models of v-diffusion, and this one was trained by flow matching; 'auto' finds one.")
        return replace(self, method=path.sampler) if self.method == "auto" else self


@dataclass
class Solution:
    """Latents at t = 1 and how many times the network was evaluated for them (the largest count over the items)."""

    latents: Tensor
    evaluations: int


def solve(
    field_of: Callable[[slice], Field],
    noise: Tensor,
    config: SolverConfig,
    progress: Progress | None = None,
    path: Path | None = None,
) -> Solution:
    """Integrate a velocity field from `noise` [B, T, C].

    dopri5 chooses its steps from an error norm over what it is given; every item is therefore solved on its own, so that a result does not
    depend on its neighbours.

    Args:
        field_of: from a slice of the batch to the field (z, t) -> the network's (guided) output for those items.
        noise: [B, T, C] at t = 0.
        config: method, steps, tolerance.
        progress: told the share that is done.
        path: what the network was trained on; None is the optimal-transport path, whose velocity is the output itself.

    Raises:
        UserError: dopri5 cannot keep the tolerance, because it is too small for single precision or the field is not finite; DDIM for a
            model of flow matching.
    """
    path = path or OptimalTransportPath()
    config = config.resolved(path)

    def velocity_of(items: slice) -> Field:
        output = field_of(items)
        return lambda z, t: path.speed * output(z, t)

    if config.method != "dopri5":
        return _fixed(field_of(slice(None)), noise, config, progress, path.speed)
    return _adaptive(velocity_of, noise, config, progress)


def _fixed(field: Field, noise: Tensor, config: SolverConfig, progress: Progress | None, speed: float) -> Solution:
    """Equal steps along dz/dt = speed * field.

    DDIM, without noise, in its angular form (Salimans and Ho 2022, appendix D): hold the predicted data and noise, move on the circle.
    """
    z, step = noise, 1.0 / config.steps
    for index in range(config.steps):
        t = torch.tensor(index * step, device=z.device, dtype=torch.float32)
        output = field(z, t)
        if config.method == "ddim":
            z = math.cos(step * speed) * z + math.sin(step * speed) * output
        else:
            slope = speed * output
            if config.method == "midpoint":
                slope = speed * field(z + 0.5 * step * slope, t + 0.5 * step)
            elif config.method == "heun":
                ahead = torch.clamp(t + step, max=END)
                slope = 0.5 * (slope + speed * field(z + step * slope, ahead))
            z = z + step * slope
        if progress is not None:
            progress((index + 1) / config.steps)
    return Solution(z, config.steps * (1 if config.method in ("euler", "ddim") else 2))


def _adaptive(field_of: Callable[[slice], Field], noise: Tensor, config: SolverConfig, progress: Progress | None) -> Solution:
    latents, most, done = [], 0, 0.0
    items = noise.shape[0]
    span = torch.tensor([0.0, END], device=noise.device, dtype=torch.float32)
    # a step must end at END: otherwise the last one goes beyond t = 1, where the network has learnt nothing, and is interpolated back
    options = {"step_t": span[1:], "dtype": torch.float32 if noise.device.type == "mps" else torch.float64}  # MPS has no doubles
    for index in range(items):
        item_field, count = field_of(slice(index, index + 1)), 0

        def counted(t: Tensor, z: Tensor, item_field: Field = item_field, index: int = index) -> Tensor:
            nonlocal count, done
            count += 1
            if progress is not None:
                done = max(done, (index + float(t)) / items)  # a step that is refused goes back in t
                progress(done)
            return item_field(z, t.float())

        start, tolerance = noise[index : index + 1], config.tolerance
        try:
            path = torchdiffeq.odeint(counted, start, span, method="dopri5", rtol=tolerance, atol=tolerance, options=options)
        except AssertionError as error:  # how torchdiffeq says that its step shrank to nothing
            raise UserError(f"dopri5 cannot keep tolerance {tolerance:g} ({error}); a larger one or a fixed-step solver may do.") from error
        latents.append(path[-1])
        most = max(most, count)
    if progress is not None:
        progress(1.0)
    return Solution(torch.cat(latents), most)
