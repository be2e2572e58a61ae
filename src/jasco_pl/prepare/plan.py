"""Shards that lie in a folder, as tracks; and tracks as the samples of a shard.

What is to be done: which recordings are new, which of them are the same, and which belong into one shard.

What is known of a recording, and the files of lines that keep it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.decoding import AudioFile
from jasco_pl.data.schema import Sample, open_shard, read_fields
from jasco_pl.data.shards import read_side
from jasco_pl.notation import harmony
from jasco_pl.prepare.jobs import Job
from jasco_pl.prepare.rules import Rejected
from jasco_pl.prepare.source import Track
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path, write_json
from jasco_pl.system.typed import from_json, read_typed, typed


@dataclass(frozen=True)
class Held:
    """A whole shard."""

    name: str
    entries: list[dict[str, Any]]
    """Of its samples, as in its side file."""

    @property
    def tracks(self) -> dict[str, set[str]]:
        """Track -> fields of its samples."""
        return {track_of(entry["id"]): set(entry["crc32"]) for entry in self.entries}


def track_of(sample: str) -> str:
    """The track that a sample was cut from."""
    return sample.rpartition("-")[0]


def find_held(folder: Path) -> list[Held]:
    """The shards in a folder that are whole by size. Of two that hold the same tracks (a run was killed while fields were added) the one
    with more fields."""
    found = []
    for path in sorted(folder.glob("shard-*.json")):
        side = read_side(folder, path.stem)
        file = folder / side["file"]
        if file.is_file() and file.stat().st_size == side["bytes"]:
            found.append(Held(path.stem, side["samples"]))
    found.sort(key=lambda shard: (-sum(len(entry["crc32"]) for entry in shard.entries), shard.name))
    held: list[Held] = []
    taken: set[str] = set()
    for shard in found:
        if taken.isdisjoint(shard.tracks):
            held.append(shard)
            taken |= set(shard.tracks)
    return sorted(held, key=lambda shard: shard.name)


def read_tracks(folder: Path, shard: Held) -> dict[str, tuple[dict[str, Tensor], list[str]]]:
    """Track -> (its fields, the samples joined again; captions).

    Raises:
        CorruptShardError: bytes differ from what was written.
    """
    parts: dict[str, list[dict[str, Tensor]]] = {}
    captions = {}
    path = folder / f"{shard.name}.safetensors"
    handle = open_shard(path)
    for entry in shard.entries:
        parts.setdefault(track_of(entry["id"]), []).append(read_fields(handle, path, entry))
        captions[track_of(entry["id"])] = list(entry["captions"])
    return {name: ({field: torch.cat([part[field] for part in cut]) for field in cut[0]}, captions[name]) for name, cut in parts.items()}


def cut(track: str, fields: Mapping[str, Tensor], captions: Sequence[str], length: int) -> list[Sample]:
    """A track's fields [T, ...] as samples of about `length` frames, all of nearly the same length."""
    frames = fields["latents"].shape[0]
    count = max(1, round(frames / length))
    edges = [frames * number // count for number in range(count + 1)]
    return [
        Sample(f"{track}-{number:03d}", {name: tensor[first:last].clone() for name, tensor in fields.items()}, list(captions))
        for number, (first, last) in enumerate(itertools.pairwise(edges))
    ]


SCAN, PLAN = "scan.json", "plan.json"
_BLOCK = 1 << 22
_READERS = 4  # more hardly help a disk


@dataclass(frozen=True)
class Planned:
    """A track whose bytes have been looked at."""

    id: str
    """The file's name made plain, and eight hex digits of its hash: the same wherever and whenever it is prepared."""
    hash: str
    """Of the file's bytes and the stretch of it."""
    track: Track
    seconds: float
    """As the file's header claims; 0 where it cannot be read."""


def scan(tracks: Sequence[Track], work: Path, ids: Mapping[str, str]) -> tuple[list[Planned], list[Rejected]]:
    """Hash every file's content; of the same bytes the first by name is taken.

    Args:
        tracks: of the source.
        work: keeps the hashes, by path, size and time of change, so that a second run does not read everything again.
        ids: hash -> id of what a set holds already: a file that was renamed keeps its id.

    Returns:
        The tracks in the order of their content's hash, which mixes albums, and what is refused.
    """
    path = work / SCAN
    known: dict[str, list[str | float]] = read_json(path, {}, dict[str, list[str | float]])
    files = list(dict.fromkeys(track.path for track in tracks))
    looked: dict[str, tuple[str, float] | Rejected] = {}
    fresh = {}
    with ThreadPoolExecutor(_READERS) as pool, tqdm(total=len(files), desc="look", unit="file", disable=not files) as bar:
        for file, (key, found) in zip(files, pool.map(lambda file: _look(file, known), files), strict=True):
            looked[file] = found
            if key and not isinstance(found, Rejected):
                fresh[key] = list(found)
            bar.update()
    if fresh != known:
        write_json(path, fresh)
    planned: list[Planned] = []
    rejected: list[Rejected] = []
    first: dict[str, str] = {}
    for track in tracks:
        found = looked[track.path]
        if isinstance(found, Rejected):
            rejected.append(Rejected(track.name, found.reason, found.detail))
            continue
        digest, seconds = found
        stretch = f"{digest}:{track.start:g}:{track.stop}" if track.start or track.stop is not None else digest
        mark = hashlib.blake2b(stretch.encode(), digest_size=16).hexdigest()
        length = max(0.0, (seconds if track.stop is None else min(track.stop, seconds)) - track.start)
        if mark in first:
            rejected.append(Rejected(track.name, "duplicate", f"it has the same content as {first[mark]!r}.", length or None))
            continue
        first[mark] = track.name
        planned.append(Planned(ids.get(mark, f"{plain(track.name)}-{mark[:8]}"), mark, track, length))
    return sorted(planned, key=lambda one: one.hash), rejected


def plain(name: str) -> str:
    """A file's name without folder and ending, as lower-case ASCII letters, digits and dashes, at most 40 of them."""
    stem = re.sub(r"\.\w{1,5}(?=$|\[)", "", name.rsplit("/", 1)[-1])
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:40].strip("-") or "track"


