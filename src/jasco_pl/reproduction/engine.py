"""All jobs of a budget, several at a time, each in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import active_children, get_context

from tqdm import tqdm

from jasco_pl.evaluation.clips import WORKER
from jasco_pl.processes import end_with_parent
from jasco_pl.reproduction.job import Budget, Job, in_process
from jasco_pl.reproduction.plan import Experiment

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
    others = set(active_children())
    running: dict[Future[None], Job] = {}
    # a process a job: what a training leaves behind (handlers, caches, threads) ends with it
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=end_with_parent, max_tasks_per_child=1)
    try:
        with tqdm(total=total, initial=sum(map(reached, jobs)), desc="reproduce", unit="step") as bar:
            while pending or running:
                for job in [job for job in pending if job.base is None or job.base.finished() is not None]:
                    if len(running) < workers:
                        running[pool.submit(in_process, job)] = job
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
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(active_children()) - others:  # a training saves before it ends
            child.terminate()


def reached(job: Job) -> int:
    """The step of its last checkpoint."""
    if job.finished() is not None:
        return job.budget.steps
    steps = [int(path.stem.partition("=")[2]) for path in (job.folder / "checkpoints").glob("step=*.ckpt")]
    return max(steps, default=0)
