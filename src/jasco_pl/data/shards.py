"""Shards: safetensors files and one JSON index; a checksum a field.

    DIR/shard-00000.safetensors   tensors "<sample>/<field>"
    DIR/shard-00000.json          what the shard holds (written after it: its presence says that the shard is whole)
    DIR/index.json                all shards together, the codec and its latents' statistics

A reader compares every file's size with the index when it opens the folder, and every field's crc32 when it reads it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from jasco_pl.data.schema import Sample
from jasco_pl.errors import UserError
from jasco_pl.files import atomic_path, write_json

INDEX = "index.json"
FORMAT = "jasco-pl-shards/1"


def checksum(tensor: Tensor) -> int:
    """crc32 of the tensor's bytes."""
    return zlib.crc32(memoryview(tensor.contiguous().view(torch.uint8).numpy()))  # type: ignore[arg-type]


def write_shard(folder: str | Path, name: str, samples: Sequence[Sample]) -> dict[str, Any]:
    """Write one shard and its side file; returns the side file's content.

    Raises:
        ValueError: a sample breaks the schema. UserError: the folder cannot be written.
    """
    folder = Path(folder)
    tensors: dict[str, Tensor] = {}
    entries = []
    for sample in samples:
        sample.check()
        tensors |= {f"{sample.id}/{field}": tensor.contiguous() for field, tensor in sample.tensors.items()}
        crc = {field: checksum(tensor) for field, tensor in sample.tensors.items()}
        entries.append({"id": sample.id, "frames": sample.frames, "captions": sample.captions, "crc32": crc})
    path = folder / f"{name}.safetensors"
    with atomic_path(path) as temporary:
        save_file(tensors, temporary)
    side = {"file": path.name, "bytes": path.stat().st_size, "samples": entries}
    write_json(folder / f"{name}.json", side)
    return side


def finished(folder: str | Path, name: str) -> bool:
    """Whether a shard of that name is there, whole by size."""
    folder = Path(folder)
    try:
        side = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        return (folder / side["file"]).stat().st_size == side["bytes"]
    except (OSError, ValueError, KeyError):
        return False


def write_index(folder: str | Path, codec: dict[str, Any]) -> dict[str, Any]:
    """Join all side files of the folder into its index.

    Args:
        folder: where the shards are.
        codec: `name`, `frame_rate`, `dim`, `mean`, `std` of the latents.
    """
    folder = Path(folder)
    shards = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("shard-*.json"))]
    index = {"format": FORMAT, "codec": codec, "shards": shards}
    write_json(folder / INDEX, index)
    return index


class CorruptShardError(UserError):
    """A shard is missing, truncated or altered; the message names file, sample and field."""


class ShardReader:
    """Random access to the samples of a folder of shards.

    Args:
        folder: holds `index.json`.

    Raises:
        UserError: there is no index, or it is not one of ours.
        CorruptShardError: a shard is missing or its size differs from the index.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        path = self.folder / INDEX
        try:
            index = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"no prepared data in {str(folder)!r}: {INDEX} cannot be read ({error.strerror}).") from error
        except ValueError as error:
            raise UserError(f"{str(path)!r} is damaged: it is not JSON ({error}).") from error
        if not isinstance(index, dict) or index.get("format") != FORMAT:
            raise UserError(f"{str(path)!r} is not an index of shards of format {FORMAT!r}.")
        self.codec: dict[str, Any] = index["codec"]
        self.entries: list[dict[str, Any]] = []
        self.files: list[str] = []
        for shard in index["shards"]:
            self._check_size(shard)
            self.files += [shard["file"]] * len(shard["samples"])
            self.entries += shard["samples"]
        if not self.entries:
            raise UserError(f"the shards in {str(folder)!r} hold no samples.")
        self._open: dict[str, Any] = {}

    def _check_size(self, shard: dict[str, Any]) -> None:
        path = self.folder / shard["file"]
        if not path.is_file():
            raise CorruptShardError(f"the shard {str(path)!r} is missing, though the index lists it.")
        if (size := path.stat().st_size) != shard["bytes"]:
            raise CorruptShardError(f"the shard {str(path)!r} has {size} bytes where the index says {shard['bytes']}: truncated or replaced.")

    def __len__(self) -> int:
        return len(self.entries)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # handles do not travel to worker processes

    def read(self, position: int, fields: Sequence[str] | None = None) -> Sample:
        """The sample at a position of the index, with all its fields or those named (absent ones are left out).

        Raises:
            CorruptShardError: a field's bytes differ from what was written.
        """
        entry, name = self.entries[position], self.files[position]
        path = self.folder / name
        tensors = {}
        try:
            if name not in self._open:
                self._open[name] = safe_open(path, "pt")
            for field, crc in entry["crc32"].items():
                if fields is not None and field not in fields:
                    continue
                tensor = self._open[name].get_tensor(f"{entry['id']}/{field}")
                if checksum(tensor) != crc:
                    raise CorruptShardError(f"the shard {str(path)!r} is damaged: sample {entry['id']!r}, field {field!r} fails its checksum.")
                tensors[field] = tensor
        except (SafetensorError, OSError) as error:
            raise CorruptShardError(f"the shard {str(path)!r} is damaged: sample {entry['id']!r} cannot be read ({error}).") from error
        return Sample(entry["id"], tensors, list(entry["captions"]))

    def verify(self) -> Iterator[CorruptShardError | None]:
        """Read every sample; yield None for a sound one, the error for a damaged one."""
        for position in range(len(self)):
            try:
                self.read(position)
                yield None
            except CorruptShardError as error:
                yield error
