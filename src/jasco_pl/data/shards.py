"""Shards: safetensors files and one JSON index; a checksum a field.

    DIR/shard-00000.safetensors   tensors "<sample>/<field>"
    DIR/shard-00000.json          what the shard holds (written after it: its presence says that the shard is whole)
    DIR/index.json                all shards together, the codec and its latents' statistics

A reader compares every file's size with the index when it opens the folder, and every field's crc32 when it reads it. The folder may be
a URL of an object store: then its shards are fetched into a local cache, compared with the index before they count as there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from jasco_pl.data.object_store import is_url
from jasco_pl.data.remote import CacheOptions, FetchError, RemoteShards
from jasco_pl.data.schema import FIELDS, CorruptShardError, Sample, checksum, read_fields
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path, write_json

INDEX = "index.json"
FORMAT = "jasco-pl-shards/1"


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
        stored = {field: sample.tensors[field].contiguous() for field in FIELDS if field in sample.tensors}  # in one order, whoever made it
        tensors |= {f"{sample.id}/{field}": tensor for field, tensor in stored.items()}
        crc = {field: checksum(tensor) for field, tensor in stored.items()}
        entries.append({"id": sample.id, "frames": sample.frames, "captions": sample.captions, "crc32": crc})
    path = folder / f"{name}.safetensors"
    with atomic_path(path) as temporary:
        save_file(tensors, temporary)
    side = {"file": path.name, "bytes": path.stat().st_size, "codec": codec, "samples": entries}
    write_json(folder / f"{name}.json", side)
    return side


def finished(folder: str | Path, name: str, ids: Sequence[str], codec: int = 0) -> list[dict[str, Any]]:
    """The index entries of a shard of that name, if it is there, whole by size, with just these samples and made by that codec.

    Returns:
        One entry a sample; none where the shard has to be written.
    """
    folder = Path(folder)
    try:
        side = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        same = side["codec"] == codec and [entry["id"] for entry in side["samples"]] == list(ids)
        return side["samples"] if same and (folder / side["file"]).stat().st_size == side["bytes"] else []
    except (OSError, ValueError, KeyError):
        return []


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


class ShardReader:
    """Random access to the samples of a folder of shards.

    Args:
        folder: holds `index.json`; a path or a URL that fsspec understands.
        check: whether to compare the files with the index at once; `verify` does it in its own way. Remote files are compared when fetched.
        cache: how the shards of a URL are kept.

    Raises:
        UserError: there is no index, or it is not one of ours; the store cannot be read; the cache is too small.
        CorruptShardError: a shard is missing or its size differs from the index.
    """

    def __init__(self, folder: str | Path, check: bool = True, cache: CacheOptions | None = None) -> None:
        self.location, self.folder = str(folder), Path(folder)
        self.remote = RemoteShards(str(folder), cache) if is_url(folder) else None
        where = self.remote.store.address(INDEX) if self.remote else str(self.folder / INDEX)
        try:
            index = json.loads(self.remote.index(INDEX) if self.remote else Path(where).read_text(encoding="utf-8"))
        except OSError as error:
            reason = error.strerror or str(error) or "no such file"
            raise UserError(f"no prepared data in {self.location!r}: {INDEX} cannot be read ({reason}).") from error
        except ValueError as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{where!r} is damaged: it is not JSON ({error}).") from error
        if not isinstance(index, dict) or index.get("format") != FORMAT:
            raise UserError(f"{where!r} is not an index of shards of format {FORMAT!r}.")
        try:
            self.codec: dict[str, Any] = index["codec"]
            self.shards: list[dict[str, Any]] = index["shards"]
            self.sizes: dict[str, int] = {shard["file"]: shard["bytes"] for shard in index["shards"]}
            self.counts: list[int] = [len(shard["samples"]) for shard in index["shards"]]
            self.files: list[str] = [shard["file"] for shard in index["shards"] for _ in shard["samples"]]
            self.entries: list[dict[str, Any]] = [sample for shard in index["shards"] for sample in shard["samples"]]
            if self.remote:
                self.remote.describe(index["shards"])
        except (KeyError, TypeError) as error:
            raise UserError(f"{where!r} is damaged: it lacks {error}.") from error
        for name in self.sizes if check and not self.remote else ():
            self.check_size(name)
        if not self.entries:
            raise UserError(f"the shards in {self.location!r} hold no samples.")
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
            CorruptShardError: a field's bytes differ from what was written; of a remote shard, after it has been fetched once more.
        """
        entry, name = self.entries[position], self.files[position]
        try:
            tensors = self._read(name, entry, fields)
        except FetchError:
            raise
        except CorruptShardError:
            if not self.remote:
                raise
            self.remote.drop(name)  # the copy was whole when it was made, so that it is worth another
            tensors = self._read(name, entry, fields)
        return Sample(entry["id"], tensors, list(entry["captions"]))

    def _read(self, name: str, entry: dict[str, Any], fields: Sequence[str] | None) -> dict[str, Tensor]:
        if self.remote:
            path, handle = self.remote.open(name)
            return read_fields(handle, path, entry, fields)
        path = self.folder / name
        try:
            if name not in self._open:
                self._open[name] = safe_open(path, "pt")
        except (SafetensorError, OSError) as error:
            raise CorruptShardError(f"the shard {str(path)!r} is damaged: sample {entry['id']!r} cannot be read ({error}).") from error
        return read_fields(self._open[name], path, entry, fields)

    def expect(self, *epochs: Iterable[int]) -> None:
        """Announce the positions that will be read, an iterable an epoch: the shards of a URL are fetched ahead in that order."""
        if self.remote:
            self.remote.expect([name for epoch in epochs for name in dict.fromkeys(self.files[position] for position in epoch)])

    def verify(self) -> Iterator[tuple[int, CorruptShardError | None]]:
        """Read everything: yields (number of samples, None) for sound ones and (number, error) for damaged ones.

        A shard that is missing, truncated or, in an object store, at variance with the index is one damage to all its samples.
        """
        positions: dict[str, list[int]] = {}
        for position, name in enumerate(self.files):
            positions.setdefault(name, []).append(position)
        for name, members in positions.items():
            try:
                if self.remote:
                    self.remote.open(name)
                else:
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
