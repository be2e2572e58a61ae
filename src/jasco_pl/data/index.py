"""The index of a folder of shards: `index.json`, which is always true, and the same as columns, which open at once.

`index.columns` is derived: it may be missing, damaged or older than `index.json`, and is then made again from it; to delete it costs time
and nothing else. It belongs to an `index.json` of the size and MD5 that it names. As long as both files have the same time of change,
which it is given when that was compared, the size alone is looked at.

`index.json` begins with a checksum of itself, and so does the file beside each shard. Sets of former versions have none.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec

from jasco_pl.data.columns import Columns, DamagedColumnsError, Source
from jasco_pl.data.schema import REQUIRED
from jasco_pl.system.checksums import DamagedError, check_seal, sealed_json
from jasco_pl.system.errors import UserError, WriteError
from jasco_pl.system.files import is_bare, user_cache, write_bytes
from jasco_pl.system.typed import from_json, typed

log = logging.getLogger(__name__)

INDEX = "index.json"
COLUMNS = "index.columns"
FORMAT = "jasco-pl-shards/1"
SUFFIX = ".safetensors"


Crc32 = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]


class Entry(TypedDict):
    """A sample in an index."""

    id: str
    frames: Count
    captions: list[str]
    sections: NotRequired[list[list[Any]]]
    """First frame and captions of each."""
    crc32: dict[str, Crc32]


class Side(TypedDict):
    """A shard in an index, and the file beside it."""

    file: str
    bytes: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    samples: list[Entry]
    codec: NotRequired[Annotated[int, msgspec.Meta(ge=0, le=2**62)]]


class _Codec(TypedDict):
    name: str
    frame_rate: Annotated[float, msgspec.Meta(gt=0, le=1e6)]
    dim: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
    mean: NotRequired[list[float]]
    std: NotRequired[list[float]]


class _Index(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    codec: _Codec
    shards: list[Side]
    crc32: str = ""


def parse_index(data: bytes, where: str) -> Columns:
    """The columns of an index's text.

    Args:
        data: the text.
        where: it comes from, for messages.

    Raises:
        UserError: it is not JSON, not of our format, fails its checksum, lacks something, lists something twice, or names files elsewhere.
    """
    try:
        index = from_json(data, _Index)
        check_seal(data, where)
        if index.format != FORMAT:
            raise ValueError(f"its format is {index.format!r}")
        _check_statistics(index.codec)
        _check_shards(index.shards)
    except DamagedError:
        raise
    except ValueError as error:
        raise UserError(f"{where!r} is damaged, or no index of shards of format {FORMAT!r}: {error}.") from error
    return Columns.of({"codec": index.codec, "shards": index.shards})


def parse_side(data: bytes, where: str) -> Side:
    """The file beside a shard; raises UserError as `parse_index`."""
    try:
        side = from_json(data, Side)
        check_seal(data, where)
        _check_shards([side])
    except DamagedError:
        raise
    except ValueError as error:
        raise UserError(f"{where!r} is damaged: {error}.") from error
    return side


def _check_statistics(codec: _Codec) -> None:
    for name, values in (("mean", codec.get("mean")), ("std", codec.get("std"))):
        if values is not None and not (len(values) == codec["dim"] and all(map(math.isfinite, values))):
            raise ValueError(f"the {name} of the latents is not {codec['dim']} finite numbers")


def _check_shards(shards: Sequence[Side]) -> None:
    files: set[str] = set()
    ids: set[str] = set()
    for shard in shards:
        if not is_bare(shard["file"]) or not shard["file"].endswith(SUFFIX):
            raise ValueError(f"{shard['file']!r} is not the bare name of a shard (*{SUFFIX})")
        if shard["file"] in files:
            raise ValueError(f"the shard {shard['file']!r} is listed twice")
        files.add(shard["file"])
        for entry in shard["samples"]:
            if entry["id"] in ids:
                raise ValueError(f"the sample {entry['id']!r} is listed twice")
            ids.add(entry["id"])
            if missing := [field for field in REQUIRED if field not in entry["crc32"]]:
                raise ValueError(f"the sample {entry['id']!r} has no checksum of its {missing[0]}")
            for section in entry.get("sections", ()):
                typed(section, tuple[Count, list[str]])


def write_index_files(folder: Path, index: dict[str, Any]) -> None:
    """Write an index as JSON and as columns, each whole or not at all; a process that ends between the two leaves a true index.

    Raises:
        WriteError: one cannot be written. UserError: a shard or sample is listed twice.
    """
    try:
        _check_shards(index["shards"])
    except ValueError as error:
        raise UserError(f"{str(folder / INDEX)!r} cannot be written: {error}.") from error
    text, columns = sealed_json(index), Columns.of(index)
    write_bytes(folder / INDEX, text)
    columns.save(folder / COLUMNS, Source.of(text))
    open_index(folder)


def open_index(folder: Path) -> Columns:
    """The index of a folder, by its columns where these are true; else they are made.

    They are kept in the folder, or in `jasco_pl/indexes` of the user's cache folder where the folder may not be written; where the disk
    is full, in this process's memory.

    Raises:
        OSError: `index.json` cannot be read. UserError: it is damaged, or none of ours.
    """
    with open(folder / INDEX, "rb") as file:
        state = os.fstat(file.fileno())
        kept = _kept(folder / COLUMNS, file, state)
        return kept or _make(folder, file.read(), state)


def _kept(path: Path, file: BufferedReader, state: os.stat_result) -> Columns | None:
    """The columns in a file, if they are sound and of the index that `file` holds, which is read only where that is in question."""
    try:
        changed = path.stat().st_mtime_ns  # before it is opened: what another process puts in its place counts as unknown
        columns = Columns.open(path)
    except FileNotFoundError:
        return None
    except DamagedColumnsError as error:
        log.warning("%s; they are made again from %s", str(error).rstrip("."), INDEX)
        return None
    if columns.source is None or columns.source.size != state.st_size:
        return None
    if changed == state.st_mtime_ns:
        return columns
    digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    file.seek(0)
    if digest != columns.source.md5:
        return None
    _mark(path, state)
    return columns


def _make(folder: Path, data: bytes, state: os.stat_result) -> Columns:
    source, ours = Source.of(data), os.access(folder, os.W_OK)
    path = folder / COLUMNS if ours else user_cache("indexes") / f"{source.md5}.columns"
    if not ours:
        with contextlib.suppress(FileNotFoundError, DamagedColumnsError):
            return Columns.open(path)
    columns = parse_index(data, str(folder / INDEX))
    try:
        columns.save(path, source)
    except WriteError as error:
        log.warning("%s; every process that reads %s makes its own columns", str(error).rstrip("."), folder / INDEX)
        return columns
    if ours:
        _mark(path, state)
    return Columns.open(path)


def _mark(path: Path, state: os.stat_result) -> None:
    with contextlib.suppress(OSError):  # of somebody else: the next one compares again
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
