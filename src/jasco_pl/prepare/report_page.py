"""Bars as inline SVG: sharp at any size, and in the page's own colours, light or dark.

The report of a preparation as one HTML page.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

from markupsafe import Markup, escape

from jasco_pl.compose.theory import MAJOR_KEYS, MINOR_KEYS
from jasco_pl.pages.base import join, page, table

WIDTH, HEIGHT = 540, 190
_LEFT, _TOP, _BOTTOM = 46, 10, 40
STYLE = """
.bars text { fill: var(--soft); font: 11.5px var(--sans); }
.bars line { stroke: var(--line); }
.bars .first { fill: var(--accent); }
.bars .second { fill: var(--near); }
.bars g.bar:hover rect { opacity: .7; }
"""


def bar_chart(
    labels: Sequence[str], series: Sequence[Sequence[float]], *, describe: Sequence[Sequence[str]], axis: str = "", between: bool = False
) -> Markup:
    """Upright bars.

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
    parts = []
    for tick in (top, top / 2, 0):
        y = floor - tick * scale
        parts.append(f'<line x1="{_LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    width = slot * 0.86 / len(series)
    for row, (values, kind) in enumerate(zip(series, ("first", "second"), strict=False)):
        for number, value in enumerate(values):
            if value <= 0:
                continue
            height = max(1.0, value * scale)
            x = _LEFT + number * slot + slot * 0.07 + row * width
            parts.append(
                f'<g class="bar"><title>{escape(describe[row][number])}</title>'
                # A bar as high as the chart lies under the visible one, so that small ones can be pointed at.
                f'<rect x="{x:.1f}" y="{_TOP}" width="{width:.1f}" height="{floor - _TOP}" fill="transparent"/>'
                f'<rect class="{kind}" x="{x:.1f}" y="{floor - height:.1f}" width="{width - 1:.1f}" height="{height:.1f}" rx="1.5"/></g>'
            )
    for number, label in enumerate(labels):
        x = _LEFT + (number + (0 if between else 0.5)) * slot
        parts.append(f'<text x="{x:.1f}" y="{floor + 16}" text-anchor="middle">{escape(label)}</text>')
    if axis:
        parts.append(f'<text x="{(_LEFT + WIDTH) / 2}" y="{HEIGHT - 5}" text-anchor="middle">{escape(axis)}</text>')
    return Markup(f'<svg class="bars" viewBox="0 0 {WIDTH + 14} {HEIGHT}" role="img" aria-label="{escape(axis)}">{"".join(parts)}</svg>')


def _nice(highest: float) -> float:
    """The top of the scale: 1, 2, 4, 6 or 8 times a power of ten, so that its half is a short number too."""
    if highest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= highest * (1 - 1e-9))


_MOST_FILES = 300  # of one reason that the page names; rejected.jsonl has them all
_TYPE_NAMES = {"": "maj", "m": "min", "m7b5": "ø7", "m7b5/b7": "ø7/b7"}
_STYLE = (
    STYLE
    + """
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .9rem; margin: 1.2rem 0; }
.tiles .card { margin: 0; padding: .8rem 1rem; }
.tiles strong { display: block; font-size: 1.5rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: .9rem; }
.figures figure { margin: 0; padding: .9rem 1rem .6rem; }
.figures h3 { margin: 0; }
.figures figcaption { margin-bottom: .4rem; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; vertical-align: -.05em; margin: 0 .3em 0 .6em; }
details { margin: .5rem 0; }
summary { cursor: pointer; }
td.words, li { overflow-wrap: anywhere; }
"""
)


def report_html(report: Mapping[str, Any]) -> str:
    """The page; `report` is what `report.summarise` gives."""
    parts = [
        Markup("<h1>What was prepared</h1>"),
        _tiles(report["totals"]),
        _speed(report["speed"]),
        Markup("<h2>The music</h2>"),
        _figures(report),
        _rejections(report["rejections"]),
        _examples(report),
        _listed(report),
        Markup("<details><summary>Settings</summary><pre>{}</pre></details>").format(
            json.dumps(report["settings"], indent=1, ensure_ascii=False)
        ),
    ]
    return page("What was prepared", join(parts), style=_STYLE)


def _tiles(totals: Mapping[str, Any]) -> Markup:
    lost = f" of {_hours(totals['hours_found'])} found" if totals["rejected"] else ""
    tiles = [
        (_hours(totals["hours_kept"]), f"of music{lost}"),
        (f"{totals['tracks']:,}", "recordings"),
        (f"{totals['samples']:,}", f"samples in {totals['shards']:,} shard{'' if totals['shards'] == 1 else 's'}"),
        (f"{totals['captions']:,}", f"captions; {totals['tracks_without_captions']:,} recordings have none"),
        (f"{totals['rejected']:,}", f"files not taken ({_hours(totals['hours_rejected'])})"),
    ]
    cells = join(Markup('<div class="card"><strong>{}</strong><small>{}</small></div>').format(*tile) for tile in tiles)
    return Markup('<div class="tiles">{}</div>').format(cells)


def _speed(speed: Mapping[str, Mapping[str, Any]]) -> Markup:
    if not speed:
        return Markup("")
    rows = [
        (
            stage,
            "" if one["x_real_time"] is None else f"{one['x_real_time']:,.1f}",
            _hours(one["music_seconds"] / 3600),
            _hours(one["wall_seconds"] / 3600),
        )
        for stage, one in speed.items()
    ]
    heads = ("stage", "× real time", "music", "time of the workers together")
    return Markup("<h2>Speed of one worker</h2>\n") + table(heads, rows)


