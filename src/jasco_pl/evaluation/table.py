"""From what was written of the clips to the figures of a row: means with intervals, and distances between sets."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jasco_pl.evaluation.clips import REFERENCE, Task, read_arrays
from jasco_pl.evaluation.crossed import NOT_ASKED
from jasco_pl.evaluation.measure import FOLLOWED, FOLLOWS, SALIENCE
from jasco_pl.evaluation.pretrained import SALIENCE as BY_SALIENCE
from jasco_pl.evaluation.pretrained import Listeners
from jasco_pl.evaluation.settings import CEILING, CROSSED
from jasco_pl.metrics.distances import FrechetDistance, KernelDistance
from jasco_pl.metrics.labels import clap_score, label_kl
from jasco_pl.metrics.report import Column, Figure
from jasco_pl.system.errors import UserError

COSTS = [Column("real_time_factor", "real-time factor", 2, False), Column("evaluations", "evaluations", 0)]
EMBEDDINGS = {"musicnn": 200, "vggish": 128}  # what distances are taken of, and their dimensions
CLASSIFIERS = ("musicnn", "passt")


@dataclass(frozen=True)
class Group:
    """Columns that stand together in a table of their own."""

    title: str
    columns: list[Column]


def groups(listeners: Listeners, crossed: bool = False) -> list[Group]:
    """All columns, by what they ask; with those of the row crossed alone, if there is one."""
    sounds = [Column("clap", f"CLAP[{listeners.names.get('clap', 'clap')}]", 3, True)]
    for name in EMBEDDINGS:
        shown = listeners.names.get(name, name)
        kind = FrechetDistance(shown, 1).kind
        sounds += [Column(f"frechet_{name}", f"{kind}[{shown}]", 2, False), Column(f"kernel_{name}", f"KAD[{shown}]", 2, False)]
    sounds += [Column(f"kl_{name}", f"KL[{listeners.names.get(name, name)}]", 3, False) for name in CLASSIFIERS]
    independent = [Group("Follows what it was not asked for", [*NOT_ASKED.values()])] if crossed else []
    return [Group("Follows the conditions", FOLLOWS), *independent, Group("Sounds like the reference", sounds), Group("Cost", COSTS)]


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
    clips = [json.loads(own.path(name).read_text(encoding="utf-8")) for name in own.names]
    listeners, sets = own.listeners, other or own
    arrays = [read_arrays(sets.path(name).with_suffix(".npz")) for name in own.names]
    known = [
        {name.removeprefix(REFERENCE): value for name, value in found.items() if name.startswith(REFERENCE)}
        or read_arrays(own.reference_path(piece))
        for piece, found in zip(own.names, arrays, strict=True)
    ]
    measured = [column.key for column in (*FOLLOWS, *NOT_ASKED.values()) if any(column.key in clip["figures"] for clip in clips)]
    by_clip = {key: [_number(clip["figures"].get(key)) for clip in clips] for key in measured}
    by_clip |= {column.key: [_number(clip["cost"].get(column.key)) for clip in clips] for column in COSTS}
    compared = own.row != CROSSED  # with the reference as a whole
    of_others = {"clap": [clap_of(found) for found in arrays]} if compared else {}
    for name in CLASSIFIERS if compared else ():
        of_others[f"kl_{name}"] = [kl_of(found, against, name) for found, against in zip(arrays, known, strict=True)]
    figures = {key: Figure.of(values) for key, values in {**by_clip, **of_others}.items() if key not in _costs(own)}
    for name, dim in EMBEDDINGS.items() if compared else ():
        figures |= distances(name, listeners.names.get(name, name), dim, arrays, known, allow_few)
    for name, why in listeners.missing.items():
        keys = [column.key for column in SALIENCE] if name == BY_SALIENCE else [f"{kind}_{name}" for kind in ("frechet", "kernel", "kl")]
        figures |= {key: Figure.absent(why) for key in ([*keys, "clap"] if name == "clap" else keys) if key in figures}
    for adherence in FOLLOWED:
        if (deaf := adherence.missing()) is not None:
            columns = [*adherence.columns, *adherence.further, *([NOT_ASKED[adherence]] if adherence in NOT_ASKED else [])]
            figures |= {column.key: Figure.absent(deaf) for column in columns if column.key in figures}
    for index, clip in enumerate(clips):
        values = {**by_clip, **({} if other else of_others)}  # those of another clip would be taken for this one's
        clip["figures"] = {key: _plain(values[key][index]) if key in values else None for key in figures if not of_set(key)}
    return Measured(figures, clips)


def _costs(task: Task) -> set[str]:
    """The ceiling's clips and finished ones cost no evaluation."""
    return {column.key for column in COSTS} if task.row == CEILING or task.finished else set()


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


def distances(
    name: str, shown: str, dim: int, generated: Sequence[Mapping[str, np.ndarray]], reference: Sequence[Mapping[str, np.ndarray]], few: bool
) -> dict[str, Figure]:
    """Frechet and kernel distance of a set by the keys `frechet_NAME` and `kernel_NAME`, with the numbers of embeddings; or why not."""
    sides = [[torch.from_numpy(found[name]) for found in side if name in found] for side in (generated, reference)]
    if not sides[0]:
        return {f"{kind}_{name}": Figure.absent(f"the clips are too short for {shown}.") for kind in ("frechet", "kernel")}
    frechet, kernel = FrechetDistance(shown, dim, extrapolate=False, allow_few=few), KernelDistance(shown, dim)
    for metric in (frechet, kernel):
        for embeddings in sides[0]:
            metric.update(embeddings)
        for embeddings in sides[1]:
            metric.update(embeddings, reference=True)
    return {f"frechet_{name}": distance(frechet.compute, frechet.name), f"kernel_{name}": distance(kernel.compute, kernel.name)}


def distance(compute: Callable[[], dict[str, Tensor]], name: str) -> Figure:
    """A distance of sets as a figure: no interval, as many samples as there were generated embeddings; or the reason why it was refused."""
    try:
        found = compute()
    except UserError as error:
        return Figure.absent(str(error))
    return Figure(float(found[name]), math.nan, math.nan, int(found[f"{name} generated"]))
