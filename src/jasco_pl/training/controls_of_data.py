"""Which controls a training has: those of its configuration, less what its data cannot feed; and what becomes of a checkpoint's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jasco_pl.controls import CONTROLS
from jasco_pl.data.schema import STAND_INS, stage_of
from jasco_pl.data.shards import ShardReader
from jasco_pl.interop.hub import checkpoint_folder
from jasco_pl.network.model import read_config


@dataclass(frozen=True)
class Fed:
    """What a set of shards feeds of the controls of a configuration.

    Attributes:
        location: of the set.
        controls: those for which every sample has the field, and names that are none, which are the model's to refuse.
        unfed: the others, each with the number of samples that have its field.
        others: controls that every sample could feed, and that the configuration has nothing of.
        samples: of the set.
        told: how many of them have a caption.
    """

    location: str
    controls: list[str]
    unfed: dict[str, int]
    others: list[str] = field(default_factory=list)
    samples: int = 0
    told: int = 0

    @classmethod
    def of(cls, reader: ShardReader, controls: Collection[str]) -> Fed:
        """Look at a set."""
        columns = reader.columns
        has = {name: np.logical_or.reduce([columns.has(one) for one in _fields(name)]) for name in CONTROLS}
        unfed = {name: int(has[name].sum()) for name in controls if name in CONTROLS and not has[name].all()}
        read = {stage_of(CONTROLS[name].field) for name in controls if name in CONTROLS}
        others = [name for name in CONTROLS if has[name].all() and stage_of(CONTROLS[name].field) not in read]
        told = int((columns.caption_counts > 0).sum())
        return cls(reader.location, [name for name in controls if name not in unfed], unfed, others, len(reader), told)

    def lines(self, start: str | None, had: Collection[str], offer: bool) -> list[str]:
        """What is to be said before a training: which controls stay, are lost, or could be had, and how; and that no text is learned.

        Args:
            start: the checkpoint that it starts from, if there is one.
            had: the controls of that.
            offer: name controls too that the configuration has nothing of.
        """
        said = []
        if start is not None:
            new = [name for name in self.controls if name not in had]
            stay = [name for name in self.controls if name in had]
            said.append(f"controls that go on from {start}: {_and(stay)}" + (f"; new: {_and(new)}" if new else ""))
            if gone := [name for name in had if name not in self.controls and name not in self.unfed]:
                said.append(f"  lost: {_and(gone)}, which model.config.controls does not name")
        elif self.unfed:
            said.append(f"controls: {_and(self.controls)}")
        for name, count in self.unfed.items():
            who = f"{count} of {self.samples} samples alone have" if count else "no sample has"
            said.append(
                f"  {'lost' if name in had else 'left out'}: {name}, since in {self.location!r} {who} the field {CONTROLS[name].field}"
            )
        if stages := list(dict.fromkeys(stage for name in self.unfed for stage in _heard_by(name))):
            said.append(
                f"  `jasco prepare SOURCE --out DIR --stages {','.join(stages)}` adds that to a prepared set (which is then split "
                "again, if it was split); a training under another name begins with it"
            )
        if offer and self.others:
            wanted = ", ".join(f"{name}: {{}}" for name in self.others)
            said.append(f"  the data also have {_and(self.others)}: a model learns to follow that with {wanted} in model.config.controls")
        if not self.told:
            said.append(
                f"no sample in {self.location!r} has a caption: nothing is learned of texts. `jasco prepare` takes them from .txt files, "
                "tags and tables, or, with --captions.measured true, says the tempo and the key that it hears"
            )
        return said


def controls_of(start: str | None) -> list[str]:
    """The controls of the checkpoint that a training starts from; raises UserError where there is none."""
    return [] if start is None else list(read_config(Path(checkpoint_folder(start))).controls)


def less(values: Mapping[str, Any] | None, names: Collection[str]) -> dict[str, Any]:
    """A mapping without some of its keys."""
    return {key: value for key, value in (values or {}).items() if key not in names}


def _fields(control: str) -> list[str]:
    """Those that it can be fed with."""
    field = CONTROLS[control].field
    return [name for name in (field, STAND_INS.get(field)) if name]


def _heard_by(control: str) -> list[str]:
    """The stages of `jasco prepare` that bring what a control reads."""
    return [stage.name for stage in map(stage_of, _fields(control)) if stage.hears_recordings()]


def _and(names: Collection[str]) -> str:
    *first, last = names or ["none"]
    return f"{', '.join(first)} and {last}" if first else last