def _figures(report: Mapping[str, Any]) -> Markup:
    chords, types = report["chords"], list(report["chords"]["types"])
    heard = f"{chords['hours']:.2g} h heard; no chord in {chords['none'] / max(1e-9, 36 * chords['hours']):.0f} % of it"
    figures = [
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
    return Markup('<div class="figures">{}</div>').format(join(figures))


def _histogram(title: str, figure: Mapping[str, Any], show: Any, axis: str, every: int = 1, unit: str = "") -> Markup:
    if not figure["measured"]:
        return _figure(title, "not measured", Markup(""))
    edges, counts = figure["edges"], figure["counts"]
    first = next(number for number, count in enumerate(counts) if count)
    last = len(counts) - next(number for number, count in enumerate(reversed(counts)) if count)
    first, last = max(0, first - 1), min(len(counts), last + 1)
    named = ["" if edge is None else show(edge) for edge in edges]
    said = [f"{_bin(*bounds)}{unit}: {count}" for bounds, count in zip(pairwise(named), counts, strict=True)]
    labels = [name if number % every == 0 else "" for number, name in enumerate(named[first : last + 1], start=first)]
    usual = f"nine of ten from {show(figure['low'])} to {show(figure['high'])}"
    note = f"median {show(figure['median'])}{unit}, {usual}; {figure['measured']:,} recordings"
    return _figure(title, note, bar_chart(labels, [counts[first:last]], describe=[said[first:last]], axis=axis, between=True))


def _bin(low: str, high: str) -> str:
    if not low:
        return f"under {high}"
    return f"{low} to {high}" if high else f"{low} or more"


def _keys(counts: Mapping[str, int]) -> Markup:
    total = sum(counts.values())
    if not total:
        return _figure("Key", "not measured", Markup(""))
    series = [[counts.get(f"{name} {mode}", 0) for name in names] for mode, names in (("major", MAJOR_KEYS), ("minor", MINOR_KEYS))]
    said = [
        [f"{name} {mode}: {count}" for name, count in zip(names, values, strict=True)]
        for (mode, names), values in zip((("major", MAJOR_KEYS), ("minor", MINOR_KEYS)), series, strict=True)
    ]
    mark = Markup('<span class="key" style="background: var({})"></span>{}')
    note = join([f"{total:,} recordings", mark.format("--accent", "major"), mark.format("--near", "minor")])
    labels = [major if major == minor else f"{major}/{minor}" for major, minor in zip(MAJOR_KEYS, MINOR_KEYS, strict=True)]
    return _figure("Key", note, bar_chart(labels, series, describe=said, axis="recordings by tonic"))


def _chords(title: str, seconds: Mapping[str, float], labels: Sequence[str], note: str, axis: str) -> Markup:
    total = sum(seconds.values())
    if not total:
        return _figure(title, "not measured", Markup(""))
    shares = [100 * value / total for value in seconds.values()]
    said = [
        f"{label}: {share:.1f} % ({_hours(value / 3600)})" for label, share, value in zip(labels, shares, seconds.values(), strict=True)
    ]
    return _figure(title, note, bar_chart(labels, [shares], describe=[said], axis=f"% of the time with a chord, by {axis}"))


def _figure(title: str, note: object, chart: Markup) -> Markup:
    return Markup('<figure class="card"><h3>{}</h3><figcaption>{}</figcaption>{}</figure>').format(title, note, chart)


def _rejections(rejections: Mapping[str, Any]) -> Markup:
    if not rejections["files"]:
        return Markup("<h2>Not taken</h2>\n<p>Nothing: every file became part of the set.</p>")
    parts = [Markup("<h2>Not taken</h2>")]
    grouped = {reason: list(files) for reason, files in groupby(rejections["files"], key=lambda one: one["reason"])}
    for reason, count in rejections["by_reason"].items():
        named = [(one["name"], Markup('<span class="words">{}</span>').format(one["detail"])) for one in grouped[reason][:_MOST_FILES]]
        more = f" (the first {_MOST_FILES}; rejected.jsonl names all)" if count > _MOST_FILES else ""
        opened = Markup(" open") if len(rejections["files"]) <= 20 else ""
        parts.append(
            Markup("<details{}><summary><b>{:,}</b> {}{}</summary>{}</details>").format(
                opened, count, reason, more, table(("file", "why"), named, numbers_from=2)
            )
        )
    return join(parts)


def _examples(report: Mapping[str, Any]) -> Markup:
    if not report["examples"]:
        return Markup("")
    items = join(
        Markup("<li>{}<ul>{}</ul></li>").format(
            one["name"], join(Markup("<li class=soft>{}</li>").format(text) for text in one["captions"])
        )
        for one in report["examples"]
    )
    return Markup("<h2>Captions of some recordings</h2>\n<ul>{}</ul>").format(items)


def _listed(report: Mapping[str, Any]) -> Markup:
    rows = [
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
        for one in report["listed"]
    ]
    if not rows:
        return Markup("")
    total = report["totals"]["tracks"]
    title = "All recordings" if len(rows) == total else f"{len(rows)} of {total:,} recordings"
    heads = ("recording", "length", "Hz", "channels", "LUFS", "peak", "bpm", "key", "melody", "onsets/s")
    return Markup("<details><summary>{}</summary>{}</details>").format(title, table(heads, rows))


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
