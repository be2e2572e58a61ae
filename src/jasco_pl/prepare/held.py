"""Shards that lie in a folder, as tracks; and tracks as the samples of a shard."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from jasco_pl.data.checks import read_fields
from jasco_pl.data.schema import Sample


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
        side = json.loads(path.read_text(encoding="utf-8"))
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
    with safe_open(path, "pt") as handle:
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
