"""What is known of a recording, and the files of lines that keep it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from jasco_pl.controls import harmony
from jasco_pl.files import atomic_path
from jasco_pl.prepare.plan import Planned
from jasco_pl.prepare.track import Job


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


def read_json(path: Path, default: Any) -> Any:
    """A JSON file's content; `default` where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else default


def read_lines(path: Path) -> list[dict[str, Any]]:
    """One JSON object a line; nothing where there is no such file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line] if path.exists() else []


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
