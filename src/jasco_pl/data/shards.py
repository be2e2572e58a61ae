"""Shards: safetensors files and one index, as JSON and as columns; a checksum a field.

    DIR/shard-00000.safetensors   tensors "<sample>/<field>"
    DIR/shard-00000.json          what the shard holds (written after it: its presence says that the shard is whole)
    DIR/index.json                all shards together, the codec and its latents' statistics
    DIR/index.columns             the same as columns, made from it (`data/index.py`)

A reader compares every file's size with the index when it opens the folder, and every field's crc32 when it reads it. The folder may be
a URL of an object store: then its shards are fetched into a local cache, compared with the index before they count as there.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from jasco_pl.data.columns import Columns, Source
from jasco_pl.data.index import FORMAT, INDEX, SUFFIX, open_index, parse_index, parse_side, write_index_files
from jasco_pl.data.object_store import is_url
from jasco_pl.data.remote import CacheOptions, FetchError, RemoteShards
from jasco_pl.data.schema import FIELDS, CorruptShardError, Sample, checksum, open_shard, read_fields
from jasco_pl.data.texts import Lazy, Texts
from jasco_pl.system.checksums import check_seal, sealed_json
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path, write_bytes

_KEPT_OPEN = 128  # shards of a folder; each holds a file descriptor, of which a process has a thousand


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
        parts = {"sections": [[first, captions] for first, captions in sample.sections]} if sample.sections else {}
        entries.append({"id": sample.id, "frames": sample.frames, "captions": sample.captions, **parts, "crc32": crc})
    path = folder / f"{name}.safetensors"
    with atomic_path(path) as temporary:
        save_file(tensors, temporary)
    side = {"file": path.name, "bytes": path.stat().st_size, "codec": codec, "samples": entries}
    write_side(folder, side)
    return side


def write_side(folder: Path, side: Mapping[str, Any]) -> None:
    """The file beside a shard, whole or not at all."""
    write_bytes((folder / side["file"]).with_suffix(".json"), sealed_json(side))


def read_side(folder: Path, name: str) -> dict[str, Any]:
    """What `write_side` wrote beside the shard of that name.

    Raises:
        OSError: it cannot be read. UserError: it is damaged, or of another shard.
    """
    path = folder / f"{name}.json"
    side = parse_side(path.read_bytes(), str(path))
    if side["file"] != name + SUFFIX:
        raise UserError(f"{str(path)!r} is damaged: it describes {side['file']!r}.")
    return dict(side)


def finished(folder: str | Path, name: str, ids: Sequence[str], codec: int = 0) -> list[dict[str, Any]]:
    """The index entries of a shard of that name, if it is there, whole by size, with just these samples and made by that codec.

    Returns:
        One entry a sample; none where the shard has to be written.
    """
    folder = Path(folder)
    try:
        side = read_side(folder, name)
        same = side.get("codec") == codec and [entry["id"] for entry in side["samples"]] == list(ids)
        return side["samples"] if same and (folder / side["file"]).stat().st_size == side["bytes"] else []
    except (OSError, UserError):
        return []


def write_index(folder: str | Path, codec: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Join the side files of the named shards into the folder's index, as JSON and as columns.

    Args:
        folder: where the shards are.
        codec: `name`, `frame_rate`, `dim`, `mean`, `std` of the latents.
        names: of the shards, in order; others that lie there from former runs stay out.
    """
    folder = Path(folder)
    shards = [read_side(folder, name) for name in names]
    index = {"format": FORMAT, "codec": codec, "shards": shards}
    write_index_files(folder, index)
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
        try:
            self.columns: Columns = self.remote.open_index() if self.remote else open_index(self.folder)
        except OSError as error:
            reason = error.strerror or str(error) or "no such file"
            raise UserError(f"no prepared data in {self.location!r}: {INDEX} cannot be read ({reason}).") from error
        if check and not self.remote:
            self._check_sizes()
        if not len(self):
            raise UserError(f"the shards in {self.location!r} hold no samples.")
        self._open: OrderedDict[str, Any] = OrderedDict()  # the last read last

    @property
    def codec(self) -> dict[str, Any]:
        """`name`, `frame_rate`, `dim`, `mean`, `std`."""
        return self.columns.codec

    @property
    def entries(self) -> Sequence[dict[str, Any]]:
        """`id`, `frames`, `captions`, `crc32` of every sample, `sections` where it has some; each is made when it is asked for."""
        return self.columns.entries

    @property
    def ids(self) -> Texts:
        """Of all samples."""
        return self.columns.ids

    @property
    def files(self) -> Sequence[str]:
        """The shard of every sample."""
        columns = self.columns
        return Lazy(len(columns), lambda position: columns.files[int(columns.shard_of(position))])

    @property
    def shards(self) -> Sequence[dict[str, Any]]:
        """`file`, `bytes`, `samples` and perhaps `codec` of every shard; each is made when it is asked for."""
        return Lazy(len(self.columns.files), self.columns.shard)

    @property
    def counts(self) -> list[int]:
        """Samples of every shard."""
        return self.columns.counts.tolist()

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Shard -> its bytes."""
        return dict(zip(self.columns.files, self.columns.bytes.tolist(), strict=True))

    @property
    def hours(self) -> float:
        """Length of all samples together."""
        return int(self.columns.frames.sum(dtype=np.int64)) / float(self.codec["frame_rate"]) / 3600

    def _check_sizes(self) -> None:
        for name, size in zip(self.columns.files, self.columns.bytes.tolist(), strict=True):
            try:
                same = os.stat(f"{self.folder}/{name}").st_size == size  # a Path for each would take four times as long
            except OSError:
                same = False
            if not same:
                self.check_size(name)

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
        return len(self.columns)

    def __getstate__(self) -> dict[str, Any]:
        # neither handles nor what can be made again travel to worker processes
        return {**{name: value for name, value in self.__dict__.items() if name != "sizes"}, "_open": OrderedDict()}

    def read(self, position: int, fields: Sequence[str] | None = None) -> Sample:
        """The sample at a position of the index, with all its fields or those named (absent ones are left out).

        Raises:
            CorruptShardError: a field's bytes differ from what was written; of a remote shard, after it has been fetched once more.
        """
        entry, shard = self.entries[position], int(self.columns.shard_of(position))
        try:
            tensors = self._read(shard, entry, fields)
        except FetchError:
            raise
        except CorruptShardError:
            if not self.remote:
                raise
            self.remote.drop(shard)  # the copy was whole when it was made, so that it is worth another
            tensors = self._read(shard, entry, fields)
        return Sample(entry["id"], tensors, list(entry["captions"]), [(first, captions) for first, captions in entry.get("sections", [])])

    def _read(self, shard: int, entry: dict[str, Any], fields: Sequence[str] | None) -> dict[str, Tensor]:
        if self.remote:
            path, handle = self.remote.open(shard)
            return read_fields(handle, path, entry, fields)
        name = self.columns.files[shard]
        path = self.folder / name
        if name not in self._open:
            self._open[name] = open_shard(path)
            if len(self._open) > _KEPT_OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(name)
        return read_fields(self._open[name], path, entry, fields)

    def expect(self, *epochs: Iterable[int]) -> None:
        """Announce the positions that will be read, an iterable an epoch: the shards of a URL are fetched ahead in that order."""
        if self.remote:
            turns = [self._turns(np.asarray(epoch if isinstance(epoch, np.ndarray) else list(epoch), np.int64)) for epoch in epochs]
            self.remote.expect(np.concatenate([np.zeros(0, np.int64), *turns]))

    def _turns(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of the shards of positions [N], each once, in the order of their first use."""
        counts = self.columns.counts
        shards = np.repeat(np.arange(len(counts), dtype=np.int32), counts)[positions]  # to search for each would take ten times as long
        first = np.full(len(counts), len(shards))
        first[shards[::-1]] = np.arange(len(shards))[::-1]  # of several values for one place the last one stays
        return np.argsort(first, kind="stable")[: int((first < len(shards)).sum())]

    def verify_index(self) -> bool:
        """Compare `index.json` with its own checksum and with the columns in use, which were made from it; false if it has none of its own.

        Raises:
            UserError: it is damaged, or cannot be read.
        """
        data = self.remote.store.read(INDEX) if self.remote else (self.folder / INDEX).read_bytes()
        parse_index(data, where := f"{self.location}/{INDEX}")
        if self.columns.source is not None and self.columns.source != Source.of(data):
            raise CorruptShardError(f"{where!r} is not what its columns were made from: it was altered, and its time of change kept.")
        return check_seal(data, where)

    def verify_sides(self) -> Iterator[UserError]:
        """What is wrong with the files beside shards, by which a preparation goes on; a store has none."""
        for name in () if self.remote else self.columns.files:
            if (self.folder / name).with_suffix(".json").exists():
                try:
                    read_side(self.folder, Path(name).stem)
                except (OSError, UserError) as error:
                    yield UserError(str(error))

    def verify(self) -> Iterator[tuple[int, CorruptShardError | None]]:
        """Read everything: yields (number of samples, None) for sound ones and (number, error) for damaged ones.

        A shard that is missing, truncated, of more than the index lists or, in an object store, at variance with the index is one damage to
        all its samples.
        """
        for shard, name in enumerate(self.columns.files):
            members = self.columns.members(shard)
            try:
                if self.remote:
                    path, handle = self.remote.open(shard)
                else:
                    self.check_size(name)
                    path, handle = self.folder / name, open_shard(self.folder / name)
                _check_names(handle, path, self.columns.shard(shard)["samples"])
            except CorruptShardError as error:
                yield len(members), error
                continue
            for position in members:
                try:
                    self.read(position)
                    yield 1, None
                except CorruptShardError as error:
                    yield 1, error


def _check_names(handle: Any, path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Raise CorruptShardError if a shard holds tensors that nobody would ever read, and no checksum covers."""
    listed = {f"{entry['id']}/{field}" for entry in entries for field in entry["crc32"]}
    if unlisted := sorted(set(handle.keys()) - listed):
        raise CorruptShardError(f"the shard {str(path)!r} holds {unlisted[0]!r}, which the index does not list.")
