"""What was measured of all experiments, clip by clip and seed by seed; whether a finding of the paper shows in it: said by an interval."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from jasco_pl.evaluation.clips import read_arrays
from jasco_pl.evaluation.engine import ResultRow
from jasco_pl.evaluation.pretrained import Listeners
from jasco_pl.evaluation.report import figure_as_json
from jasco_pl.evaluation.settings import takes_audio
from jasco_pl.evaluation.table import CLASSIFIERS, EMBEDDINGS, clap_of, kl_of
from jasco_pl.metrics.distances import FrechetDistance, Gaussian, frechet_distance
from jasco_pl.metrics.report import Figure, bootstrap_interval
from jasco_pl.studies.paper.engine import Budget, Job
from jasco_pl.studies.paper.plan import (
    ACCURACY,
    ADHERENCE,
    CHORDS,
    CLAIMS,
    CLAP,
    EXPERIMENTS,
    FRECHET,
    HIGHER_IS_BETTER,
    KL,
    ONSETS,
    PUBLISHED,
    SIMILARITY,
    SIMILARITY_CLF,
    TEXT_ONLY,
    TRIADS,
    Claim,
    Finding,
)
from jasco_pl.system.files import atomic_path, write_json

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

    Means over clips that have a figure in both: bootstrap of the clip's own difference, no interval of a single one. Frechet distances:
    jackknife over clips (Quenouille 1956, Tukey 1958), both distances without the same piece; a bootstrap would repeat clips, and what is
    repeated spans fewer dimensions.
    """
    if key != FRECHET:
        pairs = one.values[key] - other.values[key]
        values = pairs.mean(axis=0)
        if np.isnan(values).all():
            return None
        interval = bootstrap_interval(values) if np.isfinite(values).sum() > 1 else (math.nan, math.nan)
        return Difference(float(np.nanmean(values)), *interval, tuple(np.nanmean(pairs, axis=1).tolist()))
    by_seed = tuple(a - b for a, b in zip(one.by_seed(key), other.by_seed(key), strict=True))
    if any(math.isnan(value) for value in by_seed):
        return None
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


COMPARABLE = 0.25
"""How much worse, as a share of the model it is compared with, a figure may be and still count as comparable. The paper calls its own FAD,
KL and CLAP "mostly comparable" where, on MusicCaps, KL is up to 23 % and FAD up to 20 % worse than without controls."""


class Outcome(Enum):
    """What can be said of a finding."""

    AGREES = "agrees"
    CONTRARY = "does not reproduce"
    UNDECIDED = "undecided at this budget"
    NOT_RUN = "not run yet"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Verdict:
    """A finding, what can be said of it, and the figures behind."""

    claim: Claim
    outcome: Outcome
    one: float | None = None
    other: float | None = None
    difference: Difference | None = None


def judge(claim: Claim, scores: Mapping[str, Scores]) -> Verdict:
    """Compare our two models as the finding compares the paper's.

    "Better": agrees if the whole interval of the difference lies on the paper's side of nothing and the difference of every seed does,
    contrary if all of it lies on the other side. "Comparable": agrees if the whole interval is less than `COMPARABLE` worse, contrary if
    all of it is more.
    """
    if claim.one not in scores or claim.other not in scores:
        return Verdict(claim, Outcome.NOT_RUN)
    one, other = scores[claim.one], scores[claim.other]
    found = difference(one, other, claim.column)
    if found is None:
        return Verdict(claim, Outcome.NOT_MEASURED)
    of_other = other.figure(claim.column).mean
    outcome = decide(claim, found, of_other)
    return Verdict(claim, outcome, one.figure(claim.column).mean, of_other, found)


def decide(claim: Claim, found: Difference, of_other: float) -> Outcome:
    """The rule of `judge`, given the difference and the figure of the model that is compared with."""
    sign = 1.0 if HIGHER_IS_BETTER[claim.column] else -1.0
    worst, best = sorted((sign * found.low, sign * found.high))
    bound = 0.0 if claim.finding is Finding.BETTER else -COMPARABLE * abs(of_other)
    if worst > bound and all(sign * value > bound for value in found.by_seed):
        return Outcome.AGREES
    return Outcome.CONTRARY if best < bound else Outcome.UNDECIDED


CEILING = "the recordings through the codec"
NAMES = {
    SIMILARITY_CLF: "melody similarity, classifier",
    SIMILARITY: "melody similarity, chroma",
    ACCURACY: "melody accuracy",
    ONSETS: "onset F1",
    CHORDS: "chord IoU",
    TRIADS: "chord IoU, triads",
}


