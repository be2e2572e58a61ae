"""The experiments: which configuration files make each, and what it starts from."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from jasco_pl.system.errors import UserError

TEXT_ONLY = "text_only"


@dataclass(frozen=True)
class Experiment:
    """One training of the plan.

    Attributes:
        name: of its folder and in `--only`.
        title: what the tables call it.
        overlays: files of conf/ablation, without ending, in the order in which they are laid over conf/reproduction.yaml.
        changes: what no file of conf/ablation says, as nested options of `jasco fit`.
        base: the experiment, of the same seed, whose weights it starts from.
    """

    name: str
    title: str
    overlays: tuple[str, ...]
    changes: Mapping[str, Any] = field(default_factory=dict)
    base: str | None = None


_PLAIN = {"model": {"config": {"preconditioning": False}}}

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment(TEXT_ONLY, "no local control", (TEXT_ONLY,)),
        Experiment("chords", "chords", ("chords",)),
        Experiment("drums", "drums", ("drums",)),
        Experiment("melody", "melody", ("melody",)),
        Experiment("concatenation", "concatenation", ("chords", "concatenation"), base=TEXT_ONLY),
        Experiment("cross_attention", "cross-attention", ("chords", "cross_attention"), base=TEXT_ONLY),
        Experiment("zero_convolution", "zero convolution", ("chords", "zero_convolution"), base=TEXT_ONLY),
        Experiment("weight_uniform", "w(t) = 1", ("chords", "weight_uniform")),
        Experiment("v_diffusion", "v-diffusion", ("chords", "v_diffusion")),
        Experiment("flow_plain", "flow, without preconditioning", ("chords",), _PLAIN),
        Experiment("symbolic_drums", "drums 200-800 Hz, chords, melody", ("symbolic_drums",)),
        Experiment("mix", "audio", ("mix",)),
        Experiment("drumless", "audio without drums", ("drumless",)),
        Experiment("drums_bandpass", "drums 200-800 Hz", ("drums_bandpass",)),
        Experiment("symbolic_audio", "audio without drums, drums 200-800 Hz, chords, melody", ("symbolic_audio",)),
    )
}
"""In the order in which they are trained: what says most about the paper comes first, a base before what starts from it."""

TABLE_1 = ("melody",)
TABLE_2 = (TEXT_ONLY, "mix", "drumless", "drums", "drums_bandpass", "chords", "melody", "symbolic_drums", "symbolic_audio")
TABLE_4 = ("concatenation", "cross_attention", "zero_convolution")
TABLE_5 = ("weight_uniform", "chords")
FIGURE_2 = ("v_diffusion", "flow_plain", "chords")
"""Experiments by name, as the paper's rows are ordered."""


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
