"""How near a solver comes to the flow's converged solution, by the evaluations of the network that it takes.

Requests are held-out composed pieces with their caption, chords, melody and drums. All items of the batch share the times, as in
generation; dopri5 solves each alone.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from jasco_pl.evaluation.clips import conditions_of
from jasco_pl.evaluation.references import ComposedPieces
from jasco_pl.generation.jasco import Jasco
from jasco_pl.network.flow.config import PER_STEP, SolverConfig, Times
from jasco_pl.network.flow.guidance import guided_velocity, parse_guidance
from jasco_pl.network.flow.path import OptimalTransportPath
from jasco_pl.network.flow.solver import END, Field, solve
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path
from jasco_pl.system.seeding import item_noise, stable_hash

GIVEN = ("chords", "melody", "drums")
Heard = dict[str, dict[int, dict[str, Any]]]
"""Figures of an evaluation's row by method and times, and by evaluations of the network."""
FOLLOWED = (("chord_iou", "chord IoU"), ("onset_f1", "onset F1"), ("melody_accuracy", "melody accuracy"))
SOUND = (("frechet_musicnn", "FD[musicnn], all controls"), ("without_frechet_musicnn", "FD[musicnn], no control"))
CONDITIONS = {"all controls": "", "no control": "without_"}
"""Rows that are drawn -> what stands before the keys of their figures."""


@dataclass(frozen=True)
class SolverBench:
    """What is solved, and how.

    Attributes:
        evaluations: of each of the methods, as a clip costs.
        reference_steps: of Runge-Kutta 4 for the solution that counts as converged; half as many tell how far it is.
    """

    checkpoint: str
    pieces: str
    limit: int = 8
    seconds: float = 4.0
    guidance: str | None = None
    evaluations: Sequence[int] = (8, 12, 20)
    methods: Sequence[str] = ("euler", "midpoint")
    tolerances: Sequence[float] = (1e-2,)
    reference_steps: int = 24
    seed: int = 0


@dataclass
class Distance:
    """Relative distance of the latents to the converged ones, |z - z*| / |z*| over frames and channels, of every item."""

    solver: str
    evaluations: int
    items: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float:
        return sum(self.items) / len(self.items)


