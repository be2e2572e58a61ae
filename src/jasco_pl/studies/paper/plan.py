"""The paper as data (paper.yaml): our experiments, its figures, what it found; and the configuration files of an experiment."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from jasco_pl.pages.base import packaged
from jasco_pl.system.errors import UserError

TEXT_ONLY = "text_only"
SIMILARITY_CLF, SIMILARITY, ACCURACY = "melody_similarity", "chroma_similarity", "melody_accuracy"
ONSETS, CHORDS, TRIADS, FRECHET, KL, CLAP = "onset_f1", "chord_iou", "chord_iou_triads", "frechet", "kl", "clap"
"""Columns; those of an evaluation go by its keys."""

ADHERENCE = (SIMILARITY_CLF, SIMILARITY, ONSETS, CHORDS)
QUALITY = (FRECHET, KL, CLAP)
HIGHER_IS_BETTER = {**dict.fromkeys((*ADHERENCE, ACCURACY, TRIADS, CLAP), True), FRECHET: False, KL: False}


@dataclass(frozen=True)
class Experiment:
    """One training of the plan.

    Attributes:
        name: of its folder and in `--only`.
        title: what the tables call it.
        overlays: files of conf/ablation, without ending, in the order in which they are laid over conf/reproduction.yaml.
        changes: what no file of conf/ablation says, as nested options of `jasco fit`.
        base: the experiment, of the same seed, whose weights it starts from.
        short: what it is called under a bar; "": by its title.
    """

    name: str
    title: str
    overlays: tuple[str, ...]
    changes: Mapping[str, Any] = field(default_factory=dict)
    base: str | None = None
    short: str = ""


class Published(NamedTuple):
    """A figure on the two test sets of the paper; None where it gives none."""

    musiccaps: float | None
    internal: float | None

    def __str__(self) -> str:
        return " / ".join("–" if value is None else f"{value:g}" for value in self)


class Finding(Enum):
    """How the first model does beside the second."""

    BETTER = "better"
    COMPARABLE = "no worse"


@dataclass(frozen=True)
class Claim:
    """One comparison.

    Attributes:
        place: where in the paper it stands.
        says: in words.
        one, other: the experiments that stand for the paper's models.
        column: by which figure.
    """

    place: str
    says: str
    one: str
    other: str
    column: str
    finding: Finding = Finding.BETTER

    @property
    def published(self) -> tuple[Published, Published] | None:
        """The paper's figures of both, where it gives some."""
        one, other = (PUBLISHED[self.place].get(name, {}).get(self.column) for name in (self.one, self.other))
        return None if one is None or other is None else (one, other)


_PAPER: dict[str, Any] = yaml.safe_load(packaged("paper.yaml", __package__))

EXPERIMENTS = {name: Experiment(name, **{**said, "overlays": tuple(said["overlays"])}) for name, said in _PAPER["experiments"].items()}
"""In the order in which they are trained."""
PUBLISHED: dict[str, dict[str, dict[str, Published]]] = {
    place: {name: {column: Published(*pair) for column, pair in row.items()} for name, row in rows.items()}
    for place, rows in _PAPER["figures"].items()
}
"""The paper's figures by place (table or figure), experiment in the order of the paper's rows, and column."""
QUOTED: dict[str, dict[str, float]] = _PAPER["quoted"]
"""Table 1 as it is printed, accuracy in percent."""
CLAIMS = tuple(Claim(**{**said, "finding": Finding(said.get("finding", Finding.BETTER.value))}) for said in _PAPER["claims"])


def chosen(names: Collection[str] | None) -> list[Experiment]:
    """The named experiments with what they start from, in the plan's order; None are all.

    Raises:
        UserError: there is no experiment of that name.
    """
    if names is None:
        return list(EXPERIMENTS.values())
    if unknown := sorted(set(names) - set(EXPERIMENTS)):
        raise UserError(f"there is no experiment {unknown[0]!r}; there are: {', '.join(EXPERIMENTS)}.")
    wanted = {*names, *(base for name in names if (base := EXPERIMENTS[name].base))}
    return [experiment for experiment in EXPERIMENTS.values() if experiment.name in wanted]


@dataclass(frozen=True)
class Recipe:
    """The configuration files of an experiment, read once.

    Args:
        experiment: whose.
        conf: folder with reproduction.yaml and ablation/.
    """

    experiment: Experiment
    conf: Path

    @property
    def files(self) -> list[Path]:
        """In the order of `jasco fit -c`."""
        return [self.conf / "reproduction.yaml", *(self.conf / "ablation" / f"{name}.yaml" for name in self.experiment.overlays)]

    @cached_property
    def texts(self) -> list[str]:
        """What stands in the files.

        Raises:
            UserError: one is not there.
        """
        try:
            return [path.read_text(encoding="utf-8") for path in self.files]
        except OSError as error:
            raise UserError(
                f"the configuration {str(error.filename)!r} is not there: run in a checkout, or name its folder with --conf."
            ) from error

    @cached_property
    def controls(self) -> dict[str, dict[str, Any]]:
        """The model's local controls with their options; chords begin as sets of pitch classes, as those of the shipped model did."""
        found: dict[str, dict[str, Any]] = {}
        for text in self.texts:
            config = (yaml.safe_load(text).get("model") or {}).get("config") or {}
            found = config.get("controls", found)
        return {name: {**options, "pitch_class_init": True} if name == "chords" else dict(options) for name, options in found.items()}

    @property
    def row(self) -> str:
        """The row of an evaluation in which all that the model was trained on is given."""
        return "all" if self.controls else "none"

    def changes(self) -> dict[str, Any]:
        """All that is laid over the files, besides budget, seed and folders."""
        changes = copy.deepcopy(dict(self.experiment.changes))
        changes.setdefault("model", {}).setdefault("config", {})["controls"] = self.controls
        return changes
