"""Who does the jobs: this process, several on this machine, or actors on a Ray cluster. All do the same with them.

Jobs on a Ray cluster: actors hold the extractors, Ray Data hands out the tracks and starts again what was lost.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from multiprocessing import active_children, get_context
from pathlib import Path
from threading import RLock
from typing import Any

from tqdm import tqdm

from jasco_pl.prepare.config import PrepareConfig
from jasco_pl.prepare.track import Job, TrackWorker
from jasco_pl.system.errors import UserError
from jasco_pl.system.processes import end_with_parent

_worker: TrackWorker | None = None


def run_here(jobs: Iterable[Job], config: PrepareConfig) -> Generator[Job, None, None]:
    """One after the other in this process."""
    yield from map(TrackWorker(config), jobs)


def run_processes(jobs: Iterable[Job], config: PrepareConfig) -> Generator[Job, None, None]:
    """In `config.processes` of them, in whatever order they are done.

    A process that dies (a library that crashes on a file, memory that runs out) takes nothing with it but its job. Which of the jobs that
    were under way it was, trying each alone tells; the one that kills its process again is refused.
    """
    waiting = deque(jobs)
    suspects: list[Job] = []
    while True:
        running: dict[Future[Job], Job] = {}
        with _pool(config, config.processes) as pool:
            try:
                while True:
                    while waiting and len(running) < 2 * config.processes:
                        future = _submit(pool, waiting[0])  # which fails where a process died meanwhile
                        running[future] = waiting.popleft()
                    if not running:
                        return
                    finished, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        job = future.result()
                        del running[future]
                        yield job
            except BrokenProcessPool:
                suspects = list(running.values())
        yield from (job for job in suspects if job.done)
        yield from _one_by_one([job for job in suspects if not job.done], config)


def _one_by_one(suspects: list[Job], config: PrepareConfig) -> Generator[Job, None, None]:
    while suspects:
        with _pool(config, 1) as pool:
            try:
                while suspects:
                    job = _submit(pool, suspects[0]).result()
                    del suspects[0]
                    yield job
            except BrokenProcessPool:
                job = suspects.pop(0)
                job.refuse("crashed", "the process that read it died, twice; the file, or a lack of memory, may be the cause.")
                yield job


def _submit(pool: ProcessPoolExecutor, job: Job) -> Future[Job]:
    """May start a process, which is deaf to Ctrl-C from its first moment: we end it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(_work, job)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _pool(config: PrepareConfig, workers: int) -> Iterator[ProcessPoolExecutor]:
    others = set(active_children())
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start, initargs=(config,))
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        # Nobody waits here for a worker: after an interruption it may listen to an hour of music; of a broken pool one that was just
        # being started can be left waiting for jobs.
        for child in set(active_children()) - others:
            child.terminate()


def _start(config: PrepareConfig) -> None:
    global _worker
    end_with_parent()
    tqdm.set_lock(RLock())  # its own one is a semaphore of the system, which a process that is ended leaves behind with a warning
    _worker = TrackWorker(config)


def _work(job: Job) -> Job:
    assert _worker is not None
    return _worker(job)


ATTEMPTS = 3
"""Of one job in one run; whatever kills its actor every time is refused."""
BLOCKS = 64
"""Parts that the jobs come in, an actor: what an actor has not given back when it dies is looked at again, and found done."""


class TrackActor:
    """A `TrackWorker` that lives on some machine of the cluster."""

    def __init__(self, config: PrepareConfig, run: str) -> None:
        self.worker, self.run = TrackWorker(config), run

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """One row is one job."""
        job = Job(**row)
        attempts = Path(job.folder) / f"attempts-{self.run}"
        attempts.parent.mkdir(parents=True, exist_ok=True)
        with attempts.open("a") as file:  # a mark for every start: the next actor sees how often this job was begun
            file.write(".")
        if attempts.stat().st_size > ATTEMPTS:
            job.refuse("crashed", f"the actor that read it died {ATTEMPTS} times; the file, or a lack of memory, may be the cause.")
        else:
            job = self.worker(job)
        attempts.unlink(missing_ok=True)
        return {"id": job.id}


def run_ray(jobs: Sequence[Job], config: PrepareConfig) -> Generator[Job, None, None]:
    """On the cluster at `config.ray`, in whatever order they are done.

    Raises:
        UserError: Ray is not installed, or the cluster is not there.
    """
    ray = connect(config.ray or "auto")
    have = ray.cluster_resources()
    most = int(have.get("GPU", 0) / config.ray_gpus) if config.ray_gpus else int(have.get("CPU", 1) / config.ray_cpus)
    if most < 1:
        raise UserError(
            f"the cluster has {have.get('CPU', 0):g} CPUs and {have.get('GPU', 0):g} GPUs, where an actor is to have "
            f"{config.ray_cpus:g} and {config.ray_gpus:g} (--ray_cpus, --ray_gpus)."
        )
    ray.data.DataContext.get_current().enable_progress_bars = False  # ours counts music
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # its plans and figures would run through our bar
    by_id = {job.id: job for job in jobs}
    actors = min(config.ray_actors or most, len(jobs))
    rows = ray.data.from_items([asdict(job) for job in jobs], override_num_blocks=min(len(jobs), BLOCKS * actors))
    done = rows.map(
        TrackActor,  # type: ignore[arg-type]  # Ray's stubs know functions alone
        fn_constructor_args=(config, os.urandom(4).hex()),
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=config.ray_cpus,
        num_gpus=config.ray_gpus or None,
    )
    for row in done.iter_rows():
        yield by_id[row["id"]]


def connect(address: str) -> Any:
    """Join the cluster at an address, start one on this machine where `auto` finds none; returns the module.

    Raises:
        UserError: Ray is not installed, or the cluster is not there.
    """
    try:
        import ray
    except ImportError:
        raise UserError("--ray needs Ray, which is not installed: `pip install 'jasco-pl[ray]'`.") from None
    if ray.is_initialized():
        return ray
    if address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=10).close()  # Ray would try for minutes
        except (OSError, ValueError, OverflowError):
            raise UserError(
                f"there is no Ray cluster at {address!r}; HOST:PORT names one, `auto` finds the one of this machine, or starts one."
            ) from None
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it calls an error what Ray Data always does with its actors
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    try:
        ray.init(address=address, **options)
    except ConnectionError:
        if address != "auto":
            raise UserError(f"the Ray cluster at {address!r} takes nobody in: it may run another version of Ray or Python.") from None
        ray.init(**options)
    return ray
