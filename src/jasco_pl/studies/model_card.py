"""The parts of a model card that are figures: written by command from what `jasco evaluate` and a training left behind, never by hand.

A part lies between two comments, `<!-- figures: ... -->` or `<!-- training: ... -->` and `<!-- end -->`; all else in the file is prose and
stays.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from jasco_pl.evaluation.codec_report import markdown
from jasco_pl.evaluation.settings import ALL, CEILING, NO_CONTROL
from jasco_pl.generation.jasco import DEFAULT_CHECKPOINT
from jasco_pl.metrics.report import Column, Figure, Row, aligned_table, markdown_table
from jasco_pl.network.flow.config import PER_STEP, SolverConfig, usual_steps
from jasco_pl.network.model import JascoModel, ModelConfig, read_config
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import loads, write_text
from jasco_pl.system.resources import locate
from jasco_pl.training.history import History, Session

SHOWN = (
    "chord_iou",
    "chord_iou_triads",
    "onset_f1",
    "melody_accuracy",
    "melody_similarity",
    "chroma_similarity",
    "beat_f1",
    "dynamics_correlation",
    "frechet_musicnn",
)
"""The columns of an evaluation that a card has room for."""
OBEYED = {
    "chord_iou": "chords",
    "chord_iou_triads": "chords",
    "onset_f1": "drums",
    "melody_accuracy": "melody",
    "melody_similarity": "melody",
    "chroma_similarity": "melody",
    "beat_f1": "beat",
    "dynamics_correlation": "dynamics",
}
"""Which control a figure asks after, where it is given alone."""
END = "<!-- end -->"
UNKNOWN = "not recorded"


def read_results(folder: str | Path) -> dict[str, Any]:
    """The results.json of an evaluation of one checkpoint under one guidance and solver.

    Raises:
        UserError: it cannot be read, is something else, or holds several settings.
    """
    data = read_any_results(folder)
    if len(matrix := data["settings"]["matrix"]) != 1:
        raise UserError(f"{str(folder)!r} holds {len(matrix)} settings; a card describes one checkpoint under one guidance and solver.")
    return data


def read_any_results(folder: str | Path) -> dict[str, Any]:
    """The same of an evaluation of any number of settings.

    Raises:
        UserError: it cannot be read or is something else.
    """
    path = Path(folder)
    path = path / "results.json" if path.is_dir() else path
    try:
        data = loads(path.read_bytes())
        settings = data["settings"]
        known = {key: settings[key] for key in ("source", "about", "clips")}
        matrix = [{key: entry[key] for key in ("guidance", "solver", "seconds", "seed")} for entry in settings["matrix"]]
        rows = [(row["name"], row["checkpoint"], row["figures"]["chord_iou"]["count"]) for row in data["rows"]]
        columns = [(column["key"], column["title"], column["digits"]) for column in data["columns"]]
    except OSError as error:
        raise UserError(f"cannot read {str(path)!r} ({error.strerror}); `jasco evaluate -o {folder}` writes it.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{str(path)!r} is not what `jasco evaluate` writes: {reason}.") from error
    if not (matrix and rows and columns and known):
        raise UserError(f"{str(path)!r} is not what `jasco evaluate` writes: nothing was measured in it.")
    return data  # type: ignore[no-any-return]


def figures_block(results: Mapping[str, Any], font: Mapping[str, Any] | None = None) -> str:
    """Command, machine, table, and how near the ceiling every control comes; then the same of `font`, an evaluation in other sounds."""
    parts = _evaluation(results)
    if font is not None:
        parts += ["Music in the sounds of another SoundFont, which no training data was rendered with:", *_evaluation(font)]
    return "\n\n".join(parts)


def _evaluation(results: Mapping[str, Any]) -> list[str]:
    settings = results["settings"]
    (setting,) = settings["matrix"]
    solver, precision = _solver(setting), setting.get("precision", "fp32")
    times = " on fitted times" if solver.times == "fitted" else ""
    about = (
        f"`{evaluate_command(results)}`: {settings['clips']} clips of {setting['seconds']:g} s; {settings['about']}. "
        f"Guidance {setting['guidance']}, {solver.method}"
        f"{f' to {solver.tolerance:g}' if solver.method == 'dopri5' else f' with {solver.steps} steps{times}'}, seed {setting['seed']}"
        f"{'' if precision == 'fp32' else f', network in {precision}'}; "
        f"{settings.get('machine', f'machine {UNKNOWN}')}. Means over clips with 95 % bootstrap intervals; "
        "behind a distance between sets, the number of embeddings."
    )
    figures = {row["name"]: {key: _figure(figure) for key, figure in row["figures"].items()} for row in results["rows"]}
    present = {key for row in figures.values() for key, figure in row.items() if figure.missing is None}
    columns = [
        Column(column["key"], column["title"], column["digits"], column.get("higher_is_better"))
        for column in sorted(
            (column for column in results["columns"] if column["key"] in SHOWN), key=lambda column: SHOWN.index(column["key"])
        )
        if column["key"] in present
    ]
    table = markdown_table([Row(name, row) for name, row in figures.items()], columns, first="conditions")
    finished = [row["name"] for row in results["rows"] if row.get("finished")]
    return [textwrap.fill(about, 150, break_long_words=False, break_on_hyphens=False), table.rstrip(), *_shares(figures, columns, finished)]


def _solver(setting: Mapping[str, Any]) -> SolverConfig:
    """Of a setting, from when times were not yet written down, too."""
    return SolverConfig(**{"times": "uniform", **setting["solver"]})


def _figure(found: Mapping[str, Any]) -> Figure:
    mean, low, high = (math.nan if found.get(key) is None else float(found[key]) for key in ("mean", "low", "high"))
    return Figure(mean, low, high, int(found.get("count") or 0), found.get("missing"))


def evaluate_command(results: Mapping[str, Any]) -> str:
    """What makes the same figures again; options at their defaults are left out, so is the guidance that is the checkpoint's own."""
    settings = results["settings"]
    (setting,) = settings["matrix"]
    checkpoint = next((row["checkpoint"] for row in results["rows"] if not row.get("finished")), DEFAULT_CHECKPOINT)
    config = _config_of(checkpoint)
    words = ["jasco evaluate", f"--{'shards' if settings['about'].startswith('a prepared set') else 'pieces'} {settings['source']}"]
    words += [f"--limit {settings['clips']}"]
    words += [f"--rows {' '.join(settings['rows'])}"] if settings.get("rows") else []
    words += [f"--checkpoint {checkpoint}"] if checkpoint != DEFAULT_CHECKPOINT else []
    words += [f"--guidance {setting['guidance']}"] if config is None or setting["guidance"] != config.guidance else []
    solver, default = _solver(setting), SolverConfig()
    words += [f"--solver {solver.method}"] if solver.method != "midpoint" else []
    words += [f"--steps {solver.steps}"] if solver.method != "dopri5" and solver.steps != usual_steps(solver.method, solver.times) else []
    chosen = config is not None and config.times is not None and solver.method in PER_STEP
    words += [f"--times {solver.times}"] if chosen and solver.times != default.times else []
    words += [f"--tolerance {solver.tolerance:g}"] if solver.tolerance != default.tolerance else []
    words += [f"--seconds {setting['seconds']:g}"] if setting["seconds"] != 10 else []
    words += [f"--seed {setting['seed']}"] if setting["seed"] else []
    words += [f"--precision {setting['precision']}"] if setting.get("precision", "fp32") != "fp32" else []
    words += [f"--audio {row['name']}={row['checkpoint']}" for row in results["rows"] if row.get("finished")]
    return " ".join(words)


