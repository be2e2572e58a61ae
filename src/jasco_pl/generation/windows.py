"""From conditions to latents: what is sampled, window by window where a clip is longer than the model has learnt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from jasco_pl.controls import Painting
from jasco_pl.controls.conditions import Conditions
from jasco_pl.generation.painting import Held, Made, paint
from jasco_pl.generation.variation import begin
from jasco_pl.network.flow.guidance import guided_velocity
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
) -> Iterator[Made]:
    """What there is of the latents [B, T, C], in the codec's scale, whenever a window is finished; arguments as for `Jasco.sample`."""
    sampler = jasco.sampler(guidance, solver)
    frames = next((raw.shape[1] for raw in conditions.local.values()), frames or jasco.frames(jasco.model.config.seconds))
    draw = jasco.compat.noise if jasco.compat else _noise
    if sources is None:
        noise, start = draw(seeds, frames, jasco.model.config.latent_dim).to(jasco.device), 0.0
    else:
        noise, start = begin(sources.to(jasco.device), variation, seeds, jasco.model.path)

    def flow(seen: Conditions, noise: Tensor, held: Held | None, progress: Progress | None) -> Solution:
        goes_on = held is not None and bool(held.weight.any())

        def told(seen: Conditions, names: frozenset[str]) -> Conditions:
            """What has been made before is no wish, which guidance would exaggerate: every term of it is told."""
            return jasco.model.controls.only(seen, names | {Painting.name} if goes_on else names)

        def field_of(items: slice) -> Field:
            only = jasco.compat.only if jasco.compat else told
            asked = seen.items(items)
            weight = None if sampler.weight is None else torch.full((len(asked.text),), sampler.weight, device=noise.device)
            context = sampler.velocity.model.context(asked, sampler.terms, noise.shape[1], only, weight)
            velocity = sampler.velocity.under(context)

            def evaluated(z: Tensor, t: Tensor, count: int) -> Tensor:
                if check is not None:
                    check()
                return velocity(z, t)

            field = guided_velocity(evaluated, sampler.terms, noise.device)
            return field if held is None else held.items(items).over(field, jasco.model.path, noise[items], start)

        integrate = jasco.compat.solve if jasco.compat else partial(solve, start=start)
        solution = integrate(field_of, noise, sampler.solver, progress, jasco.model.path, sampler.times)
        limit = jasco.model.config.latent_limit
        return solution if limit is None or not solution.evaluations else replace(solution, latents=solution.latents.clamp(max=limit))

    if jasco.compat:
        solution = flow(conditions, noise, None, progress)
        states = iter([Made(solution.latents, frames, solution.evaluations)])
    else:
        states = paint(conditions, noise, jasco.frames(jasco.model.config.seconds), flow, progress)
    for made in states:
        yield made._replace(latents=jasco.model.denormalize(made.latents))
