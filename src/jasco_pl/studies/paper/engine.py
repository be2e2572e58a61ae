"""One training of the plan: fit, export, measure. What a killed run has finished is not done again.

OUT/<experiment>-<seed>/overlay.yaml     what `jasco fit` is told besides the files of conf/, the budget above all
                       /checkpoints/     of the training, which goes on from the last
                       /model/           exported in half precision
                       /finished.json    written last: with which recipe, how long it took, on what
OUT/evaluation/                          the clips of all experiments, kept apart by the models' own bytes

All jobs of a budget, several at a time, each in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from jasco_pl.data.shards import ShardReader
from jasco_pl.evaluation.clips import WORKER
from jasco_pl.evaluation.engine import ResultRow, evaluate
from jasco_pl.evaluation.pretrained import Listeners
from jasco_pl.evaluation.references import ComposedPieces
from jasco_pl.evaluation.settings import Settings
from jasco_pl.network.flow.path import make_path
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import read_config
from jasco_pl.studies.paper.plan import EXPERIMENTS, TEXT_ONLY, Experiment, Recipe
from jasco_pl.system.environment import machine
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import write_json
from jasco_pl.system.processes import pool
from jasco_pl.system.typed import read_typed


@dataclass(frozen=True)
class Budget:
    """What all experiments share.

    Attributes:
        steps: of the optimiser, a training.
        clips: pieces that every model is measured on.
        evaluations: of the network for a clip, whatever the solver; times the branches of guidance.
        guidance: of every model.
        conf, train, valid, pieces: folders.
        out: folder for everything that is made.
        listeners: the networks that the clips are heard with.
    """

    steps: int
    clips: int
    out: Path
    train: Path
    valid: Path
    pieces: Path
    conf: Path = Path("conf")
    evaluations: int = 12
    guidance: str = "all=3"
    listeners: Listeners = field(default_factory=Listeners)

    @cached_property
    def data(self) -> str:
        """A mark of the training set: the checksums of everything in it."""
        entries = ShardReader(str(self.train)).entries
        known = ("id", "crc32", "frames", "captions", "sections")
        return _digest([json.dumps([entry.get(key) for key in known], sort_keys=True) for entry in entries])


@dataclass(frozen=True)
class Job:
    """An experiment with a seed."""

    experiment: str
    seed: int
    budget: Budget

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.experiment}-{self.seed}"

    @property
    def folder(self) -> Path:
        """Of everything but its clips."""
        return self.budget.out / self.name

    @property
    def model(self) -> Path:
        """What is exported."""
        return self.folder / "model"

    @cached_property
    def recipe(self) -> Recipe:
        """Its configuration files."""
        return Recipe(EXPERIMENTS[self.experiment], self.budget.conf)

    @cached_property
    def base(self) -> Job | None:
        """The job whose model this one starts from."""
        base = EXPERIMENTS[self.experiment].base
        return None if base is None else Job(base, self.seed, self.budget)

    def overlay(self) -> dict[str, Any]:
        """What is laid over the files of conf/: the experiment's own, budget, seed and folders."""
        budget, out = self.budget, str(self.budget.out)
        changes = self.recipe.changes()
        changes["seed_everything"] = self.seed
        changes["trainer"] = {
            "max_steps": budget.steps,
            "default_root_dir": out,
            "logger": {"init_args": {"save_dir": out, "name": self.name}},
        }
        changes["model"] |= {"decay_steps": budget.steps, "start_from": str(self.base.model) if self.base else None}
        changes["data"] = {"train": str(budget.train), "valid": str(budget.valid), "seed": self.seed}
        return changes

    @cached_property
    def mark(self) -> str:
        """Changes with whatever the trained weights depend on, but for the machine and the versions of packages."""
        changes = self.overlay()
        changes["trainer"] = {"max_steps": self.budget.steps}
        del changes["model"]["start_from"], changes["data"]
        base = self.base.mark if self.base else ""
        return _digest([*self.recipe.texts, json.dumps(changes, sort_keys=True), self.budget.data, base])

    def finished(self) -> dict[str, Any] | None:
        """What was written down of a finished training, if there is one of this recipe."""
        found = self._read("finished.json")
        return found if found.get("mark") == self.mark else None

    def measured(self) -> bool:
        """Whether its clips are there too, by this budget."""
        return self.finished() is not None and self._read("measured.json") == self._measurement()

    def _read(self, name: str) -> dict[str, Any]:
        """A note in the folder; nothing where there is none, or a damaged one."""
        try:
            return read_typed(self.folder / name, dict[str, Any])
        except (OSError, UserError):
            return {}

    def settings(self) -> Settings:
        """How its clips are made: as many evaluations of the network for every objective."""
        sampler = SolverConfig().resolved(make_path(read_config(self.model).objective), fitted=False)
        steps = self.budget.evaluations if sampler.method == "ddim" else self.budget.evaluations // 2
        return Settings(str(self.model), self.budget.guidance, replace(sampler, steps=steps))

    def train(self) -> None:
        """Train and export, going on from where a former run was stopped; a folder of another recipe is emptied first.

        Raises:
            UserError: the training ended before its last step.
        """
        from jasco_pl.training import cli  # here, and the next: Lightning takes seconds to import
        from jasco_pl.training.checkpoint_io import load_checkpoint

        mark, overlay = self.mark, self.folder / "overlay.yaml"
        if self._read("begun.json") != {"mark": mark}:
            shutil.rmtree(self.folder, ignore_errors=True)
            write_json(self.folder / "begun.json", {"mark": mark})
        write_json(overlay, self.overlay())  # JSON is YAML
        files = [argument for path in [*self.recipe.files, overlay] for argument in ("-c", str(path))]
        started = time.process_time()
        cli.run("fit", files)
        last = self.folder / "checkpoints" / "last.ckpt"
        steps = torch.load(last, map_location="cpu", weights_only=True)["global_step"]
        if steps != self.budget.steps:
            raise UserError(f"the training in {str(self.folder)!r} ended at step {steps} of {self.budget.steps}: run the command again.")
        model = load_checkpoint(str(last))
        model.save_pretrained(self.model, torch.float16)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        cpu = time.process_time() - started
        write_json(
            self.folder / "finished.json",
            {"mark": mark, "steps": steps, "parameters": parameters, "cpu_seconds": cpu, "machine": machine("cpu")},
        )

    def measure(self) -> ResultRow:
        """The clips of the model under all its conditions, and their figures; makes what is missing."""
        return self._evaluate(self.recipe.row)

    def ceiling(self) -> ResultRow:
        """The references through the codec alone."""
        return self._evaluate("ceiling")

    def _evaluate(self, row: str) -> ResultRow:
        budget = self.budget
        source, out = ComposedPieces(str(budget.pieces)), budget.out / "evaluation"
        found = evaluate(source, [self.settings()], out, rows=[row], limit=budget.clips, listeners=budget.listeners, allow_few=True)
        return found.rows[0]

    def _measurement(self) -> dict[str, Any]:
        pieces = [path.name for path in sorted(self.budget.pieces.glob("*.json"))]
        return {
            "mark": self.mark,
            "clips": self.budget.clips,
            "guidance": self.budget.guidance,
            "evaluations": self.budget.evaluations,
            "heard_with": self.budget.listeners.heard_with,
            "pieces": _digest(pieces),
        }

    def run(self) -> None:
        """Whatever of it is not done yet."""
        if self.finished() is None:
            self.train()
        if not self.measured():
            self.measure()
            if self.experiment == TEXT_ONLY:
                self.ceiling()
            write_json(self.folder / "measured.json", self._measurement())


