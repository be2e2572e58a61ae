"""What a preparation made of the music it was given: totals, speeds, distributions, refusals; `report.json`, and a page for people."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jasco_pl.data.shards import INDEX
from jasco_pl.notation import harmony
from jasco_pl.prepare.report_page import report_html
from jasco_pl.prepare.rules import Rejected
from jasco_pl.system.files import write_json, write_text
from jasco_pl.system.typed import read_typed

REPORT, PAGE = "report.json", "report.html"
_DURATIONS = (0, 10, 20, 30, 45, 60, 90, 120, 180, 240, 300, 420, 600, 1200, 3600, math.inf)
_TEMPI = (0, *range(50, 210, 10), math.inf)
_LOUDNESS = (-math.inf, *range(-40, -4, 2), math.inf)
_SHARES = tuple(number / 10 for number in range(11))
_ONSETS = (*range(11), math.inf)
_EXAMPLES = 12
_LISTED = 300  # recordings that the page shows one by one


def write_report(
    folder: str | Path, records: Sequence[Mapping[str, Any]], rejected: Sequence[Rejected], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Write report.json and report.html beside the shards, each whole or not at all.

    Args:
        folder: of the set; its index, where there is one, tells how many samples and shards there are.
        records: one a recording that was taken: `name`, `id`, `hash`, `seconds`, `source_rate`, `channels`, `loudness` (LUFS), `peak`,
            `tempo` (beats a minute), `key` ("C major"), `chords` (label -> seconds), `melody_share` (0 to 1), `onsets_per_second`,
            `stage_seconds` (stage -> wall seconds), `captions`. What was not measured is None or absent.
        rejected: what was not taken.
        settings: of the preparation, kept in the report as they are.

    Returns:
        What report.json holds.

    Raises:
        UserError: the files cannot be written.
    """
    report = summarise(records, rejected, settings, _shards(Path(folder)))
    write_json(Path(folder) / REPORT, report)
    write_text(Path(folder) / PAGE, report_html(report))
    return report


def summarise(
    records: Sequence[Mapping[str, Any]],
    rejected: Sequence[Rejected],
    settings: Mapping[str, Any],
    shards: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The report as a dictionary that JSON can hold.

    Histograms are `{"edges": [...], "counts": [...]}` with half-open bins, the last edge included; an open end is None.
    """
    kept_seconds = sum(record["seconds"] for record in records)
    lost_seconds = sum(one.seconds or 0.0 for one in rejected)
    by_reason = Counter(one.reason for one in rejected)
    chords = _add(record.get("chords") for record in records)
    roots, types, without = _roots_and_types(chords)
    return {
        "totals": {
            "hours_found": (kept_seconds + lost_seconds) / 3600,
            "hours_kept": kept_seconds / 3600,
            "hours_rejected": lost_seconds / 3600,
            "tracks": len(records),
            "rejected": len(rejected),
            "samples": sum(len(shard["samples"]) for shard in shards),
            "shards": len(shards),
            "captions": sum(len(record["captions"]) for record in records),
            "tracks_without_captions": sum(not record["captions"] for record in records),
        },
        "speed": _speeds(records),
        "duration": _distribution(records, "seconds", _DURATIONS),
        "chords": {"hours": sum(chords.values()) / 3600, "roots": roots, "types": types, "none": without},
        "key": _counts(record.get("key") for record in records),
        "tempo": _distribution(records, "tempo", _TEMPI),
        "melody_share": _distribution(records, "melody_share", _SHARES),
        "onsets_per_second": _distribution(records, "onsets_per_second", _ONSETS),
        "loudness": _distribution(records, "loudness", _LOUDNESS),
        "source_rate": _counts(record.get("source_rate") for record in records),
        "channels": _counts(record.get("channels") for record in records),
        "rejections": {
            "by_reason": dict(sorted(by_reason.items(), key=lambda item: (-item[1], item[0]))),
            "files": [asdict(one) for one in sorted(rejected, key=lambda one: (one.reason, one.name))],
        },
        "examples": _evenly(
            [{"name": record["name"], "captions": record["captions"]} for record in records if record["captions"]], _EXAMPLES
        ),
        "listed": [_row(record) for record in _evenly(records, _LISTED)],
        "settings": dict(settings),
    }


def _shards(folder: Path) -> Sequence[Mapping[str, Any]]:
    path = folder / INDEX
    return read_typed(path, dict[str, Any])["shards"] if path.exists() else []


def _speeds(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Stage -> wall seconds of one worker, music that went through, and their ratio."""
    wall: dict[str, float] = defaultdict(float)
    music: dict[str, float] = defaultdict(float)
    for record in records:
        for stage, seconds in (record.get("stage_seconds") or {}).items():
            wall[stage] += seconds
            music[stage] += record["seconds"]
    return {
        stage: {
            "wall_seconds": wall[stage],
            "music_seconds": music[stage],
            "x_real_time": music[stage] / wall[stage] if wall[stage] > 0 else None,
        }
        for stage in wall
    }


def _distribution(records: Sequence[Mapping[str, Any]], key: str, edges: Sequence[float]) -> dict[str, Any]:
    """Histogram and quantiles of one figure over the recordings for which it was measured."""
    values = sorted(record[key] for record in records if record.get(key) is not None)
    counts = [0] * (len(edges) - 1)
    for value in values:
        counts[next((number for number, edge in enumerate(edges[1:]) if value < edge), len(counts) - 1)] += 1
    quantiles = (
        {name: values[round(share * (len(values) - 1))] for name, share in (("low", 0.05), ("median", 0.5), ("high", 0.95))}
        if values
        else {}
    )
    return {"measured": len(values), **quantiles, "edges": [edge if math.isfinite(edge) else None for edge in edges], "counts": counts}


def _roots_and_types(chords: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float], float]:
    """Seconds by root and by type of chord in the vocabulary's order, and seconds without a chord."""
    roots = dict.fromkeys(harmony.ROOTS, 0.0)
    types = dict.fromkeys(harmony.TYPES, 0.0)
    without = 0.0
    for label, seconds in chords.items():
        index = harmony.index(label)
        if index >= harmony.N:
            without += seconds
        else:
            root, kind = divmod(index, len(harmony.TYPES))
            roots[harmony.ROOTS[root]] += seconds
            types[harmony.TYPES[kind]] += seconds
    return roots, types, without


def _add(parts: Iterable[Mapping[str, float] | None]) -> Counter[str]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part or {})
    return total


def _counts(values: Iterable[Any]) -> dict[str, int]:
    found = Counter(str(value) for value in values if value is not None)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _evenly(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many, spread over all."""
    return [items[number * len(items) // most] for number in range(most)] if len(items) > most else list(items)


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("name", "seconds", "source_rate", "channels", "loudness", "peak", "tempo", "key", "melody_share", "onsets_per_second")
    return {key: record.get(key) for key in keys}
