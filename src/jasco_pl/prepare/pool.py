"""Who does the jobs: this process, several on this machine, or actors on a Ray cluster. All do the same with them."""

from __future__ import annotations

import contextlib
import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from threading import RLock

from tqdm import tqdm

from jasco_pl.prepare.config import PrepareConfig
from jasco_pl.prepare.track import Job, TrackWorker
from jasco_pl.processes import end_with_parent

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
