"""The matrix of an evaluation: every checkpoint under every guidance and solver, in every row; made by several processes, and resumable."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from jasco_pl.controls import CONTROLS
from jasco_pl.evaluation.clips import WORKER, Task, hear_references, make_clips
from jasco_pl.evaluation.measure import FOLLOWED, cross_of
from jasco_pl.evaluation.pretrained import Listeners
from jasco_pl.evaluation.references import Source
from jasco_pl.evaluation.settings import (
    ALL,
    CEILING,
    CROSSED,
    FORM,
    Finished,
    Settings,
    chosen_rows,
    guidance_grid,
    remade,
    rows_of,
    takes_audio,
)
from jasco_pl.evaluation.table import Measured, read_row
from jasco_pl.metrics.report import Figure
from jasco_pl.network.model import read_config
from jasco_pl.system.errors import UserError
from jasco_pl.system.processes import pool


@dataclass
class ResultRow:
    """A row: a condition set under one checkpoint, guidance and solver."""

    name: str
    settings: Settings
    given: tuple[str, ...]
    task: Task
    measured: Measured

    @property
    def figures(self) -> dict[str, Figure]:
        """By column key."""
        return self.measured.figures


@dataclass
class Results:
    """All rows, what was heard with, and what a reader has to know."""

    rows: list[ResultRow]
    listeners: Listeners
    source: Source
    names: list[str]
    notes: list[str] = field(default_factory=list)
    asked: list[str] | None = None
    """Rows that were asked for; None is all there are."""


def evaluate(
    source: Source,
    matrix: Sequence[Settings],
    out: str | Path,
    *,
    rows: Sequence[str] | None = None,
    finished: Sequence[Finished] = (),
    limit: int = 64,
    workers: int = 1,
    batch: int = 4,
    listeners: Listeners | None = None,
    allow_few: bool = False,
) -> Results:
    """Make and measure what is missing, then read all figures.

    Args:
        source: the music whose conditions are given, and which clips are compared with.
        matrix: checkpoint, guidance, solver, seed; of one length.
        out: folder for a folder of clips a setting, and one of what is heard in the references; a second run with the same settings
            computes only what the first did not.
        rows: names as for `chosen_rows`; None is all of `rows_of`.
        finished: rows of audio that is there already, below the others.
        limit: number of pieces, the first by id.
        workers: processes of one thread each; with one, all threads of the machine.
        batch: clips that are generated together; their number does not change them.
        listeners: the networks to hear with; None are none.
        allow_few: Frechet distances even from fewer embeddings than they have dimensions, mostly bias.

    Raises:
        UserError: there is no piece of that length, no row that one of the checkpoints has, no finished audio of one of the pieces, or two
            rows of it have one name.
    """
    listeners = listeners or Listeners()
    notes: list[str] = []
    usable = [name for name in source.ids if source.long_enough(name, matrix[0].seconds)]
    if not usable:
        raise UserError(f"{source.location!r} holds nothing that lasts {matrix[0].seconds:g} seconds.")
    if len(usable) < len(source.ids):
        notes.append(f"{len(source.ids) - len(usable)} of {len(source.ids)} are shorter than {matrix[0].seconds:g} s and were left out.")
    names = tuple(usable[:limit])
    if len({row.name for row in finished}) < len(finished):
        raise UserError("two rows of finished audio have the same name: their clips would lie in one folder.")
    for row in finished:
        row.check(names)
        notes.append(f"The row {row.name} is audio that was finished before, {row.folder}; no model made it here.")
    plan = list(_plan(source, matrix, Path(out), rows, names, listeners, notes))
    if finished:
        base = _base(source, matrix[0], Path(out), names, listeners)
        plan += [(replace(base, row=row.name, finished=row), None) for row in finished]
    if not plan:
        raise UserError(f"no row is left: {'; '.join(notes) or 'no checkpoint has the controls that --rows names'}.")
    parts = [part for own, other in plan for part in (own, other) if part is not None]
    together = [replace(part, names=part.names[start : start + batch]) for part in parts for start in range(0, len(part.names), batch)]
    todos = [sum(task.state(name) != "done" for name in task.names) for task in together]
    tasks = [task for task, todo in zip(together, todos, strict=True) if todo]
    total, todo = sum(len(part.names) for part in parts), sum(todos)
    needed = {task.reference_path(name): replace(task, names=(name,)) for task in tasks for name in task.names}
    with _pool(workers) as run:
        with tqdm(total=len(needed), desc="references", unit="piece", disable=not needed) as bar:
            for done in run(hear_references, needed.values()):
                bar.update(done)
        with tqdm(total=total, initial=total - todo, desc="evaluate", unit="clip") as bar:
            for done in run(make_clips, tasks):
                bar.update(done)
    made = [ResultRow(own.row, own.settings, own.given, own, read_row(own, other, allow_few)) for own, other in plan]
    return Results(made, listeners, source, list(names), notes, None if rows is None else list(rows))


def _plan(
    source: Source,
    matrix: Sequence[Settings],
    out: Path,
    rows: Sequence[str] | None,
    names: tuple[str, ...],
    listeners: Listeners,
    notes: list[str],
) -> Iterator[tuple[Task, Task | None]]:
    """Every row's clips, and the clips with other audio where it gives audio. A codec's ceiling is a row once."""
    ceilings: set[str] = set()
    for settings in matrix:
        config = read_config(Path(settings.checkpoint))
        base = _base(source, settings, out, names, listeners)
        controls = [name for name in config.controls if not source.lacks(CONTROLS[name])]
        if lacking := [name for name in config.controls if name not in controls]:
            notes.append(f"{source.location} has nothing to feed {', '.join(lacking)} with.")
        for row, given in (rows_of(controls) if rows is None else chosen_rows(rows, controls)).items():
            if row == CEILING:
                if settings.codec_digest in ceilings:
                    continue
                ceilings.add(settings.codec_digest)
            if row == CROSSED:
                try:
                    _ = [cross_of(source, name, matrix[0].seconds) for name in names]
                except UserError as error:
                    notes.append(f"The row crossed was left out: {error}")
                    continue
            own = replace(base, row=row, given=given)
            if row == FORM:
                own = replace(own, names=tuple(name for name in names if own.told(name)))
                if not own.names:
                    if rows is not None:
                        notes.append(f"The row {row} was left out: no stretch of {source.location} touches several sections.")
                    continue
            other = takes_audio(given) and row != CROSSED and not remade(row, given)
            yield own, replace(own, other=True) if other else None


def _base(source: Source, settings: Settings, out: Path, names: tuple[str, ...], listeners: Listeners) -> Task:
    """What the rows under one setting share."""
    return Task(settings, source, listeners, "", (), False, names, out / settings.key() / source.folder, out / "references" / source.folder)


@contextmanager
def _pool(workers: int) -> Iterator[Callable[..., Iterator[int]]]:
    """A `map` over processes of one thread each, or over nothing but this one."""
    if workers <= 1:
        yield map
        return
    before = os.environ.get(WORKER)
    os.environ[WORKER] = "1"
    try:
        with pool(workers) as processes:
            yield processes.map
    finally:
        if before is None:
            del os.environ[WORKER]


def best_of(rows: Sequence[ResultRow]) -> ResultRow:
    """The row with the highest mean of the figures of `rule_of` (those that are defined); the first of several."""
    return max(rows, key=lambda row: np.nanmean([row.figures[key].mean for key in rule_of(row) if key in row.figures]))


def rule_of(row: ResultRow) -> list[str]:
    """The main figure of each control that a row was given, by which settings are chosen."""
    following = {CONTROLS[name].adherence for name in row.given}
    return [adherence.columns[0].key for adherence in FOLLOWED if adherence in following]


def grid_of(settings: Sequence[Settings]) -> list[Settings]:
    """The same under the paper's eight combinations of guidance weights.

    Raises:
        UserError: a model has no local control to weigh against the text.
    """
    for setting in settings:
        if ALL not in (rows := rows_of(list(read_config(Path(setting.checkpoint)).controls))) and len(rows) < 4:
            raise UserError(
                f"the guidance grid weighs local controls against the text, and {setting.checkpoint!r} has none that is measured."
            )
    return [replace(setting, guidance=guidance) for setting in settings for guidance in guidance_grid()]
