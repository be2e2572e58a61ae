"""An evaluation on paper: Markdown, CSV, JSON and a page to listen to it."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jasco_pl.evaluation.engine import ResultRow, Results, best_of, rule_of
from jasco_pl.evaluation.page import write_page
from jasco_pl.evaluation.seams import DRIFT
from jasco_pl.evaluation.settings import CEILING, CROSSED, FORM, MIDDLE, REDONE, remade, takes_audio
from jasco_pl.evaluation.table import Group, groups, of_set
from jasco_pl.metrics.report import Figure, Row, markdown_table
from jasco_pl.system.environment import machine
from jasco_pl.system.files import atomic_path, write_json
from jasco_pl.system.typed import read_typed


def write_results(results: Results, folder: str | Path, *, title: str, grid: bool = False) -> str:
    """Write report.md, report.csv (a line a row), clips.csv (a line a clip), results.json and a page; return the Markdown.

    Args:
        results: of `evaluate`.
        folder: where to.
        title: the heading.
        grid: name the best row, and by what rule.
    """
    folder = Path(folder)
    text = markdown(results, title, grid)
    with atomic_path(folder / "report.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    rows = [_line(name, row) for name, row in zip(row_names(results.rows), results.rows, strict=True)]
    _write_csv(folder / "report.csv", rows)
    _write_csv(folder / "clips.csv", _clip_lines(results))
    data = as_json(results, folder, title, grid)
    write_json(folder / "results.json", data)
    write_page(folder, data)
    return text


def row_names(rows: Sequence[ResultRow]) -> list[str]:
    """The condition sets, and after them what else differs between the rows."""
    parts = [list(_made_by(row).values()) for row in rows]
    ours = [part for part, row in zip(parts, rows, strict=True) if not row.task.finished]
    varies = [len({part[index] for part in ours}) > 1 for index in range(3)]
    sets = [row.name for row in rows] if len({row.name for row in rows}) > 1 or not any(varies) else ["" for _ in rows]
    names = []
    for row, name, part in zip(rows, sets, parts, strict=True):
        if row.task.finished:
            names.append(row.name)
            continue
        seen = [part[0]] * varies[0] if row.name == CEILING else [value for value, differs in zip(part, varies, strict=True) if differs]
        names.append(" · ".join([*([name] if name else []), *seen]))
    return names


def _made_by(row: ResultRow) -> dict[str, str]:
    """Checkpoint, guidance and solver; of finished audio its folder."""
    if row.task.finished:
        return {"checkpoint": row.task.finished.folder, "guidance": "", "solver": ""}
    checkpoint = os.path.relpath(row.settings.checkpoint)
    return {"checkpoint": checkpoint, "guidance": row.settings.guidance, "solver": row.settings.solver_name}


def markdown(results: Results, title: str, grid: bool) -> str:
    """Heading, what was measured on what, a table for every group of columns, notes."""
    names = row_names(results.rows)
    first = results.rows[0].settings
    numbers = "" if first.precision == "fp32" else f"The network computed in {first.precision}. "
    lines = [
        f"# {title}",
        f"{len(results.names)} clips of {first.seconds:g} s; {results.source.about} ({results.source.location}). Seed {first.seed}. "
        f"{numbers}"
        "Means over clips with 95 % bootstrap intervals; distances between sets with the number of generated embeddings in brackets.",
    ]
    if grid:
        best = names[results.rows.index(best_of(results.rows))]
        lines.append(f"Best: `{best}`, by the highest mean of {', '.join(rule_of(results.rows[0]))}.")
    for group in _groups(results):
        keys = {column.key for column in group.columns}
        table = [Row(name, row.figures) for name, row in zip(names, results.rows, strict=True) if keys & set(row.figures)]
        lines += [f"## {group.title}", markdown_table(table, group.columns, first="conditions").rstrip()]
        counted = {
            column.title: _range([row.figures[column.key] for row in results.rows if column.key in row.figures]) for column in group.columns
        }
        lines.append("Clips counted: " + "; ".join(f"{name} {count}" for name, count in counted.items() if count) + ".")
    return "\n\n".join([*lines, *notes(results)]) + "\n"


def _groups(results: Results) -> list[Group]:
    windows = any(DRIFT.key in row.figures for row in results.rows)
    return groups(results.listeners, any(row.name == CROSSED for row in results.rows), windows)


def _range(figures: Sequence[Figure]) -> str:
    by_clip = (figure for figure in figures if figure.missing is None and (figure.clips == 1 or not math.isnan(figure.low)))
    counts = sorted({figure.clips for figure in by_clip})
    return "" if not counts else str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def notes(results: Results) -> list[str]:
    """What a reader has to know, a sentence or two each."""
    found = list(dict.fromkeys(results.notes))
    if any(takes_audio(row.given) and row.name != CROSSED and not remade(row.name, row.given) for row in results.rows):
        found.append(
            "Rows that give audio (drums, mix ...): adherence is measured with the reference's own audio; FD, FAD, KAD, KL and CLAP with "
            "the audio of another piece, chosen by hash, as in the paper's section 5. Those clips are not among the players."
        )
    if any(row.name == CROSSED for row in results.rows):
        found.append(
            "The row crossed takes chords and caption from the piece, drums from a second and the melody from a third, transposed by -5 to "
            "6 semitones, all by hash; each figure is against the piece that the control came from, with the melody as it was transposed. "
            "What was not asked for: the chords to which the melody was written (transposed with it), the drums of the piece that the "
            "chords are of, and the melody as it was before; drums that have nothing in common have about the onset F1 of no control."
        )
    if (form := next((row for row in results.rows if row.name == FORM), None)) is not None:
        found.append(
            f"The row {FORM} has no control: each section that a stretch touches is asked for by a text of its own, at its time. It holds "
            f"the {len(form.task.names)} of {len(results.names)} pieces whose stretch has more than one, so that its distances compare "
            "with those of other rows of the same pieces alone."
        )
    if any(remade(row.name, row.given) for row in results.rows):
        first, last = (f"{share:.0%}" for share in REDONE)
        found.append(
            f"Rows of painting keep the reference up to {first} and from {last} of its length; only what lies between is measured, as "
            f"it is in the row {MIDDLE}, whose clips are made whole. Audio is the reference's own in these rows, for every figure."
        )
    if any(row.name == CEILING for row in results.rows):
        found.append(f"The row of the codec's ceiling is {results.source.ceiling}.")
    found.append(
        "Real-time factor: seconds of computing for a second of audio in one of the processes, generation and decoding. Evaluations: "
        "passes of a clip through the network, every branch of guidance counted."
    )
    return found


def as_json(results: Results, folder: Path, title: str, grid: bool) -> dict[str, Any]:
    """Everything, with paths of audio relative to `folder`; what `pages.evaluation.write_page` draws."""
    settings = [dict(values) for values in {json.dumps(asdict(row.settings)): asdict(row.settings) for row in results.rows}.values()]
    described = {"source": results.source.location, "about": results.source.about, "clips": len(results.names), "matrix": settings}
    described["machine"] = machine(results.listeners.device)
    if results.asked is not None:
        described["rows"] = results.asked
    columns = [(group.title, column) for group in _groups(results) for column in group.columns]
    rows, names = [], row_names(results.rows)
    for name, row in zip(names, results.rows, strict=True):
        clips = [
            {
                **{key: clip[key] for key in ("id", "caption", "figures", "asked", "heard", "seconds")},
                "from": _origins(clip["crossed"]) if row.name == CROSSED else None,
                **({"told": clip["told"]} if row.name == FORM else {}),
                "audio": os.path.relpath(row.task.path(clip["id"]).with_suffix(".flac"), folder),
            }
            for clip in row.measured.clips
        ]
        rows.append(
            {
                "name": name,
                "conditions": row.name,
                "ceiling": row.name == CEILING,
                "crossed": row.name == CROSSED,
                "finished": bool(row.task.finished),
                **_made_by(row),
                "given": list(row.given),
                "remade": remade(row.name, row.given),
                "figures": {key: figure_as_json(figure) for key, figure in row.figures.items()},
                "clips": clips,
            }
        )
    task = results.rows[0].task
    references = {
        name: {
            "audio": os.path.relpath(task.reference_path(name).with_suffix(".flac"), folder),
            "heard": read_typed(task.reference_path(name).with_suffix(".json"), dict[str, Any]),
        }
        for name in results.names
    }
    return {
        "title": title,
        "settings": {
            **described,
            **({"best": names[results.rows.index(best_of(results.rows))], "rule": rule_of(results.rows[0])} if grid else {}),
        },
        "columns": [
            {
                "key": column.key,
                "title": column.title,
                "group": group,
                "digits": column.decimals,
                "higher_is_better": column.higher_is_better,
                "per": "set" if of_set(column.key) else "clip",
            }
            for group, column in columns
        ],
        "rows": rows,
        "references": references,
        "notes": notes(results),
    }


def _origins(cross: Mapping[str, Any]) -> str:
    """Where what is not the piece's own comes from, in words."""
    return f"drums of {cross['drums']}, melody of {cross['melody']} {cross['semitones']:+d} semitones"


def figure_as_json(figure: Figure) -> dict[str, Any]:
    """Mean, interval and count, null where there is none, or why the figure is missing."""
    mean, low, high = (None if math.isnan(value) else value for value in (figure.mean, figure.low, figure.high))
    return {"mean": mean, "low": low, "high": high, "count": figure.clips, "missing": figure.missing}


def _line(name: str, row: ResultRow) -> dict[str, Any]:
    line: dict[str, Any] = {
        "row": name,
        "conditions": row.name,
        **_made_by(row),
    }
    for key, figure in row.figures.items():
        found = figure_as_json(figure)
        line |= {key: found["mean"], f"{key}_low": found["low"], f"{key}_high": found["high"], f"{key}_count": found["count"]}
    return line


def _clip_lines(results: Results) -> list[dict[str, Any]]:
    pairs = zip(row_names(results.rows), results.rows, strict=True)
    return [
        {"row": name, "id": clip["id"], "caption": clip["caption"], **clip["figures"]} for name, row in pairs for clip in row.measured.clips
    ]


def _write_csv(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for line in lines for key in line)))
        writer.writeheader()
        writer.writerows(lines)