def in_process(job: Job) -> None:
    """`Job.run` in a process of its own: one thread, everything that is said goes to the job's log."""
    torch.set_num_threads(1)
    job.budget.out.mkdir(parents=True, exist_ok=True)
    with (job.budget.out / f"{job.name}.log").open("ab") as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
    job.run()


def _digest(parts: list[str]) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


POLL = 2.0  # seconds between looks at how far the trainings are


def jobs_of(experiments: Sequence[Experiment], seeds: Sequence[int], budget: Budget) -> list[Job]:
    """Seed by seed, so that a first seed of everything is there before a second of anything."""
    return [Job(experiment.name, seed, budget) for seed in seeds for experiment in experiments]


def run_jobs(jobs: Sequence[Job], workers: int) -> None:
    """Do what is not done yet, a job after what it starts from.

    Raises:
        UserError: a training cannot be run; the first that says so ends the others, which go on next time.
    """
    pending = [job for job in jobs if not job.measured()]
    total = sum(job.budget.steps for job in jobs)
    if not pending:
        return
    os.environ[WORKER] = "1"
    running: dict[Future[None], Job] = {}
    try:
        with (
            # a process a job: what a training leaves behind (handlers, caches, threads) ends with it; a training saves before it ends
            pool(workers, max_tasks_per_child=1) as processes,
            tqdm(total=total, initial=sum(map(reached, jobs)), desc="reproduce", unit="step") as bar,
        ):
            while pending or running:
                for job in [job for job in pending if job.base is None or job.base.finished() is not None]:
                    if len(running) < workers:
                        running[processes.submit(in_process, job)] = job
                        pending.remove(job)
                done, _ = wait(running, timeout=POLL, return_when=FIRST_COMPLETED)
                for future in done:
                    job = running.pop(future)
                    future.result()
                    bar.write(f"{job.name} is trained and measured")
                bar.n = sum(reached(job) for job in jobs)
                bar.set_postfix_str(", ".join(job.name for job in running.values()))
    finally:
        del os.environ[WORKER]


def reached(job: Job) -> int:
    """The step of its last checkpoint."""
    if job.finished() is not None:
        return job.budget.steps
    steps = [int(path.stem.partition("=")[2]) for path in (job.folder / "checkpoints").glob("step=*.ckpt")]
    return max(steps, default=0)
