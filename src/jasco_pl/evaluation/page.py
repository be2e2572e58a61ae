"""The page of an evaluation: the table, and every clip with players and with what was asked for over what was heard.

The table stands in the file as HTML (`page.html`); the clips are one block of data that `evaluation.js` makes cards of.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jasco_pl.controls import ADHERENCES
from jasco_pl.pages.base import packaged, render, source
from jasco_pl.pages.texts import told
from jasco_pl.system.files import write_text

ARROWS = {True: "\N{NO-BREAK SPACE}↑", False: "\N{NO-BREAK SPACE}↓", None: ""}


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
    reasons: list[str] = []
    rows = results["rows"]
    text = render(
        "evaluation/page.html",
        packaged("lanes.js") + packaged("evaluation.js", __package__),
        packaged("lanes.css") + packaged("evaluation.css", __package__),
        title=results["title"],
        settings={name: _said(value) for name, value in (results.get("settings") or {}).items()},
        intervals=any(figure.get("low") is not None for row in rows for figure in row["figures"].values()),
        ceiling=any(row.get("ceiling") for row in rows),
        groups=_groups(results, reasons),
        reasons=reasons,
        notes=[*(results.get("notes") or []), *([_COMPARED] if results.get("references") else [])],
        data=_data(results),
    )
    path = Path(folder) / "index.html"
    write_text(path, text)
    return path


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_said(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_said(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _groups(results: Mapping[str, Any], reasons: list[str]) -> list[dict[str, Any]]:
    """A table for each group of columns; a click on a figure leads to its worst clips. Fills `reasons` with why figures are missing."""
    rows, groups = results["rows"], []
    for group, of_group in itertools.groupby(results["columns"], key=lambda column: column.get("group") or ""):
        columns = list(of_group)
        best = {column["key"]: _best(rows, column) for column in columns}
        lines = [
            [{"row": row["name"]}, *(_cell(row, column, best[column["key"]], reasons) for column in columns)]
            for row in rows
            if best.keys() & row["figures"].keys()
        ]
        headings = ["", *(column["title"] + ARROWS[column.get("higher_is_better")] for column in columns)]
        groups.append({"title": group, "headings": headings, "rows": lines})
    return groups


def _best(rows: Sequence[Mapping[str, Any]], column: Mapping[str, Any]) -> float | None:
    """The best mean of a column; None where there is nothing to choose from, or neither direction is better."""
    means = [row["figures"].get(column["key"], {}).get("mean") for row in rows if not row.get("ceiling")]
    known = [mean for mean in means if mean is not None and math.isfinite(mean)]
    if column.get("higher_is_better") is None or len(known) < 2:
        return None
    return max(known) if column["higher_is_better"] else min(known)


def _cell(row: Mapping[str, Any], column: Mapping[str, Any], best: float | None, reasons: list[str]) -> dict[str, Any]:
    """What `page.html` shows of a figure: mean, interval, count; or why it is missing."""
    figure = row["figures"].get(column["key"]) or {}
    if figure.get("mean") is None:
        why = figure.get("missing")
        if why and why not in reasons:
            reasons.append(why)
        return {"missing": why, "reason": reasons.index(why) + 1 if why else None}
    digits = column.get("digits", 3)
    low, high, count = (figure.get(key) for key in ("low", "high", "count"))
    said = [f"{low:.{digits}f}–{high:.{digits}f}"] if low is not None and high is not None else []
    said += [f"{count}"] if count is not None else []
    return {
        "mean": f"{figure['mean']:.{digits}f}",
        "link": {"row": row["name"], "sort": column["key"]} if column.get("per", "clip") == "clip" else None,
        "best": figure["mean"] == best and not row.get("ceiling"),
        "said": " · ".join(said),
    }


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
    given, texts = [name for name in _NAMES if clip["asked"].get(name)], told(clip.get("told") or ())
    return {
        "id": clip["id"],
        "audio": source(clip["audio"]) if clip.get("audio") else None,
        "seconds": clip["seconds"],
        "from": clip.get("from"),
        "figures": [clip["figures"].get(key) for key in keys],
        "given": [*texts, *given],
        "lanes": texts | _lanes({**wanted, **{name: clip["asked"][name] for name in given}}, clip["heard"], clip["seconds"]),
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
