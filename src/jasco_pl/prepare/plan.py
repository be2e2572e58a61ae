"""What is to be done: which recordings are new, which of them are the same, and which belong into one shard."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import soundfile
from tqdm import tqdm

from jasco_pl.files import write_json
from jasco_pl.prepare.rejected import Rejected
from jasco_pl.prepare.source import Track

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
    known: dict[str, list[str | float]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
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
    former: list[list[str]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
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
        seconds = float(soundfile.info(file).duration)
    except (soundfile.LibsndfileError, RuntimeError):
        seconds = 0.0  # the worker finds out what is wrong
    return key, (hasher.hexdigest(), seconds)