def _config_of(checkpoint: str) -> ModelConfig | None:
    try:
        return read_config(Path(locate(checkpoint)))
    except UserError:  # it was moved since
        return None


def _shares(figures: Mapping[str, Mapping[str, Figure]], columns: Sequence[Column], finished: Sequence[str]) -> list[str]:
    """How far every control goes from no control to the codec's ceiling, as a table under a sentence; nothing without those two rows.

    Rows of finished audio that all controls are compared with besides are `finished`.
    """
    if CEILING not in figures or NO_CONTROL not in figures:
        return []
    others = [f"with all, of {name}" for name in finished]
    table = [["figure", "control", "clips", "alone", "with all controls", "alone, of the ceiling", *others]]
    for column in columns:
        alone = figures.get(OBEYED.get(column.key, ""), {}).get(column.key)
        ends = [figures[name].get(column.key) for name in (NO_CONTROL, CEILING)]
        if alone is None or alone.missing or any(end is None or end.missing for end in ends):
            continue
        none, ceiling = (end.mean for end in ends if end is not None)
        together = figures.get(ALL, {}).get(column.key)
        way = [_percent(found.mean - none, ceiling - none) if found and not found.missing else "–" for found in (alone, together)]
        theirs = [figures[name].get(column.key) for name in finished]
        of = [_percent(together.mean, found.mean) if together and found and not found.missing else "–" for found in theirs]
        table.append([column.title, OBEYED[column.key], str(alone.clips), *way, _percent(alone.mean, ceiling), *of])
    if len(table) == 1:
        return []
    return [
        f'Of the way from "{NO_CONTROL}" to the codec\'s ceiling (the columns behind: of the figure itself):',
        aligned_table(table).rstrip(),
    ]