def group(planned: Sequence[Planned], minutes: float, work: Path) -> list[list[str]]:
    """Ids of the tracks that make a shard each, as near as whole tracks come to `minutes`.

    The division is kept in `work`: a run that goes on follows it, whatever was refused meanwhile, and divides only what is new.
    """
    path = work / PLAN
    there = {one.id for one in planned}
    former: list[list[str]] = read_json(path, [], list[list[str]])
    kept = [members for ids in former if (members := [name for name in ids if name in there])]
    taken = {name for ids in kept for name in ids}
    groups, current, length = list(kept), [], 0.0
    for one in planned:
        if one.id in taken:
            continue
        current.append(one.id)
        length += one.seconds
        if length >= 60 * minutes:
            groups.append(current)
            current, length = [], 0.0
    groups += [current] if current else []
    if groups != former:
        write_json(path, groups)
    return groups


def _look(file: str, known: dict[str, list[str | float]]) -> tuple[str, tuple[str, float] | Rejected]:
    """(key of this state of the file, (hash of its bytes, seconds that its header claims) or why it is refused)."""
    try:
        state = os.stat(file)
        key = f"{file}:{state.st_size}:{state.st_mtime_ns}"
        if key in known:
            digest, seconds = known[key]
            return key, (str(digest), float(seconds))
        if not state.st_size:
            return key, Rejected(file, "empty", "the file has no content.")
        hasher = hashlib.blake2b(digest_size=16)
        with open(file, "rb") as stream:
            while block := stream.read(_BLOCK):
                hasher.update(block)
    except OSError as error:
        return "", Rejected(file, "unreadable", f"it cannot be read: {error.strerror}.")
    try:
        seconds = AudioFile(file).claimed_seconds
    except UserError:
        seconds = 0.0  # the worker finds out what is wrong
    return key, (hasher.hexdigest(), seconds)


def describe(
    job: Job, planned: Planned, known: Mapping[str, Any], fields: Mapping[str, Tensor], captions: Sequence[str], frame_rate: float
) -> dict[str, Any]:
    """The record of a kept track, as the report reads it; `known` is what a former run knew."""
    found = job.record()
    chords = fields.get("chords_heard")
    melody = fields.get("melody")
    return {
        "name": job.name,
        "id": job.id,
        "hash": planned.hash,
        **{**known, **found},
        "stage_seconds": {**known.get("stage_seconds", {}), **found["stage_seconds"]},
        "chords": None if chords is None else _seconds_of_chords(chords.numpy(), frame_rate),
        "melody_share": None if melody is None else round(float((melody >= 0).float().mean()), 4),
        "captions": list(captions),
    }


def _seconds_of_chords(frames: Any, frame_rate: float) -> dict[str, float]:
    values, counts = np.unique(frames, return_counts=True)
    return {harmony.LABELS[value]: round(int(count) / frame_rate, 2) for value, count in zip(values, counts, strict=True)}


def read_json(path: Path, default: Any, kind: Any = dict[str, Any]) -> Any:
    """A JSON file's content, of that type; `default` where there is none; UserError where it is damaged."""
    return read_typed(path, kind) if path.exists() else default


def read_known(path: Path) -> list[dict[str, Any]]:
    """Records of kept recordings, a JSON list; raises as `read_json`."""
    records = read_json(path, [], list[dict[str, Any]])
    try:
        typed(records, list[Known])
    except ValueError as error:
        raise UserError(f"{str(path)!r} is damaged: {error}.") from error
    return list(records)


class Known(TypedDict):
    """What every record of a kept recording has; `describe` adds more."""

    name: str
    id: str
    hash: str
    seconds: float
    captions: list[str]


class Refused(TypedDict):
    """What a line of rejections has."""

    name: str
    reason: str
    detail: str
    id: NotRequired[str]
    seconds: NotRequired[float | None]


class Made(TypedDict):
    """How a set was prepared."""

    stages: dict[str, str]
    segment_seconds: float
    rules: dict[str, Any]


def read_lines(path: Path, kind: Any = dict[str, Any]) -> list[dict[str, Any]]:
    """One JSON object a line, each with at least what `kind` has; nothing where there is no such file; UserError where it is damaged."""
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            if line.strip():
                found.append(from_json(line, dict[str, Any]))
                typed(found[-1], kind)
        except ValueError as error:
            raise UserError(f"{str(path)!r} is damaged in line {number}: {error}.") from error
    return found


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
