"""The report of a preparation as one HTML page (`report.html`).

Its bars are inline SVG: sharp at any size, and in the page's own colours, light or dark.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

from jasco_pl.notation.harmony import MAJOR_KEYS, MINOR_KEYS
from jasco_pl.pages.base import packaged, render

WIDTH, HEIGHT = 540, 190
_LEFT, _TOP, _BOTTOM = 46, 10, 40
_MOST_FILES = 300  # of one reason that the page names; rejected.jsonl has them all
_TYPE_NAMES = {"": "maj", "m": "min", "m7b5": "ø7", "m7b5/b7": "ø7/b7"}


def report_html(report: Mapping[str, Any]) -> str:
    """The page; `report` is what `report.summarise` gives."""
    listed, total = _listed(report["listed"]), report["totals"]["tracks"]
    return render(
        "prepare/report.html",
        style=packaged("report.css", __package__),
        title="What was prepared",
        tiles=_tiles(report["totals"]),
        speed=_speed(report["speed"]),
        figures=_figures(report),
        rejections=_rejections(report["rejections"]),
        opened=len(report["rejections"]["files"]) <= 20,
        examples=report["examples"],
        listed=listed,
        listed_title="All recordings" if len(listed) == total else f"{len(listed)} of {total:,} recordings",
        settings=json.dumps(report["settings"], indent=1, ensure_ascii=False),
    )


def bars(
    labels: Sequence[str], series: Sequence[Sequence[float]], *, describe: Sequence[Sequence[str]], axis: str = "", between: bool = False
) -> dict[str, Any]:
    """Upright bars, laid out for the template.

    Args:
        labels: under the bars, one a bar; or, with `between`, under the edges: one more than bars. Empty ones are left out.
        series: values from 0 on; one sequence, or two that stand beside each other.
        describe: what is said about each bar when it is pointed at, of the shape of `series`.
        axis: what the labels are, under them.
        between: whether labels stand under the edges of bars.
    """
    count = len(series[0])
    top = _nice(max((value for values in series for value in values), default=0))
    slot = (WIDTH - _LEFT) / max(1, count)
    floor = HEIGHT - _BOTTOM
    scale = (floor - _TOP) / top
    width = slot * 0.86 / len(series)
    drawn = []
    for row, (values, kind) in enumerate(zip(series, ("first", "second"), strict=False)):
        for number, value in enumerate(values):
            if value <= 0:
                continue
            height = max(1.0, value * scale)
            place = {"x": f"{_LEFT + number * slot + slot * 0.07 + row * width:.1f}", "y": f"{floor - height:.1f}"}
            size = {"whole": f"{width:.1f}", "width": f"{width - 1:.1f}", "height": f"{height:.1f}"}
            drawn.append({"kind": kind, "said": describe[row][number], **place, **size})
    shift = 0 if between else 0.5
    return {
        **{"width": WIDTH, "height": HEIGHT, "left": _LEFT, "top": _TOP, "floor": floor, "axis": axis},
        "ticks": [
            {"label": f"{tick:g}", "y": f"{floor - tick * scale:.1f}", "below": f"{floor - tick * scale + 4:.1f}"}
            for tick in (top, top / 2, 0)
        ],
        "bars": drawn,
        "labels": [{"x": f"{_LEFT + (number + shift) * slot:.1f}", "text": label} for number, label in enumerate(labels) if label],
    }


def _nice(highest: float) -> float:
    """The top of the scale: 1, 2, 4, 6 or 8 times a power of ten, so that its half is a short number too."""
    if highest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= highest * (1 - 1e-9))


def _tiles(totals: Mapping[str, Any]) -> list[tuple[str, str]]:
    lost = f" of {_hours(totals['hours_found'])} found" if totals["rejected"] else ""
    return [
        (_hours(totals["hours_kept"]), f"of music{lost}"),
        (f"{totals['tracks']:,}", "recordings"),
        (f"{totals['samples']:,}", f"samples in {totals['shards']:,} shard{'' if totals['shards'] == 1 else 's'}"),
        (f"{totals['captions']:,}", f"captions; {totals['tracks_without_captions']:,} recordings have none"),
        (f"{totals['rejected']:,}", f"files not taken ({_hours(totals['hours_rejected'])})"),
    ]


def _speed(speed: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            stage,
            "" if one["x_real_time"] is None else f"{one['x_real_time']:,.1f}",
            _hours(one["music_seconds"] / 3600),
            _hours(one["wall_seconds"] / 3600),
        )
        for stage, one in speed.items()
    ]


def _figures(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    chords, types = report["chords"], list(report["chords"]["types"])
    heard = f"{chords['hours']:.2g} h heard; no chord in {chords['none'] / max(1e-9, 36 * chords['hours']):.0f} % of it"
    return [
        _histogram("Duration", report["duration"], _clock, "minutes:seconds", every=2),
        _histogram("Loudness", report["loudness"], "{:.0f}".format, "LUFS", every=3, unit=" LUFS"),
        _histogram("Tempo", report["tempo"], "{:.0f}".format, "beats a minute", every=2, unit=" bpm"),
        _keys(report["key"]),
        _chords("Chords by root", chords["roots"], list(chords["roots"]), heard, "root"),
        _chords(
            "Chords by type", chords["types"], [_TYPE_NAMES.get(one, one) for one in types], "ø7 is m7b5; after a slash: the bass", "type"
        ),
        _histogram("Melody", report["melody_share"], "{:.0%}".format, "share of a recording in which one is heard", every=2),
        _histogram("Onsets", report["onsets_per_second"], "{:.0f}".format, "a second", unit=" a second"),
    ]


def _histogram(title: str, figure: Mapping[str, Any], show: Any, axis: str, every: int = 1, unit: str = "") -> dict[str, Any]:
    if not figure["measured"]:
        return _figure(title)
    edges, counts = figure["edges"], figure["counts"]
    first = next(number for number, count in enumerate(counts) if count)
    last = len(counts) - next(number for number, count in enumerate(reversed(counts)) if count)
    first, last = max(0, first - 1), min(len(counts), last + 1)
    named = ["" if edge is None else show(edge) for edge in edges]
    said = [f"{_bin(*bounds)}{unit}: {count}" for bounds, count in zip(pairwise(named), counts, strict=True)]
    labels = [name if number % every == 0 else "" for number, name in enumerate(named[first : last + 1], start=first)]
    usual = f"nine of ten from {show(figure['low'])} to {show(figure['high'])}"
    note = f"median {show(figure['median'])}{unit}, {usual}; {figure['measured']:,} recordings"
    return _figure(title, note, bars(labels, [counts[first:last]], describe=[said[first:last]], axis=axis, between=True))


def _bin(low: str, high: str) -> str:
    if not low:
        return f"under {high}"
    return f"{low} to {high}" if high else f"{low} or more"


def _keys(counts: Mapping[str, int]) -> dict[str, Any]:
    total = sum(counts.values())
    if not total:
        return _figure("Key")
    series = [[counts.get(f"{name} {mode}", 0) for name in names] for mode, names in (("major", MAJOR_KEYS), ("minor", MINOR_KEYS))]
    said = [
        [f"{name} {mode}: {count}" for name, count in zip(names, values, strict=True)]
        for (mode, names), values in zip((("major", MAJOR_KEYS), ("minor", MINOR_KEYS)), series, strict=True)
    ]
    labels = [major if major == minor else f"{major}/{minor}" for major, minor in zip(MAJOR_KEYS, MINOR_KEYS, strict=True)]
    chart = bars(labels, series, describe=said, axis="recordings by tonic")
    return _figure("Key", f"{total:,} recordings", chart, key=(("--accent", "major"), ("--near", "minor")))


def _chords(title: str, seconds: Mapping[str, float], labels: Sequence[str], note: str, axis: str) -> dict[str, Any]:
    total = sum(seconds.values())
    if not total:
        return _figure(title)
    shares = [100 * value / total for value in seconds.values()]
    said = [
        f"{label}: {share:.1f} % ({_hours(value / 3600)})" for label, share, value in zip(labels, shares, seconds.values(), strict=True)
    ]
    return _figure(title, note, bars(labels, [shares], describe=[said], axis=f"% of the time with a chord, by {axis}"))


def _figure(
    title: str, note: str = "not measured", chart: dict[str, Any] | None = None, key: Sequence[tuple[str, str]] = ()
) -> dict[str, Any]:
    return {"title": title, "note": note, "chart": chart, "key": key}


def _rejections(rejections: Mapping[str, Any]) -> list[dict[str, Any]]:
    grouped = {reason: list(files) for reason, files in groupby(rejections["files"], key=lambda one: one["reason"])}
    return [
        {
            "count": f"{count:,}",
            "reason": reason,
            "more": f" (the first {_MOST_FILES}; rejected.jsonl names all)" if count > _MOST_FILES else "",
            "files": [(one["name"], {"why": one["detail"]}) for one in grouped[reason][:_MOST_FILES]],
        }
        for reason, count in (rejections["by_reason"] if rejections["files"] else {}).items()
    ]


def _listed(listed: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            one["name"],
            _clock(one["seconds"]),
            _number(one["source_rate"], "{:,}"),
            _number(one["channels"], "{}"),
            _number(one["loudness"], "{:.1f}"),
            _number(one["peak"], "{:.2f}"),
            _number(one["tempo"], "{:.0f}"),
            one["key"] or "–",
            _number(one["melody_share"], "{:.0%}"),
            _number(one["onsets_per_second"], "{:.1f}"),
        )
        for one in listed
    ]


def _number(value: Any, form: str) -> str:
    return "–" if value is None else form.format(value)


def _clock(seconds: float) -> str:
    """65 -> 1:05, 3600 -> 1:00:00."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _hours(hours: float) -> str:
    seconds = 3600 * hours
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if hours < 2 else f"{hours:,.1f} h"
