"""The page of an evaluation: the table, and every clip with players and with what was asked for over what was heard.

The table stands in the file as HTML; the clips are one block of data that `evaluation.js` makes cards of.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from jasco_pl.controls import ADHERENCES
from jasco_pl.pages.base import data_element, escape, join, packaged, page, source, table, write_html

ARROWS = {True: " ↑", False: " ↓", None: ""}


def write_page(folder: str | Path, results: Mapping[str, Any]) -> Path:
    """Write `index.html` into the folder in which the results lie; the paths of audio in them are relative to it.

    Args:
        folder: where.
        results: `title`, `settings`, `columns` (`key`, `title`, `digits`, `higher_is_better`, `per` "clip" or "set", `group`, which
            makes a table of its own), `rows` (`name`, which no other row has, `ceiling`, which is not compared, `crossed`, which takes
            conditions from several pieces, `given`, `figures`, `clips`), `references` by clip id, `notes`. A figure has `mean`, `low`,
            `high`, `count`, or `missing`, the reason why there is none; a clip has `id`, `caption`, `audio`, `seconds`, `figures` by
            column key, `asked` and `heard` as `Adherence.judged` takes them, and `from`, which says where conditions come from that are not
            the piece's own; a reference has `audio` and `heard`.

    Returns:
        The path of the page.

    Raises:
        UserError: the file cannot be written, or audio lies elsewhere than beside or below the page.
    """
    body = join(
        [
            Markup("<h1>{}</h1>").format(results["title"]),
            _settings(results.get("settings") or {}),
            _summary(results),
            _notes([*(results.get("notes") or []), *([_COMPARED] if results.get("references") else [])]),
            Markup(_CLIPS),
            data_element("data", _data(results)),
        ]
    )
    path = Path(folder) / "index.html"
    write_html(path, page(results["title"], body, packaged("evaluation.js", __package__), packaged("evaluation.css", __package__)))
    return path


def _settings(settings: Mapping[str, Any]) -> Markup:
    if not settings:
        return Markup("")
    parts = [Markup("<dt>{}</dt><dd>{}</dd>").format(name.replace("_", " "), _said(value)) for name, value in settings.items()]
    return Markup('<details class="settings"><summary>Settings</summary><dl>{}</dl></details>').format(join(parts))


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_said(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_said(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _summary(results: Mapping[str, Any]) -> Markup:
    """A table for each group of columns: mean, interval, count; a click on a figure leads to its worst clips."""
    rows, reasons, parts = results["rows"], list[str](), [Markup('<p class="note">{}</p>').format(_about(results["rows"]))]
    for group, of_group in itertools.groupby(results["columns"], key=lambda column: column.get("group") or ""):
        columns = list(of_group)
        best = {column["key"]: _best(rows, column) for column in columns}
        lines = []
        for row in (row for row in rows if best.keys() & row["figures"].keys()):
            name = Markup('<a href="{}">{}</a>').format("#" + urlencode({"row": row["name"]}), row["name"])
            lines.append([name, *(_cell(row, column, best[column["key"]], reasons) for column in columns)])
        headings = ["", *(column["title"] + ARROWS[column.get("higher_is_better")] for column in columns)]
        parts += [Markup("<h2>{}</h2>").format(group)] if group else []
        parts.append(table(headings, lines))
    if reasons:
        notes = (Markup('<li id="reason-{}">{}</li>').format(number, reason) for number, reason in enumerate(reasons, 1))
        parts.append(Markup('<ol class="note">{}</ol>').format(join(notes)))
    return Markup('<section class="summary">{}</section>').format(join(parts))


def _about(rows: Sequence[Mapping[str, Any]]) -> str:
    """How to read the figures."""
    interval = any(figure.get("low") is not None for row in rows for figure in row["figures"].values())
    return (
        f"Mean over clips; under it {'the 95 % bootstrap interval and ' * interval}the number of clips. Shaded: the best of a column"
        f"{', the ceiling left out' * any(row.get('ceiling') for row in rows)}."
    )


def _best(rows: Sequence[Mapping[str, Any]], column: Mapping[str, Any]) -> float | None:
    """The best mean of a column; None where there is nothing to choose from, or neither direction is better."""
    means = [row["figures"].get(column["key"], {}).get("mean") for row in rows if not row.get("ceiling")]
    known = [mean for mean in means if mean is not None and math.isfinite(mean)]
    if column.get("higher_is_better") is None or len(known) < 2:
        return None
    return max(known) if column["higher_is_better"] else min(known)


def _cell(row: Mapping[str, Any], column: Mapping[str, Any], best: float | None, reasons: list[str]) -> Markup:
    figure = row["figures"].get(column["key"]) or {}
    if figure.get("mean") is None:
        why = figure.get("missing")
        if not why:
            return Markup('<span class="soft">–</span>')
        if why not in reasons:
            reasons.append(why)
        number = reasons.index(why) + 1
        return Markup('<span class="soft" title="{why}">– <a href="#reason-{number}">[{number}]</a></span>').format(why=why, number=number)
    digits = column.get("digits", 3)
    mean = escape(f"{figure['mean']:.{digits}f}")
    if column.get("per", "clip") == "clip":
        mean = Markup('<a href="{}">{}</a>').format("#" + urlencode({"row": row["name"], "sort": column["key"]}), mean)
    if figure["mean"] == best and not row.get("ceiling"):
        mean = Markup('<b class="mark">{}</b>').format(mean)
    low, high, count = (figure.get(key) for key in ("low", "high", "count"))
    said = [f"{low:.{digits}f}–{high:.{digits}f}"] if low is not None and high is not None else []
    said += [f"{count}"] if count is not None else []
    return Markup("{}<br><small>{}</small>").format(mean, " · ".join(said))


def _notes(notes: Sequence[str]) -> Markup:
    return Markup('<ul class="note">{}</ul>').format(join(Markup("<li>{}</li>").format(note) for note in notes)) if notes else Markup("")


def _data(results: Mapping[str, Any]) -> dict[str, Any]:
    """What the script needs: clips with their lanes, figures in the order of the columns."""
    columns = [column for column in results["columns"] if column.get("per", "clip") == "clip"]
    references = results.get("references") or {}
    wanted: dict[str, dict[str, Any]] = {}  # of each piece: what any row asks for, else what is heard in it
    captions, seconds = dict[str, str](), dict[str, float]()
    for row in results["rows"]:
        for clip in row["clips"]:
            own = wanted.setdefault(clip["id"], {})
            if not row.get("crossed"):
                own |= {name: clip["asked"][name] for name in _NAMES if clip["asked"].get(name) and name not in own}
            captions.setdefault(clip["id"], clip["caption"])
            seconds.setdefault(clip["id"], clip["seconds"])
    for name, own in wanted.items():
        heard = (references.get(name) or {}).get("heard") or {}
        own |= {name: heard[name] for name in _NAMES if heard.get(name) and name not in own}
    pieces = {}
    for name, own in wanted.items():
        reference = references.get(name) or {}
        pieces[name] = {
            "caption": captions[name],
            "seconds": seconds[name],
            "audio": source(reference["audio"]) if reference.get("audio") else None,
            "lanes": _lanes(own, reference.get("heard") or {}, seconds[name]),
        }
    rows = []
    for row in results["rows"]:
        keys = [column["key"] for column in columns]
        clips = [_clip(clip, {} if row.get("crossed") else wanted[clip["id"]], keys) for clip in row["clips"]]
        rows.append({"name": row["name"], "given": list(row.get("given") or []), "clips": clips})
    kept = ("key", "title", "digits", "higher_is_better")
    return {"columns": [{key: column.get(key) for key in kept} for column in columns], "rows": rows, "pieces": pieces}


def _clip(clip: Mapping[str, Any], wanted: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """A clip against what its row gave; where that is nothing, against what the piece has, since that is what it is measured by."""
    given = [name for name in _NAMES if clip["asked"].get(name)]
    return {
        "id": clip["id"],
        "audio": source(clip["audio"]) if clip.get("audio") else None,
        "seconds": clip["seconds"],
        "from": clip.get("from"),
        "figures": [clip["figures"].get(key) for key in keys],
        "given": given,
        "lanes": _lanes({**wanted, **{name: clip["asked"][name] for name in given}}, clip["heard"], clip["seconds"]),
    }


def _lanes(asked: Mapping[str, Any], heard: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """By name, those for which there is something to compare with."""
    return {
        adherence.name: adherence.judged(asked[adherence.name], heard, seconds) for adherence in ADHERENCES if asked.get(adherence.name)
    }


_NAMES = [adherence.name for adherence in ADHERENCES]
_COMPARED = (
    "The lanes set what is heard over what was asked for; chord and onset figures set it against what is heard in the same stretch of the "
    "reference, so that what the extractor misses in both costs nothing."
)
_CLIPS = """<section id="clips" hidden>
<h2>Clips</h2>
<div class="tools">
<label>Row <select id="row"></select></label>
<label>Find <input id="find" type="search" placeholder="word of the caption, or id"></label>
<span id="count" class="note" role="status"></span>
</div>
<div class="tools" id="sorts" role="group" aria-label="Sort, worst first"></div>
<p class="legend note">Above what was asked for, below what is heard:
<span class="key right"></span>right <span class="key near"></span>same triad <span class="key wrong"></span>wrong
<span class="key free"></span>not asked for.
A click into a lane plays from there.
<span class="keys"><kbd>↑</kbd> <kbd>↓</kbd> other clip, <kbd>space</kbd> play, <kbd>R</kbd> clip or reference.</span></p>
<svg class="defs" width="0" height="0" aria-hidden="true"><defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse"
patternTransform="rotate(45)"><rect width="6" height="6" class="under"></rect><rect width="2" height="6" class="stripe"></rect></pattern>
</defs></svg>
<div id="list"></div>
</section>
<noscript><p class="note">The clips are drawn by a script in this page, which is switched off.</p></noscript>
<div id="player" hidden><span id="playing"></span><audio id="audio" controls preload="none"></audio>
<button id="side" title="The same moment of the other (R)"></button></div>"""