def solver_distances(bench: SolverBench) -> Iterator[Distance]:
    """The converged solution's own first (half of its steps against all), then every solver's, with the model's fitted times too.

    Raises:
        UserError: no pieces, or a model that was not trained by flow matching.
    """
    field_of, noise, fitted = _problem(bench)
    everything = field_of(slice(None))
    with torch.inference_mode():
        target = runge_kutta(everything, noise, bench.reference_steps)
        half = runge_kutta(everything, noise, bench.reference_steps // 2)
        yield Distance("Runge-Kutta 4, half of its steps", 4 * (bench.reference_steps // 2), _relative(half, target))
        for count in bench.evaluations:
            for method, times in itertools.product(bench.methods, get_args(Times) if fitted else get_args(Times)[:1]):
                config = SolverConfig(method, count // PER_STEP[method], times=times)  # type: ignore[arg-type,index]
                solution = solve(field_of, noise, config, fitted=fitted)
                yield Distance(f"{method}, {times}", solution.evaluations, _relative(solution.latents, target))
        for tolerance in bench.tolerances:
            solution = solve(field_of, noise, SolverConfig("dopri5", tolerance=tolerance))
            yield Distance("dopri5", solution.evaluations, _relative(solution.latents, target))


def _problem(bench: SolverBench) -> tuple[Callable[[slice], Field], Tensor, list[float] | None]:
    """The guided velocity of some of the clips, their noise, and the model's fitted times; guided from the beginning on, for where a field
    jumps no method has its order."""
    jasco = Jasco.from_pretrained(bench.checkpoint, precision="fp32")
    if not isinstance(jasco.model.path, OptimalTransportPath):
        raise UserError(f"{bench.checkpoint!r} was not trained by flow matching, whose solvers are compared here.")
    source, frames = ComposedPieces(bench.pieces), jasco.frames(bench.seconds)
    names = [name for name in source.ids if source.long_enough(name, bench.seconds)][: bench.limit]
    given = [name for name in GIVEN if name in jasco.model.controls]
    with TemporaryDirectory() as cache:
        references = [source.reference(name, bench.seconds, jasco.codec, Path(cache)) for name in names]
        asked = [conditions_of(reference, given, jasco, frames) for reference in references]
    conditions = jasco.conditions([reference.caption for reference in references], asked, frames)
    guidance = replace(parse_guidance(bench.guidance or jasco.model.config.guidance, jasco.model.controls.names), start=0.0)

    def field_of(items: slice) -> Field:
        seen = conditions.items(items)
        return guided_velocity(lambda terms: jasco.velocity.under(jasco.model.context(seen, terms, frames)), guidance)

    noise = item_noise([stable_hash("solvers", bench.seed, name) for name in names], frames, jasco.model.config.latent_dim)
    return field_of, noise, jasco.model.config.times


def fit_times(bench: SolverBench, parts: int = 10) -> list[float]:
    """Times for `ModelConfig.times`: between two of them lies as much of the root of |dv/dt| as between any others, along the converged
    solution, so that a step's error to first order, (its length)^2 |dv/dt| / 2, is the same everywhere.

    Raises:
        UserError: as `solver_distances`.
    """
    field_of, noise, _ = _problem(bench)
    seen: list[tuple[float, Tensor]] = []
    with torch.inference_mode():
        runge_kutta(field_of(slice(None)), noise, bench.reference_steps, lambda t, velocity: seen.append((t, velocity)))
    work = [0.0]
    for (start, before), (end, after) in itertools.pairwise(seen):
        work.append(work[-1] + math.sqrt(float((after - before).norm()) * (end - start)))
    work.append(work[-1] + (work[-1] - work[-2]) * (1 - seen[-1][0]) / (seen[-1][0] - seen[-2][0]))  # as in the step before
    times = np.interp(np.linspace(0, work[-1], parts + 1), work, [*(t for t, _ in seen), 1.0])
    return [0.0, *(round(float(time), 3) for time in times[1:-1]), 1.0]


def runge_kutta(field: Field, noise: Tensor, steps: int, told: Callable[[float, Tensor], None] | None = None) -> Tensor:
    """The classical method of fourth order, its steps short at both ends, where the velocity bends; `told` gets time and velocity where
    each begins."""
    times = [1 - (1 - (index / steps) ** 2.5) ** 1.5 for index in range(steps + 1)]
    z = noise

    def at(z: Tensor, t: float) -> Tensor:
        return field(z, torch.tensor(min(t, END)))

    for start, end in itertools.pairwise(times):
        step, middle = end - start, (start + end) / 2
        one = at(z, start)
        if told is not None:
            told(start, one)
        two = at(z + step / 2 * one, middle)
        three = at(z + step / 2 * two, middle)
        z = z + step / 6 * (one + 2 * two + 2 * three + at(z + step * three, end))
    return z


def _relative(found: Tensor, target: Tensor) -> list[float]:
    return ((found - target).flatten(1).norm(dim=1) / target.flatten(1).norm(dim=1)).tolist()  # type: ignore[no-any-return]


def draw(distances: Sequence[Distance], path: str | Path, heard: Heard | None = None) -> None:
    """Distance over evaluations, both logarithmic, a line a solver, as PNG; beside it what was heard of clips with all controls.

    Args:
        distances: of `solver_distances`.
        path: where the picture goes.
        heard: of `heard_in`.

    Raises:
        UserError: the picture cannot be written.
    """
    panels = 1 if heard is None else 3
    figure = Figure(figsize=(7 if panels == 1 else 14, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    first, *others = np.atleast_1d(figure.subplots(1, panels))
    for solver in dict.fromkeys(distance.solver for distance in distances):
        points = sorted((one.evaluations, one.mean) for one in distances if one.solver == solver)
        first.loglog(*zip(*points, strict=True), marker="o" if len(points) > 1 else "s", markersize=4, label=solver)
    first.set_ylabel("relative distance to the converged latents")
    _finish(first, sorted({one.evaluations for one in distances}))
    if heard is not None:
        _draw_figures(others[0], heard, FOLLOWED)
        _draw_figures(others[1], heard, SOUND)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def heard_in(evaluations: Sequence[Mapping[str, Any]]) -> Heard:
    """Figures of clips with all controls and without, from the results.json of `jasco evaluate` with several solvers or numbers of steps.

    Raises:
        UserError: there are none that could be drawn.
    """
    found: Heard = {}
    for row in itertools.chain.from_iterable(evaluation["rows"] for evaluation in evaluations):
        method, steps, *times = str(row["solver"]).replace(",", "").split()
        if row["conditions"] in CONDITIONS and method in PER_STEP:
            kind = f"{method}, {times[0] if times else 'uniform'}"
            figures = found.setdefault(kind, {}).setdefault(PER_STEP[method] * int(steps), {})
            figures |= {CONDITIONS[row["conditions"]] + key: figure for key, figure in row["figures"].items()}
    if not any(FOLLOWED[0][0] in figures for by_count in found.values() for figures in by_count.values()):
        raise UserError("no evaluation has a row of all controls by a solver with fixed steps, so that there is nothing to draw of it.")
    return found


def _draw_figures(axes: Axes, heard: Heard, figures: Sequence[tuple[str, str]]) -> None:
    """A colour a figure, a style of line a kind of solver; bars are 95 % intervals where there are some."""
    for colour, (key, title) in enumerate(figures):
        for style, (kind, by_count) in zip(itertools.cycle(("-", "--", ":")), sorted(heard.items())):
            points = [(count, told[key]) for count, told in sorted(by_count.items()) if told.get(key, {}).get("mean") is not None]
            if points:
                means = [told["mean"] for _, told in points]
                away = [
                    [abs(told[side] - told["mean"]) if told.get(side) is not None else 0.0 for _, told in points]
                    for side in ("low", "high")
                ]
                counts = [count for count, _ in points]
                axes.errorbar(counts, means, away, fmt=f"o{style}", color=f"C{colour}", markersize=4, capsize=2, label=f"{title} ({kind})")
    axes.set_xscale("log")
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    _finish(axes, sorted({count for by_count in heard.values() for count in by_count}))


def _finish(axes: Axes, ticks: Sequence[int]) -> None:
    axes.set_xlabel("evaluations of the network")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.grid(True, which="both", alpha=0.3)
    axes.legend(fontsize=8)


def described(bench: SolverBench, distances: Sequence[Distance]) -> dict[str, Any]:
    """Everything, for JSON."""
    return {"bench": asdict(bench), "distances": [asdict(one) for one in distances], "cpu_seconds": time.process_time()}