def _percent(part: float, whole: float) -> str:
    return f"{part / whole:.0%}".replace("%", " %") if whole > 0 else "–"


def codec_block(report: str | Path) -> str:
    """The table of a codec, from what `jasco codec report --json` wrote.

    Raises:
        UserError: the file cannot be read, or is something else.
    """
    try:
        reports = {Path(data["codec"]).name: data for data in loads(Path(report).read_bytes())}
        table, data = markdown(reports), next(iter(reports.values()))
        about = f"{data['clips']} clips of {data['seconds']:g} s, {data['threads']} threads"
    except OSError as error:
        raise UserError(f"cannot read {str(report)!r} ({error.strerror}); `jasco codec report --json {report}` writes it.") from error
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise UserError(f"{str(report)!r} is not what `jasco codec report --json` writes: {error}.") from error
    return f"Reconstruction against original: {about}; means with 95 % bootstrap intervals.\n\n{table.rstrip()}"


def training_block(history: History) -> str:
    """What a training was, as a table; facts that its folder does not tell are said to be absent."""
    sessions = history.sessions
    samples, hours = history.samples(), history.audio_hours()
    crops = _each(sessions, lambda session: session.facts.get("seconds"))
    batches = _each(sessions, history.batch_of)
    wall = sum(session.hours for session in sessions)
    table = [
        ["training", ""],
        ["optimiser steps", f"{history.steps:,}" + (f" in {len(sessions)} session{'s' * (len(sessions) > 1)}" if sessions else "")],
        ["samples", UNKNOWN if samples is None else f"{samples:,}, batch {batches}"],
        ["audio heard", UNKNOWN if hours is None else f"{hours:.1f} hours with repetition, in crops of {crops} seconds"],
        ["wall time", f"{wall:.2f} hours, validations included" if sessions else UNKNOWN],
        ["hardware", _each(sessions, lambda session: session.facts.get("machine"))],
        ["processes", _each(sessions, lambda session: session.facts.get("processes"))],
        ["precision", _each(sessions, lambda session: session.facts.get("precision", history.config.get("trainer", {}).get("precision")))],
        ["seed of the data", _each(sessions, lambda session: session.facts.get("seed", history.config.get("data", {}).get("seed")))],
        ["parameters", UNKNOWN if history.model is None else f"{parameters(ModelConfig.from_dict(history.model)):,}"],
    ]
    return aligned_table(table).rstrip()


def _each(sessions: Sequence[Session], of: Any) -> str:
    """A fact of all sessions: its different values in order, or that it is not known of some."""
    values = list(dict.fromkeys(of(session) for session in sessions))
    return (
        ", then ".join(UNKNOWN if value is None else f"{value:g}" if isinstance(value, float) else str(value) for value in values)
        or UNKNOWN
    )


def parameters(config: ModelConfig) -> int:
    """Learned numbers of a model of that configuration, counted without making them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in JascoModel(config).parameters())


def replaced(text: str, name: str, command: str, body: str, where: str | Path) -> str:
    """`text` with the part `name` made anew.

    Raises:
        UserError: the part's comments are not there, or are there twice.
    """
    pattern = re.compile(rf"<!-- {name}:.*?-->.*?{re.escape(END)}", re.DOTALL)
    found = pattern.findall(text)
    if len(found) != 1 or found[0].count("<!--") != 2:
        raise UserError(
            f"{str(where)!r} must have one place for its {name}, between a line `<!-- {name}: -->` and a line `{END}`; "
            f"it has {'none' if not found else 'several, or one that does not end'}."
        )
    return pattern.sub(lambda _: f"<!-- {name}: {command} -->\n{body}\n\n{END}", text)


def refresh(card: str | Path, parts: Mapping[str, str], command: str) -> None:
    """Write the named parts of a card anew, whole or not at all; the front matter and all prose stay as they are.

    Raises:
        UserError: the card cannot be read or written, or lacks a part's comments.
    """
    path = Path(card)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the card {str(path)!r}: {getattr(error, 'strerror', None) or 'it is no text'}.") from error
    for name, body in parts.items():
        text = replaced(text, name, command, body, path)
    write_text(path, text)
