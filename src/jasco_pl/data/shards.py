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


def write_shard(folder: str | Path, name: str, samples: Sequence[Sample], codec: int = 0) -> dict[str, Any]:
    """Write one shard and its side file; returns the side file's content.

    Args:
        folder: where to.
        name: of the shard, without suffix; `shard-...`.
        samples: with ids that differ.
        codec: fingerprint of the codec that made the latents and codes.

    Raises:
        ValueError: a sample breaks the schema. UserError: the folder cannot be written.
    """
    folder = Path(folder)
    tensors: dict[str, Tensor] = {}
    entries = []
    for sample in samples:
        sample.check()
        if f"{sample.id}/latents" in tensors:
            raise ValueError(f"two samples of the shard {name!r} are called {sample.id!r}.")
        tensors |= {f"{sample.id}/{field}": tensor.contiguous() for field, tensor in sample.tensors.items()}
        crc = {field: checksum(tensor) for field, tensor in sample.tensors.items()}
        entries.append({"id": sample.id, "frames": sample.frames, "captions": sample.captions, "crc32": crc})
    path = folder / f"{name}.safetensors"
    with atomic_path(path) as temporary:
        save_file(tensors, temporary)
    side = {"file": path.name, "bytes": path.stat().st_size, "codec": codec, "samples": entries}
    write_json(folder / f"{name}.json", side)
    return side


def finished(folder: str | Path, name: str, ids: Sequence[str], codec: int = 0) -> bool:
    """Whether a shard of that name is there, whole by size, with just these samples and made by that codec."""
    folder = Path(folder)
    try:
        side = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        same = side["codec"] == codec and [entry["id"] for entry in side["samples"]] == list(ids)
        return same and (folder / side["file"]).stat().st_size == side["bytes"]
    except (OSError, ValueError, KeyError):
        return False


def write_index(folder: str | Path, codec: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Join the side files of the named shards into the folder's index.

    Args:
        folder: where the shards are.
        codec: `name`, `frame_rate`, `dim`, `mean`, `std` of the latents.
        names: of the shards, in order; others that lie there from former runs stay out.
    """
    folder = Path(folder)
    shards = [json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in names]
    index = {"format": FORMAT, "codec": codec, "shards": shards}
    write_json(folder / INDEX, index)
    return index


class CorruptShardError(UserError):
    """A shard is missing, truncated or altered; the message names file, sample and field."""


class ShardReader:
    """Random access to the samples of a folder of shards.

    Args:
        folder: holds `index.json`.
        check: whether to compare the files with the index at once; `verify` does it in its own way.

    Raises:
        UserError: there is no index, or it is not one of ours.
        CorruptShardError: a shard is missing or its size differs from the index.
    """

    def __init__(self, folder: str | Path, check: bool = True) -> None:
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
        try:
            self.codec: dict[str, Any] = index["codec"]
            self.sizes: dict[str, int] = {shard["file"]: shard["bytes"] for shard in index["shards"]}
            self.files: list[str] = [shard["file"] for shard in index["shards"] for _ in shard["samples"]]
            self.entries: list[dict[str, Any]] = [sample for shard in index["shards"] for sample in shard["samples"]]
        except (KeyError, TypeError) as error:
            raise UserError(f"{str(path)!r} is damaged: it lacks {error}.") from error
        for name in self.sizes if check else ():
            self.check_size(name)
        if not self.entries:
            raise UserError(f"the shards in {str(folder)!r} hold no samples.")
        self._open: dict[str, Any] = {}

    def check_size(self, name: str) -> None:
        """Raise CorruptShardError if a file is missing or not as long as the index says."""
        path = self.folder / name
        if not path.is_file():
            raise CorruptShardError(f"the shard {str(path)!r} is missing, though the index lists it.")
        if (size := path.stat().st_size) != self.sizes[name]:
            raise CorruptShardError(
                f"the shard {str(path)!r} has {size} bytes where the index says {self.sizes[name]}: truncated or replaced."
            )

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
                    raise CorruptShardError(
                        f"the shard {str(path)!r} is damaged: sample {entry['id']!r}, field {field!r} fails its checksum."
                    )
                tensors[field] = tensor
        except (SafetensorError, OSError) as error:
            raise CorruptShardError(f"the shard {str(path)!r} is damaged: sample {entry['id']!r} cannot be read ({error}).") from error
        return Sample(entry["id"], tensors, list(entry["captions"]))

    def verify(self) -> Iterator[tuple[int, CorruptShardError | None]]:
        """Read everything: yields (number of samples, None) for sound ones and (number, error) for damaged ones.

        A shard that is missing or truncated is one damage to all its samples.
        """
        positions: dict[str, list[int]] = {}
        for position, name in enumerate(self.files):
            positions.setdefault(name, []).append(position)
        for name, members in positions.items():
            try:
                self.check_size(name)
            except CorruptShardError as error:
                yield len(members), error
                continue
            for position in members:
                try:
                    self.read(position)
                    yield 1, None
                except CorruptShardError as error:
                    yield 1, error
