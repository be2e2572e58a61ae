"""From conditions to latents: what is sampled, window by window where a clip is longer than the model has learnt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from jasco_pl.controls.conditions import Conditions
from jasco_pl.generation.loop import OVERLAP, circular, plan_circle
from jasco_pl.generation.painting import Held, Made, paint
from jasco_pl.generation.variation import begin
from jasco_pl.network.flow.guidance import Term, guided_velocity
from jasco_pl.network.flow.solver import Field, Progress, Solution, SolverConfig, solve
from jasco_pl.system.seeding import item_noise, stable_hash

if TYPE_CHECKING:
    from jasco_pl.generation.jasco import Jasco


def _noise(seeds: Sequence[int], frames: int, channels: int) -> Tensor:
    """Noise [B, T, C], each item's of its own seed."""
    return item_noise([stable_hash("generate", seed) for seed in seeds], frames, channels)


@torch.inference_mode()
def windows(
    jasco: Jasco,
    conditions: Conditions,
    seeds: Sequence[int],
    guidance: str | None = None,
    solver: SolverConfig | None = None,
    progress: Progress | None = None,
    frames: int | None = None,
    check: Callable[[], None] | None = None,
    sources: Tensor | None = None,
    variation: float = 1.0,
    loop: bool = False,
) -> Iterator[Made]:
    """What there is of the latents [B, T, C], in the codec's scale, whenever a window is finished; arguments as for `Jasco.sample`."""
    sampler, learnt = jasco.sampler(guidance, solver, sources is not None), jasco.frames(jasco.model.config.seconds)
    frames = next((raw.shape[1] for raw in conditions.local.values()), frames or learnt)
    draw, only = (jasco.compat.noise, jasco.compat.only) if jasco.compat else (_noise, None)
    if sources is None:
        noise, start = draw(seeds, frames, jasco.model.config.latent_dim).to(jasco.device), 0.0
    else:
        noise, start = begin(sources.to(jasco.device), variation, seeds, jasco.model.path)
    firsts, width = plan_circle(frames, learnt, round(OVERLAP * jasco.codec.frame_rate))

    passes = 0

    def field(seen: Conditions, frames: int) -> Field:
        def under(terms: tuple[Term, ...]) -> Field:
            weight = None if sampler.weight is None else torch.full((len(seen.text),), sampler.weight, device=noise.device)
            velocity = sampler.velocity.under(sampler.velocity.model.context(seen, terms, frames, only, weight))

            def evaluated(z: Tensor, t: Tensor) -> Tensor:
                nonlocal passes
                if check is not None:
                    check()
                passes += len(z)
                return velocity(z, t)

            return evaluated

        return guided_velocity(under, sampler.guidance, noise.device)

    def flow(seen: Conditions, noise: Tensor, held: Held | None, progress: Progress | None) -> Solution:
        def field_of(items: slice) -> Field:
            own = seen.items(items)
            if loop:
                return circular([(first, field(own.around(first, first + width, frames), width)) for first in firsts], frames, width)
            made = field(own, noise.shape[1])
            return made if held is None else held.items(items).over(made, jasco.model.path, noise[items], start)

        integrate = jasco.compat.solve if jasco.compat else partial(solve, start=start, jumps=[sampler.guidance.start])
        solution = integrate(field_of, noise, sampler.solver, progress, jasco.model.path, sampler.times)
        limit = jasco.model.config.latent_limit
        made = solution.latents if limit is None or not solution.evaluations else solution.latents.clamp(max=limit)
        return Solution(made, solution.evaluations * (len(firsts) if loop else 1))

    if jasco.compat:
        solution = flow(conditions, noise, None, progress)
        states = iter([Made(solution.latents, frames, solution.evaluations)])
    else:
        states = paint(conditions, noise, max(frames, learnt) if loop else learnt, flow, progress)
    for made in states:
        yield made._replace(latents=jasco.model.denormalize(made.latents), passes=passes / len(noise))
