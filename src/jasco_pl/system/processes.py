"""Processes that work for another."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import active_children, get_context, parent_process
from typing import Any


def end_with_parent() -> None:
    """Initialise a worker: one whose parent was killed would wait for tasks for ever."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Pool(ProcessPoolExecutor):
    def submit(self, work: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        """May start a process, which is deaf to Ctrl-C from its first moment: its parent ends it."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(work, *args, **options)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def pool(
    workers: int, initializer: Callable[..., None] = end_with_parent, initargs: tuple[Any, ...] = (), **options: Any
) -> Iterator[ProcessPoolExecutor]:
    """Processes that begin anew (spawn); at the end, or whatever ends it, they are ended.

    Nobody waits for a worker there: after an interruption it may be at work for minutes; of a broken pool one that was just being started
    can be left waiting for tasks.
    """
    others = set(active_children())
    made = _Pool(workers, get_context("spawn"), initializer=initializer, initargs=initargs, **options)
    try:
        yield made
    finally:
        made.shutdown(wait=False, cancel_futures=True)
        for child in set(active_children()) - others:
            child.terminate()
