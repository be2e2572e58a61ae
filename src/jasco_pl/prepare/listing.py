"""The audio files of a folder, at any depth.

Lists of tracks: audiocraft's manifests, and tables (CSV, TSV, JSON lines) of path and caption.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import zlib
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jasco_pl.audio.suffixes import AUDIO_SUFFIXES
from jasco_pl.prepare.rules import Rejected
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import loads

NOTE_ENDINGS = (".txt", ".json")
AUDIO_ENDINGS = AUDIO_SUFFIXES
# Music all the same, but nothing that is decoded: whoever has a folder of it must be told.
_FOREIGN_ENDINGS = (".dff", ".ra")
_MAGIC = {b"RIFF": "wav", b"fLaC": "flac", b"OggS": "ogg", b"ID3\x02": "mp3", b"ID3\x03": "mp3", b"ID3\x04": "mp3"}


@dataclass
class Contents:
    """What lies in a folder; names are relative to it."""

    files: dict[str, str] = field(default_factory=dict)
    """Name -> absolute path of each audio file."""
    notes: set[str] = field(default_factory=set)
    """Absolute paths of texts and JSON with the name of an audio file: to ask a distant disk about each possible one would take long."""
    rejected: list[Rejected] = field(default_factory=list)
    """Folders that cannot be opened, audio under an ending that is not read."""
    skipped: Counter[str] = field(default_factory=Counter)
    """How many files and folders were passed over: `hidden`, `not audio`."""


def portable(path: str) -> str:
    """A path with forward slashes that can be written as UTF-8: bytes of another encoding become escapes such as `\\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace").replace(os.sep, "/")


def scan(folder: str | Path) -> Contents:
    """Walk a folder; what it holds is decided by names alone, nothing is decoded.

    Links to folders are followed, after everything that lies there itself and each folder once, so that a loop ends and a file keeps
    the name of the place where it lies.

    Args:
        folder: must exist.

    Returns:
        The contents; `files` in no particular order.
    """
    found = Contents()
    top = os.path.abspath(folder)
    seen: set[tuple[int, int]] = set()
    pending, links = deque([top]), deque[str]()
    while pending or links:
        place = pending.popleft() if pending else links.popleft()
        try:
            status = os.stat(place)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(place) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            name = portable(os.path.relpath(place, top))
            found.rejected.append(Rejected(name, "unreadable", f"the folder cannot be read: {error.strerror}."))
            continue
        for entry in inside:
            if entry.name.startswith("."):
                found.skipped["hidden"] += 1
            elif os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():  # the former bears links to themselves
                (links if entry.is_symlink() else pending).append(entry.path)
            else:
                _take(entry.path, portable(os.path.relpath(entry.path, top)), found)
    stems = {os.path.splitext(path)[0] for path in found.files.values()}
    for note in sorted(note for note in found.notes if os.path.splitext(note)[0] not in stems):
        found.notes.remove(note)
        _pass_over(note, portable(os.path.relpath(note, top)), found)
    return found


def _take(path: str, name: str, found: Contents) -> None:
    ending = os.path.splitext(name)[1].lower()
    if ending in NOTE_ENDINGS:
        found.notes.add(path)
    elif ending not in AUDIO_ENDINGS:
        _pass_over(path, name, found)
    elif os.path.isfile(path):
        found.files[name] = path
    elif os.path.islink(path) and not os.path.exists(path):
        found.rejected.append(Rejected(name, "missing", "it is a link that leads nowhere."))
    else:
        found.rejected.append(Rejected(name, "unreadable", "it is not a regular file."))


def _pass_over(path: str, name: str, found: Contents) -> None:
    accepted = ", ".join(ending[1:] for ending in AUDIO_ENDINGS)
    if os.path.splitext(name)[1].lower() in _FOREIGN_ENDINGS:
        found.rejected.append(Rejected(name, "not audio", f"files of its kind are not read: convert it to one of {accepted}."))
    elif kind := _kind_by_content(path):
        detail = f"it begins like {kind} but is not named so: give it one of the endings {accepted}."
        found.rejected.append(Rejected(name, "wrong ending", detail))
    else:
        found.skipped["not audio"] += 1


def _kind_by_content(path: str) -> str | None:
    try:
        if not os.path.isfile(path):
            return None  # opening a pipe would wait for its writer
        with open(path, "rb") as file:
            start = file.read(12)
    except OSError:
        return None
    if start.startswith(b"RIFF") and start[8:] != b"WAVE":
        return None
    return _MAGIC.get(start[:4])


LIST_ENDINGS = (".jsonl", ".jsonl.gz", ".csv", ".tsv", ".csv.gz", ".tsv.gz")
PATH_COLUMNS = ("path", "file", "filename", "audio")
CAPTION_COLUMNS = ("caption", "text", "description")
START_COLUMNS = ("start", "start_s")
STOP_COLUMNS = ("stop", "end", "end_s")
VIDEO_COLUMN = "ytid"  # MusicCaps names YouTube videos instead of files
# Facts of audiocraft's manifests about the file, not about the music; the file itself is asked.
_TECHNICAL = {"duration", "sample_rate", "amplitude", "weight", "info_path"}
_DELIMITERS = (",", "\t", ";", "|")


@dataclass(frozen=True)
class Entry:
    """One line of a list, as it is written there."""

    path: str
    """Of the file; empty where the line names a video."""
    video: str = ""
    """A YouTube id."""
    captions: tuple[str, ...] = ()
    tags: dict[str, Any] = field(default_factory=dict)
    """All other columns."""
    info_path: str = ""
    """A JSON file with more."""
    start: float = 0.0
    """Seconds."""
    stop: float | None = None
    """Seconds; None for the end of the file."""


def is_list(path: str | Path) -> bool:
    """Whether a file's name ends as a list's does."""
    return os.fspath(path).lower().endswith(LIST_ENDINGS)


def read_list(path: str | Path) -> tuple[list[Entry], list[Rejected]]:
    """Read a manifest or a table.

    Columns (or keys of the JSON objects): `path`, `file`, `filename` or `audio`, or MusicCaps' `ytid`; `caption`, `text` or
    `description`; and, if only a stretch of the file is meant, `start` or `start_s` and `stop`, `end` or `end_s` in seconds. Upper and
    lower case are the same. All other columns are kept as tags. A table's delimiter is found from its first line; a byte order mark,
    UTF-16 and Latin-1 are understood.

    Args:
        path: a file with one of `LIST_ENDINGS`.

    Returns:
        The entries in their order, and the lines that cannot be understood.

    Raises:
        UserError: the file cannot be read, is empty, or has no column that names files.
    """
    text = _text(Path(path))
    if not text.strip():
        raise UserError(f"the list {os.fspath(path)!r} is empty: it must name one file a line.")
    lower = os.fspath(path).lower()
    rows = _json_rows(text) if lower.endswith((".jsonl", ".jsonl.gz")) else _table_rows(text, os.fspath(path), ".tsv" in lower)
    entries, rejected = [], []
    for number, row in rows:
        try:
            if isinstance(row, ValueError):
                raise row
            entries.append(_entry(row))
        except ValueError as error:
            rejected.append(Rejected(f"{Path(path).name}:{number}", "bad entry", f"line {number} of {Path(path).name} {error}."))
    if not entries:
        said = f"; {rejected[0].detail}" if rejected else "."
        raise UserError(f"the list {os.fspath(path)!r} names no file by {', '.join(PATH_COLUMNS)} or {VIDEO_COLUMN}{said}")
    return entries, rejected


def decode_text(data: bytes) -> str:
    """Text of unknown encoding: UTF-8, UTF-16 with a byte order mark, or else Latin-1, which reads anything."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return decode_text(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"the list {str(path)!r} is not a whole gzip file: {error}.") from None
    except OSError as error:
        raise UserError(f"the list {str(path)!r} cannot be read: {error.strerror}.") from None


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = loads(line)
        except ValueError:
            yield number, ValueError("is not JSON")
            continue
        yield number, row if isinstance(row, dict) else ValueError("is not a JSON object")


def _table_rows(text: str, name: str, tabs: bool) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    header = text.split("\n", 1)[0]

    def columns(delimiter: str) -> list[str]:
        return [column.strip().lower() for column in next(csv.reader([header], delimiter=delimiter), [])]

    delimiter = "\t" if tabs else max(_DELIMITERS, key=lambda one: len(columns(one)))
    if not {*PATH_COLUMNS, VIDEO_COLUMN} & set(columns(delimiter)):
        raise UserError(
            f"the table {name!r} has no column that names files: its first line must have one of {', '.join(PATH_COLUMNS)} or "
            f"{VIDEO_COLUMN}, not only {', '.join(map(repr, columns(delimiter)[:8]))}."
        )
    csv.field_size_limit(1 << 24)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)  # else an open quote swallows rows
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, ValueError(f"is not a row of a table: {error}")
            continue
        if any(value for value in row.values()):
            yield reader.line_num, {key: value for key, value in row.items() if isinstance(key, str)}


def _entry(row: dict[str, Any]) -> Entry:
    values = {str(key).strip().lower(): value for key, value in row.items() if value not in (None, "")}
    path, video = _first(values, PATH_COLUMNS), str(values.get(VIDEO_COLUMN, "")).strip()
    if isinstance(path, dict):  # as the datasets library writes audio columns
        path = path.get("path")
    if not (isinstance(path, str) and path.strip()) and not video:
        raise ValueError("names no file")
    if isinstance(path, str):
        try:
            os.fsencode(path)
        except UnicodeEncodeError:
            raise ValueError(f"names {path!r}, which no file can be called") from None
    start, stop = _seconds(values, START_COLUMNS), _seconds(values, STOP_COLUMNS)
    if stop is not None and stop <= (start or 0.0):
        raise ValueError(f"ends at {stop:g} s, before it starts")
    captions = values.get("captions") or _first(values, CAPTION_COLUMNS) or []
    used = {*PATH_COLUMNS, *CAPTION_COLUMNS, *START_COLUMNS, *STOP_COLUMNS, *_TECHNICAL, VIDEO_COLUMN, "captions"}
    return Entry(
        path=path.strip() if isinstance(path, str) else "",
        video=video,
        captions=tuple(map(str, captions)) if isinstance(captions, list) else (str(captions),),
        tags={key: value for key, value in values.items() if key not in used},
        info_path=str(values.get("info_path", "")),
        start=start or 0.0,
        stop=stop,
    )


def _first(values: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((values[name] for name in names if name in values), None)


def _seconds(values: dict[str, Any], names: tuple[str, ...]) -> float | None:
    given = _first(values, names)
    if given is None:
        return None
    try:
        seconds = float(given)
    except (TypeError, ValueError):
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"has {given!r} where seconds from 0 are expected")
    return seconds
