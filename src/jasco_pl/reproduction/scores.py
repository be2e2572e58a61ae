"""What was measured of an experiment, clip by clip and seed by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from jasco_pl.evaluation import Listeners, ResultRow
from jasco_pl.evaluation.clips import read_arrays
from jasco_pl.evaluation.settings import takes_audio
from jasco_pl.evaluation.table import CLASSIFIERS, EMBEDDINGS, clap_of, kl_of
from jasco_pl.metrics.bootstrap import bootstrap_interval
from jasco_pl.metrics.frechet import Gaussian, frechet_distance
from jasco_pl.metrics.report import Figure
from jasco_pl.reproduction.paper import ACCURACY, ADHERENCE, CLAP, FRECHET, KL, TRIADS

Arrays = Sequence[Mapping[str, NDArray[np.float32]]]


def first_heard(listeners: Listeners, of: Sequence[str]) -> str:
    """The network that stands for the paper's: the paper's own where it is here, else musicnn."""
    return next((name for name in reversed(of) if name in listeners.names), "musicnn")


@dataclass(frozen=True)
class Scores:
    """One experiment.

    Attributes:
        values: column -> one figure a seed and clip [seeds, clips], NaN where it is undefined.
        sets: of every seed, what the networks made of the clips and of their references, a clip each.
        embedder: whose embeddings the Frechet distance is taken of; "" without any.
        missing: column -> why there is no figure.
    """

    values: Mapping[str, NDArray[np.float64]]
    sets: Sequence[tuple[Arrays, Arrays]]
    embedder: str
    missing: Mapping[str, str]

    @classmethod
    def of(cls, rows: Sequence[ResultRow]) -> Scores:
        """The figures of one model a seed, measured on the same clips."""
        listeners = rows[0].task.listeners
        embedder, classifier = first_heard(listeners, tuple(EMBEDDINGS)), first_heard(listeners, CLASSIFIERS)
        sets = [_heard(row) for row in rows]
        values = {
            key: np.array([[_number(clip["figures"].get(key)) for clip in row.measured.clips] for row in rows])
            for key in (*ADHERENCE, ACCURACY, TRIADS)
        }
        values[KL] = np.array([[kl_of(*pair, classifier) for pair in zip(*both, strict=True)] for both in sets])
        values[CLAP] = np.array([[clap_of(found) for found in generated] for generated, _ in sets])
        keys = {FRECHET: f"frechet_{embedder}", KL: f"kl_{classifier}"}
        missing = {
            key: why for key in (*values, FRECHET) if (why := rows[0].figures.get(keys.get(key, key), Figure.absent("no figure")).missing)
        }
        return cls(values, sets, embedder if embedder in listeners.names else "", missing)

    @property
    def seeds(self) -> int:
        """How many trainings."""
        return len(self.sets)

    def by_seed(self, key: str) -> list[float]:
        """The figure of every training: a mean over its clips, or a distance of them all; NaN where there is none."""
        if key == FRECHET:
            return [self.frechet(seed) for seed in range(self.seeds)]
        return [float(np.nanmean(row)) if not np.isnan(row).all() else math.nan for row in self.values[key]]

    def figure(self, key: str) -> Figure:
        """Mean over seeds; the interval is that of the clips, with the mean over seeds of each."""
        if key in self.missing:
            return Figure.absent(self.missing[key])
        if key == FRECHET:
            mean = float(np.mean(self.by_seed(key)))
            return Figure(mean, math.nan, math.nan, sum(len(found[self.embedder]) for found in self.sets[0][0]))
        return Figure.of(self.by_clip(key))

    def by_clip(self, key: str) -> NDArray[np.float64]:
        """[clips], mean over seeds."""
        return np.asarray(self.values[key].mean(axis=0))

    def frechet(self, seed: int, left_out: int | None = None) -> float:
        """The distance between the clips of a seed and the references, without one of the pieces if `left_out` names it."""
        if not self.embedder:
            return math.nan
        sides = [
            np.concatenate([found[self.embedder] for index, found in enumerate(side) if index != left_out]) for side in self.sets[seed]
        ]
        return frechet_distance(*(Gaussian.fit(torch.from_numpy(side)) for side in sides))

    @cached_property
    def frechet_without(self) -> NDArray[np.float64]:
        """The distance without each of the pieces in turn [clips], mean over seeds."""
        clips = len(self.sets[0][0])
        return np.array([np.mean([self.frechet(seed, clip) for seed in range(self.seeds)]) for clip in range(clips)])


@dataclass(frozen=True)
class Difference:
    """How far one experiment is from another on the same clips: mean and 95 % interval, and the difference of every seed."""

    mean: float
    low: float
    high: float
    by_seed: tuple[float, ...]


def difference(one: Scores, other: Scores, key: str) -> Difference | None:
    """`one` minus `other`, trained with the same seeds and measured on the same clips; None where one of them has no figure.

    Means over clips: bootstrap of the clip's own difference. Frechet distances: jackknife over clips (Quenouille 1956, Tukey 1958), both
    distances without the same piece; a bootstrap would repeat clips, and what is repeated spans fewer dimensions.
    """
    by_seed = tuple(a - b for a, b in zip(one.by_seed(key), other.by_seed(key), strict=True))
    if any(math.isnan(value) for value in by_seed):
        return None
    if key != FRECHET:
        values = one.by_clip(key) - other.by_clip(key)
        return Difference(float(np.nanmean(values)), *bootstrap_interval(values), by_seed)
    mean, without = float(np.mean(by_seed)), one.frechet_without - other.frechet_without
    error = math.sqrt((len(without) - 1) / len(without) * float(np.square(without - without.mean()).sum()))
    return Difference(mean, mean - 1.96 * error, mean + 1.96 * error, by_seed)


def _heard(row: ResultRow) -> tuple[Arrays, Arrays]:
    """What the networks made of a row's clips (those made with other audio, where it gives audio) and of the references."""
    task = replace(row.task, other=takes_audio(row.given))
    generated = [read_arrays(task.path(name).with_suffix(".npz")) for name in task.names]
    return generated, [read_arrays(task.reference_path(name)) for name in task.names]


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
