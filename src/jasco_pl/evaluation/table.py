"""From what was written of the clips to the figures of a row: means with intervals, and distances between sets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from jasco_pl.evaluation.clips import REFERENCE, Task, read_arrays
from jasco_pl.evaluation.measure import FOLLOWED, FOLLOWS, NOT_ASKED, SALIENCE
from jasco_pl.evaluation.pretrained import SALIENCE as BY_SALIENCE
from jasco_pl.evaluation.pretrained import Listeners
from jasco_pl.evaluation.seams import SEAMS
from jasco_pl.evaluation.settings import CEILING, CROSSED
from jasco_pl.metrics.distances import ClipFigures, FrechetDistance, KernelDistance, clap_score, label_kl
from jasco_pl.metrics.report import Column, Figure
from jasco_pl.system.errors import UserError
from jasco_pl.system.typed import read_typed

COSTS = [Column("real_time_factor", "real-time factor", 2, False), Column("evaluations", "evaluations", 0)]
EMBEDDINGS = {"musicnn": 200, "vggish": 128}  # what distances are taken of, and their dimensions
CLASSIFIERS = ("musicnn", "passt")


@dataclass(frozen=True)
class Group:
    """Columns that stand together in a table of their own."""

    title: str
    columns: list[Column]


def groups(listeners: Listeners, crossed: bool = False, windows: bool = False) -> list[Group]:
    """All columns, by what they ask; with those of the row crossed alone, if there is one, and of clips longer than a window."""
    sounds = [Column("clap", f"CLAP[{listeners.names.get('clap', 'clap')}]", 3, True)]
    for name in EMBEDDINGS:
        shown = listeners.names.get(name, name)
        kind = FrechetDistance(shown, 1).kind
        sounds += [Column(f"frechet_{name}", f"{kind}[{shown}]", 2, False), Column(f"kernel_{name}", f"KAD[{shown}]", 2, False)]
    sounds += [Column(f"kl_{name}", f"KL[{listeners.names.get(name, name)}]", 3, False) for name in CLASSIFIERS]
    independent = [Group("Follows what it was not asked for", [*NOT_ASKED.values()])] if crossed else []
    together = [Group("Holds together where windows meet", SEAMS)] if windows else []
    return [
        Group("Follows the conditions", FOLLOWS),
        *independent,
        *together,
        Group("Sounds like the reference", sounds),
        Group("Cost", COSTS),
    ]


def of_set(key: str) -> bool:
    """Whether a column is a property of a set of clips rather than a mean over them."""
    return key.startswith(("frechet_", "kernel_"))


@dataclass
class Measured:
    """A row's figures by column key, and its clips: records as they were written, each with its own figures."""

    figures: dict[str, Figure]
    clips: list[dict[str, Any]]


def read_row(own: Task, other: Task | None, allow_few: bool = False) -> Measured:
    """The figures of a row.

    Args:
        own: its clips.
        other: the clips that were made with the audio of other pieces, where the row gives audio: FAD, KL and CLAP are theirs.
        allow_few: compute Frechet distances even from no more embeddings than they have dimensions.
    """
    clips = [read_typed(own.path(name), dict[str, Any]) for name in own.names]
    listeners, sets = own.listeners, other or own
    arrays = [read_arrays(sets.path(name).with_suffix(".npz")) for name in own.names]
    known = [
        {name.removeprefix(REFERENCE): value for name, value in found.items() if name.startswith(REFERENCE)}
        or read_arrays(own.reference_path(piece))
        for piece, found in zip(own.names, arrays, strict=True)
    ]
    measured = [column.key for column in (*FOLLOWS, *NOT_ASKED.values(), *SEAMS) if any(column.key in clip["figures"] for clip in clips)]
    costs = [] if own.row == CEILING or own.finished else [column.key for column in COSTS]  # which cost no evaluation
    compared = own.row != CROSSED  # with the reference as a whole
    gathered = RowFigures([*measured, *costs], listeners, compared, allow_few)
    for position, (clip, found, reference) in enumerate(zip(clips, arrays, known, strict=True)):
        values = {key: _number(clip["figures"].get(key)) for key in measured} | {key: _number(clip["cost"].get(key)) for key in costs}
        scores = gathered.add(position, values, found, reference)
        if other is None:  # those of another clip would be taken for this one's
            values |= scores
        clip["figures"] = {key: _plain(values.get(key, math.nan)) for key in gathered.means}
    figures = gathered.figures()
    for name, why in listeners.missing.items():
        keys = [column.key for column in SALIENCE] if name == BY_SALIENCE else [f"{kind}_{name}" for kind in ("frechet", "kernel", "kl")]
        figures |= {key: Figure.absent(why) for key in ([*keys, "clap"] if name == "clap" else keys) if key in figures}
    for adherence in FOLLOWED:
        if (deaf := adherence.missing()) is not None:
            columns = [*adherence.columns, *adherence.further, *([NOT_ASKED[adherence]] if adherence in NOT_ASKED else [])]
            figures |= {column.key: Figure.absent(deaf) for column in columns if column.key in figures}
    return Measured(figures, clips)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def clap_of(found: Mapping[str, np.ndarray]) -> float:
    """CLAP score of what `Listeners.hear` returned; NaN without CLAP."""
    return float(clap_score(torch.from_numpy(found["clap"]), torch.from_numpy(found["clap text"]))) if "clap" in found else math.nan


