"""What a prepared sample holds, where its fields come from, and their reading out of an open shard, none of them unchecked."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from jasco_pl.extract.beats import Beats
from jasco_pl.extract.chordino import ComposedChords, HeardChords
from jasco_pl.extract.dynamics import Dynamics
from jasco_pl.extract.latents import Latents
from jasco_pl.extract.salience import MelodyBins
from jasco_pl.extract.separation import DrumCodes
from jasco_pl.extract.stage import Field, Stage
from jasco_pl.system.errors import UserError

STAGES: dict[str, type[Stage]] = {
    stage.name: stage for stage in (Latents, ComposedChords, HeardChords, MelodyBins, DrumCodes, Beats, Dynamics)
}
"""All that is extracted, in the order in which it is stored. Whoever adds a field adds its stage here, and nothing else in this package."""

FIELDS: dict[str, Field] = {field.name: field for stage in STAGES.values() for field in stage.fields}
REQUIRED = ("latents",)
STAND_INS = {field.stands_in_for: field.name for field in FIELDS.values() if field.stands_in_for}
"""Field -> what is read where a sample lacks it: only composed music has exact chords."""


def stage_of(field: str) -> type[Stage]:
    """The stage that adds a field."""
    return next(stage for stage in STAGES.values() if field in stage.names())


@dataclass
class Sample:
    """One track or piece: tensors of T frames each, keyed by `FIELDS`, and what is known about it."""

    id: str
    tensors: dict[str, Tensor]
    captions: list[str]
    sections: list[tuple[int, list[str]]] = field(default_factory=list)
    """First frame and captions of each part of a piece that has parts; it lasts until the next one begins, the last one to the end."""

    @property
    def frames(self) -> int:
        """Length in latent frames."""
        return self.tensors["latents"].shape[0]

    def check(self) -> None:
        """Raise ValueError if a field is unknown, of another type, or of another length than the latents."""
        for name in REQUIRED:
            if name not in self.tensors:
                raise ValueError(f"sample {self.id!r} lacks the field {name!r}.")
        for name, tensor in self.tensors.items():
            expected = FIELDS[name].dtype if name in FIELDS else None
            if tensor.dtype != expected:
                raise ValueError(f"sample {self.id!r}, field {name!r}: {tensor.dtype} where {expected} is expected.")
            if tensor.shape[0] != self.frames:
                raise ValueError(f"sample {self.id!r}, field {name!r}: {tensor.shape[0]} frames, its latents have {self.frames}.")
        edges = [-1, *(first for first, _ in self.sections), self.frames]
        if any(first >= last for first, last in pairwise(edges)):
            raise ValueError(f"sample {self.id!r}: sections do not begin one after another within its {self.frames} frames: {edges[1:-1]}.")


Batch = dict[str, Any]
"""Collated crops: field -> tensor [B, T, ...]; `id`, `caption`: lists of str; `key`: int64 [B]; `mask` [B, T] true on real frames; and
`spans`: a list of `Span`s for each, where captions of sections are read."""


class CorruptShardError(UserError):
    """A shard is missing, truncated or altered; the message names file, sample and field."""


def open_shard(path: str | Path) -> Any:
    """A shard, opened by safetensors; what is read of it is read then and there: a mapped file that somebody truncates ends the process.

    Raises:
        CorruptShardError: it is missing, truncated, or no safetensors file. UserError: too many files are open.
    """
    try:
        return safe_open(path, "pt", backend="pread")
    except (SafetensorError, OSError) as error:
        _try_to_open(path)
        raise CorruptShardError(f"the shard {str(path)!r} is damaged: it cannot be opened ({error}).") from error


def _try_to_open(path: str | Path) -> None:
    """Raise UserError if the process has no descriptor left, which safetensors takes for a file that is not there."""
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise UserError(f"the shard {str(path)!r} cannot be opened: {error.strerror}.") from error


def checksum(tensor: Tensor) -> int:
    """crc32 of the tensor's bytes."""
    return zlib.crc32(memoryview(tensor.contiguous().view(torch.uint8).numpy()))  # type: ignore[arg-type]


def read_fields(handle: Any, path: str | Path, entry: dict[str, Any], fields: Collection[str] | None = None) -> dict[str, Tensor]:
    """The tensors of one sample.

    Args:
        handle: the shard, from `open_shard`.
        path: its name, for messages.
        entry: of the sample in the index: `id` and `crc32` of every field.
        fields: the ones wanted, where the sample has them; None for all.

    Raises:
        CorruptShardError: the bytes of a field differ from what was written, or cannot be read.
    """
    tensors = {}
    try:
        for field, crc in entry["crc32"].items():
            if fields is not None and field not in fields:
                continue
            tensor = handle.get_tensor(f"{entry['id']}/{field}")
            if checksum(tensor) != crc:
                raise CorruptShardError(f"the shard {str(path)!r} is damaged: sample {entry['id']!r}, field {field!r} fails its checksum.")
            tensors[field] = tensor
    except (SafetensorError, OSError) as error:
        raise CorruptShardError(f"the shard {str(path)!r} is damaged: sample {entry['id']!r} cannot be read ({error}).") from error
    return tensors
