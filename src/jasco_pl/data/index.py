"""The index of a folder of shards: `index.json`, which is always true, and the same as columns, which open at once.

`index.columns` is derived: it may be missing, damaged or older than `index.json`, and is then made again from it; to delete it costs time
and nothing else. It belongs to an `index.json` of the size and MD5 that it names. As long as both files have the same time of change,
which it is given when that was compared, the size alone is looked at.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from io import BufferedReader
from pathlib import Path
from typing import Any

from jasco_pl.data.columns import Columns, DamagedColumnsError, Source
from jasco_pl.system.errors import UserError, WriteError
from jasco_pl.system.files import json_text, user_cache, write_text

log = logging.getLogger(__name__)

INDEX = "index.json"
COLUMNS = "index.columns"
FORMAT = "jasco-pl-shards/1"


def parse_index(data: bytes, where: str) -> Columns:
    """The columns of an index's text.

    Args:
        data: the text.
        where: it comes from, for messages.

    Raises:
        UserError: it is not JSON, not of our format, or lacks something.
    """
    try:
        index = json.loads(data)
    except ValueError as error:
        raise UserError(f"{where!r} is damaged: it is not JSON ({error}).") from error
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise UserError(f"{where!r} is not an index of shards of format {FORMAT!r}.")
    try:
        return Columns.of(index)
    except KeyError as error:
        raise UserError(f"{where!r} is damaged: it lacks {error}.") from error
    except (TypeError, AttributeError, ValueError, OverflowError) as error:
        raise UserError(f"{where!r} is damaged: something in it is of another kind than belongs there ({error}).") from error


def write_index_files(folder: Path, index: dict[str, Any]) -> None:
    """Write an index as JSON and as columns, each whole or not at all; a process that ends between the two leaves a true index.

    Raises:
        WriteError: one cannot be written.
    """
    text = json_text(index)
    write_text(folder / INDEX, text)
    Columns.of(index).save(folder / COLUMNS, Source.of(text.encode()))
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
