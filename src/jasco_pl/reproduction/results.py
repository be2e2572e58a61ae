"""What all experiments of a budget gave: figures, findings, and the files that programs read."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

from jasco_pl.evaluation import ResultRow
from jasco_pl.evaluation.report import figure_as_json
from jasco_pl.evaluation.table import CLASSIFIERS, EMBEDDINGS
from jasco_pl.files import atomic_path, write_json
from jasco_pl.metrics.frechet import FrechetDistance
from jasco_pl.metrics.report import Figure
from jasco_pl.reproduction import paper
from jasco_pl.reproduction.claims import CLAIMS
from jasco_pl.reproduction.job import Budget, Job
from jasco_pl.reproduction.paper import CLAP, FRECHET, KL
from jasco_pl.reproduction.plan import EXPERIMENTS, TEXT_ONLY
from jasco_pl.reproduction.scores import Scores, first_heard
from jasco_pl.reproduction.verdict import Verdict, judge

CEILING = "the recordings through the codec"
NAMES = {
    paper.SIMILARITY_CLF: "melody similarity, classifier",
    paper.SIMILARITY: "melody similarity, chroma",
    paper.ACCURACY: "melody accuracy",
    paper.ONSETS: "onset F1",
    paper.CHORDS: "chord IoU",
    paper.TRIADS: "chord IoU, triads",
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
            published = (
                paper.TABLE_2.get(name, {}).get(column)
                or paper.TABLE_4.get(name, {}).get(column)
                or paper.TABLE_5.get(name, {}).get(column)
            )
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