def kl_of(found: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], name: str) -> float:
    """Divergence of a classifier's labels of a clip from those of its reference; NaN where one was not heard by it."""
    key = f"{name} labels"
    if key not in found or key not in reference:
        return math.nan
    return float(label_kl(torch.from_numpy(found[key]), torch.from_numpy(reference[key])).mean())


def scores_of(found: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> dict[str, float]:
    """What networks say of one clip by column key: CLAP score and divergences; NaN for what was not heard."""
    return {"clap": clap_of(found), **{f"kl_{name}": kl_of(found, reference, name) for name in CLASSIFIERS}}


class RowFigures:
    """The metrics of a row's clips, which all processes that add clips compute together.

    Args:
        keys: of the figures that are measured clip by clip.
        listeners: the networks that were listened with.
        compared: whether the clips are compared with their references as a whole.
        allow_few: as for `read_row`.
        device: of the states; where processes talk through NCCL, their GPU.
    """

    def __init__(
        self, keys: Iterable[str], listeners: Listeners, compared: bool = True, allow_few: bool = False, device: torch.device | str = "cpu"
    ) -> None:
        self.listeners, self.device = listeners, device
        scores = ["clap", *(f"kl_{name}" for name in CLASSIFIERS)] if compared else []
        self.means = {key: ClipFigures().to(device) for key in (*keys, *scores)}
        self.distances: dict[str, FrechetDistance | KernelDistance] = {}
        for name, dim in EMBEDDINGS.items() if compared else ():
            shown = listeners.names.get(name, name)
            self.distances[f"frechet_{name}"] = FrechetDistance(shown, dim, allow_few=allow_few).to(device)
            self.distances[f"kernel_{name}"] = KernelDistance(shown, dim).to(device)

    def add(
        self, position: int, values: Mapping[str, float], found: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]
    ) -> dict[str, float]:
        """Add a clip; return its `scores_of`, if it is compared.

        Args:
            position: which of all clips it is.
            values: its figures by key.
            found: what `Listeners.hear` heard in it.
            reference: what it heard in its reference.
        """
        scores = {key: value for key, value in scores_of(found, reference).items() if key in self.means}
        for key, value in {**values, **scores}.items():
            self.means[key].update(value, position)
        for key, metric in self.distances.items():
            name = key.partition("_")[2]
            for arrays, is_reference in ((found, False), (reference, True)):
                if name in arrays:
                    metric.update(torch.from_numpy(arrays[name]).to(self.device), reference=is_reference)
        return scores

    @property
    def clips(self) -> int:
        """How many clips all processes have added."""
        return next(iter(self.means.values())).compute().numel()

    def figures(self) -> dict[str, Figure]:
        """By column key: means with intervals, distances with the numbers of embeddings, or why there is none."""
        means = {key: metric.figure() for key, metric in self.means.items()}
        return {**means, **{key: distance(metric) for key, metric in self.distances.items()}}


def distance(metric: FrechetDistance | KernelDistance) -> Figure:
    """A distance of sets as a figure: no interval, as many samples as there were generated embeddings; or the reason why it was refused."""
    try:
        found = metric.compute()
    except UserError as error:
        return Figure.absent(str(error) if metric.update_count else f"the clips are too short for {metric.embedding}.")
    return Figure(float(found[metric.name]), math.nan, math.nan, int(found[f"{metric.name} generated"]))