@dataclass
class Reproduction:
    """Everything that the page says.

    Attributes:
        budget: what all experiments shared.
        seeds: as they were asked for.
        scores: experiments that are measured with every seed, by name; and the codec's ceiling.
        finished: what was written down of every finished training.
        machine: what ran them, or makes the page where none is finished.
        batch, seconds: crops of a step, and their length.
    """

    budget: Budget
    seeds: Sequence[int]
    scores: Mapping[str, Scores]
    finished: Sequence[Mapping[str, Any]]
    machine: str
    batch: int
    seconds: float

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """On every finding, in the paper's order."""
        return [judge(claim, self.scores) for claim in CLAIMS]


def titles(budget: Budget) -> dict[str, str]:
    """Headings of the columns; which networks stand behind distances and scores depends on what is here."""
    names = budget.listeners.names
    embedder, classifier = first_heard(budget.listeners, tuple(EMBEDDINGS)), first_heard(budget.listeners, CLASSIFIERS)
    shown = names.get(embedder, embedder)
    return {
        **NAMES,
        FRECHET: f"{FrechetDistance(shown, 1).kind}[{shown}]",
        KL: f"KL[{names.get(classifier, classifier)}]",
        CLAP: f"CLAP[{names.get('clap', 'clap')}]",
    }


def gather(budget: Budget, seeds: Sequence[int], machine: str) -> Reproduction:
    """Read what is there: an experiment counts once every seed of it is trained and measured with this budget."""
    jobs = {name: [Job(name, seed, budget) for seed in seeds] for name in EXPERIMENTS}
    rows: dict[str, list[ResultRow]] = {
        name: [job.measure() for job in own] for name, own in jobs.items() if all(job.measured() for job in own)
    }
    if TEXT_ONLY in rows:
        rows[CEILING] = [jobs[TEXT_ONLY][0].ceiling()]
    finished = [entry for own in jobs.values() for job in own if (entry := job.finished()) is not None]
    ran = " and ".join(dict.fromkeys(str(entry["machine"]) for entry in finished if "machine" in entry)) or machine
    data = yaml.safe_load((budget.conf / "reproduction.yaml").read_text(encoding="utf-8"))["data"]
    scores = {name: Scores.of(own) for name, own in rows.items()}
    return Reproduction(budget, seeds, scores, finished, ran, int(data["batch_size"]), float(data["seconds"]))


def table_of(found: Reproduction) -> list[dict[str, Any]]:
    """A line for every experiment and column: our figure with interval and seeds, the paper's."""
    lines = []
    for name, scores in found.scores.items():
        for column, title in titles(found.budget).items():
            figure = scores.figure(column) if column == FRECHET or column in scores.values else Figure.absent("no figure")
            if figure.missing is not None and column not in scores.missing:
                continue
            published = next((rows[name][column] for rows in PUBLISHED.values() if column in rows.get(name, {})), None)
            lines.append(
                {
                    "experiment": name,
                    "column": title,
                    **figure_as_json(figure),
                    "by_seed": [None if math.isnan(value) else value for value in scores.by_seed(column)],
                    "paper_musiccaps": published.musiccaps if published else None,
                    "paper_internal": published.internal if published else None,
                }
            )
    return lines


def write_figures(found: Reproduction) -> None:
    """Write reproduction.csv and reproduction.json into the folder of the experiments."""
    lines = table_of(found)
    with atomic_path(found.budget.out / "reproduction.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        columns = ["experiment", "column", "mean", "low", "high", "count", "by_seed", "paper_musiccaps", "paper_internal", "missing"]
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({**line, "by_seed": " ".join(map(str, line["by_seed"]))} for line in lines)
    said = [
        {
            "place": verdict.claim.place,
            "says": verdict.claim.says,
            "outcome": verdict.outcome.value,
            "one": verdict.claim.one,
            "other": verdict.claim.other,
            "column": verdict.claim.column,
            "difference": None if verdict.difference is None else vars(verdict.difference),
        }
        for verdict in found.verdicts
    ]
    settings = {"steps": found.budget.steps, "clips": found.budget.clips, "seeds": list(found.seeds), "guidance": found.budget.guidance}
    write_json(found.budget.out / "reproduction.json", {"settings": settings, "machine": found.machine, "figures": lines, "findings": said})
