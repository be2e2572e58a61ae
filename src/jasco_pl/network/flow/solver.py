"""From noise to latents: fixed-step Euler, midpoint and Heun, adaptive dopri5 (paper, section 3.3), and DDIM for v-diffusion."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jasco_pl.network.flow.config import SolverConfig
from jasco_pl.network.flow.path import OptimalTransportPath, Path
from jasco_pl.system.errors import UserError

Field = Callable[[Tensor, Tensor], Tensor]
Progress = Callable[[float], None]
"""Called with the share of the work that is done, rising to 1."""

_ALIKE = 1e-6  # times that are one: a step between them would be paid for nothing
END = 1.0 - 1e-5  # the path's own sigma_min keeps the adaptive solver off t = 1


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
    fitted: Sequence[float] | None = None,
    start: float = 0.0,
    jumps: Sequence[float] = (),
) -> Solution:
    """Integrate a velocity field from `noise` [B, T, C].

    dopri5 chooses its steps from an error norm over what it is given; every item is therefore solved on its own, so that a result does not
    depend on its neighbours.

    Args:
        field_of: from a slice of the batch to the field (z, t) -> the network's (guided) output for those items.
        noise: [B, T, C] at t = 0, or a point of the path at `start`.
        config: method, steps, tolerance.
        progress: told the share that is done.
        path: what the network was trained on; None is the optimal-transport path, whose velocity is the output itself.
        fitted: the model's `ModelConfig.times`, for a configuration that takes them.
        start: where on the path it begins, from 0 to 1; of the steps those that lie behind it are taken, the first one in part.
        jumps: flow times at which the field jumps; dopri5 ends a step at each, where it would else try ever shorter ones.

    Raises:
        UserError: dopri5 cannot keep the tolerance, because it is too small for single precision or the field is not finite; DDIM for a
            model of flow matching.
    """
    path = path or OptimalTransportPath()
    config = config.resolved(path, fitted is not None)
    assert config.steps is not None
    if start >= END:
        if progress is not None:
            progress(1.0)
        return Solution(noise, 0)

    def velocity_of(items: slice) -> Field:
        output = field_of(items)
        return lambda z, t: path.speed * output(z, t)

    if config.method == "dopri5":
        return _adaptive(velocity_of, noise, config, progress, [start, *sorted(time for time in jumps if start < time < END), END])
    times = remaining(step_times(config.steps, fitted if config.times == "fitted" else None), start)
    if config.method == "ddim":
        return _ddim(field_of(slice(None)), noise, times, progress, path.speed)
    return _fixed(velocity_of(slice(None)), noise, config.method, times, progress)


def _ddim(field: Field, noise: Tensor, times: Sequence[float], progress: Progress | None, speed: float) -> Solution:
    """DDIM without noise, in its angular form (Salimans and Ho 2022, appendix D): hold the predicted data and noise, move on the circle."""
    z, places = noise, torch.tensor(times, device=noise.device, dtype=torch.float32)
    for index, (start, end) in enumerate(itertools.pairwise(times)):
        output, angle = field(z, places[index]), (end - start) * speed
        z = math.cos(angle) * z + math.sin(angle) * output
        if progress is not None:
            progress((index + 1) / (len(times) - 1))
    return Solution(z, len(times) - 1)


def step_times(steps: int, fitted: Sequence[float] | None = None) -> list[float]:
    """Where the steps begin, and the end: [steps + 1] from 0 to 1, equally far apart, or as far in `fitted`, between whose times lie equal
    parts of the work."""
    even = [index / steps for index in range(steps + 1)]
    if fitted is None:
        return even
    last = len(fitted) - 1
    parts = [(min(int(place * last), last - 1), place * last) for place in even]
    return [fitted[part] + (place - part) * (fitted[part + 1] - fitted[part]) for part, place in parts]


def remaining(times: Sequence[float], start: float) -> list[float]:
    """Of times that rise to 1 those that are left where the path begins at `start`, and that itself."""
    return [start, *(time for time in times if time > start + _ALIKE)]


def _fixed(field: Field, noise: Tensor, method: str, times: Sequence[float], progress: Progress | None) -> Solution:
    z, places = noise, torch.tensor(times, device=noise.device, dtype=torch.float32)  # in one copy to the device
    for index, (start, end) in enumerate(itertools.pairwise(times)):
        t, step = places[index], end - start
        slope = field(z, t)
        if method == "midpoint":
            slope = field(z + 0.5 * step * slope, t + 0.5 * step)
        elif method == "heun":
            ahead = torch.clamp(t + step, max=END)
            slope = 0.5 * (slope + field(z + step * slope, ahead))
        z = z + step * slope
        if progress is not None:
            progress((index + 1) / (len(times) - 1))
    return Solution(z, (len(times) - 1) * (1 if method == "euler" else 2))


def _adaptive(
    field_of: Callable[[slice], Field], noise: Tensor, config: SolverConfig, progress: Progress | None, times: Sequence[float]
) -> Solution:
    import torchdiffeq  # here: no other method needs it

    latents, most, done = [], 0, 0.0
    items, tolerance = noise.shape[0], config.tolerance
    for index in range(items):
        item_field, count, point = field_of(slice(index, index + 1)), 0, noise[index : index + 1]
        for begin, end in itertools.pairwise(times):
            inside = end if end == END else end - 2 * _ALIKE  # the field before a jump, up to it

            def counted(t: Tensor, z: Tensor, item_field: Field = item_field, index: int = index, inside: float = inside) -> Tensor:
                nonlocal count, done
                count += 1
                if progress is not None:
                    done = max(done, (index + (float(t) - times[0]) / (END - times[0])) / items)  # a step that is refused goes back in t
                    progress(done)
                return item_field(z, t.float().clamp(max=inside))

            span = torch.tensor([begin, end], device=noise.device, dtype=torch.float32)
            # a step must end there: else the last one goes beyond t = 1, where the network has learnt nothing, and is interpolated back
            options = {"step_t": span[1:], "dtype": torch.float32 if noise.device.type == "mps" else torch.float64}  # MPS has no doubles
            try:
                path = torchdiffeq.odeint(counted, point, span, method="dopri5", rtol=tolerance, atol=tolerance, options=options)
            except AssertionError as error:  # how torchdiffeq says that its step shrank to nothing
                raise UserError(
                    f"dopri5 cannot keep tolerance {tolerance:g} ({error}); a larger one or a fixed-step solver may do."
                ) from error
            point = path[-1]
        latents.append(point)
        most = max(most, count)
    if progress is not None:
        progress(1.0)
    return Solution(torch.cat(latents), most)
