"""The one thread that has the model: jobs wait for it in a queue of bounded length; those that agree in shape are made together."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from jasco_pl import __version__
from jasco_pl.app.asking import Asking, guidance_of
from jasco_pl.app.errors import BusyError
from jasco_pl.app.hearing import listen
from jasco_pl.app.jobs import Job, Take
from jasco_pl.app.limits import Limits
from jasco_pl.app.metrics import Metrics
from jasco_pl.app.peaks import peaks
from jasco_pl.generation.jasco import Clip, Jasco
from jasco_pl.generation.outline import Length
from jasco_pl.generation.saving import save_clip
from jasco_pl.generation.sheet import sheet_of
from jasco_pl.network.flow.config import SolverConfig
from jasco_pl.notation.midi_writer import write_midi
from jasco_pl.system.errors import UserError

_LOG = logging.getLogger(__name__)
ASKED = "asked.mid"
"""What was asked for, beside the takes."""
_SAMPLING = 0.8  # share of a job's progress at which its latents are done
_SLOW = 0.3  # weight of the last batch in what is thought of the next


class CancelError(Exception):
    """Nobody waits any more for what is being made."""


@dataclass(eq=False)
class Work:
    """A job that waits or is made.

    Attributes:
        job: what is told of it.
        asking: what was asked for.
        length: of its takes, in frames.
        seconds: of its takes; those of a loop need be no whole frames.
        solver: what makes them.
    """

    job: Job
    asking: Asking
    length: Length
    seconds: float
    solver: SolverConfig

    def size(self) -> float:
        """What it costs, in seconds of sound times evaluations."""
        solver = self.solver
        each = 40 if solver.method == "dopri5" else (solver.steps or 10) * (1 if solver.method in ("euler", "ddim") else 2)
        return len(self.job.seeds) * self.length.seconds * (each + 4)


class Engine:
    """Makes what is asked for, one batch after the other.

    Args:
        load: gives the model; called once, in the engine's own thread.
        limits: of the queue and of a batch.
        metrics: what is counted.
    """

    def __init__(self, load: Callable[[], Jasco], limits: Limits, metrics: Metrics) -> None:
        self.limits, self.metrics, self._load = limits, metrics, load
        self.jasco: Jasco | None = None
        self.failure: str | None = None
        self._jobs: weakref.WeakValueDictionary[str, Job] = weakref.WeakValueDictionary()  # as long as anybody may still write them
        self._waiting: list[Work] = []
        self._running: list[Work] = []
        self._began = 0.0
        self._pace: float | None = None  # seconds a unit of `Work.size`
        self._changed = threading.Condition()
        self._closing = False
        self._ears = ThreadPoolExecutor(1, "ears")
        self._thread = threading.Thread(target=self._live, name="engine", daemon=True)
        metrics.watch(lambda: len(self._waiting), lambda: len(self._running))

    def start(self) -> None:
        """Load the model and begin to work."""
        self._thread.start()

    def close(self) -> None:
        """Stop within an evaluation; what waits is cancelled."""
        with self._changed:
            self._closing = True
            for work in [*self._waiting, *self._running]:
                work.job.end("interrupted", "the server was stopped while this waited or was being made.")
            self._waiting.clear()
            self._changed.notify_all()
        self._ears.shutdown(wait=False, cancel_futures=True)
        if self._thread.is_alive():
            self._thread.join(timeout=60)

    def submit(self, work: Work) -> None:
        """Let it wait for its turn; raises BusyError where too many do."""
        with self._changed:
            if self.failure is not None:
                raise BusyError(f"the model could not be loaded: {self.failure}")
            if len(self._waiting) >= self.limits.waiting or self._closing:
                self.metrics.refused.inc()
                raise BusyError(f"busy: {len(self._waiting)} jobs wait already, which is the most; try again in a minute.")
            work.job.save()
            self._jobs[work.job.id] = work.job
            self._waiting.append(work)
            self._changed.notify_all()

    def check(self, solver: SolverConfig) -> None:
        """Raise UserError for a solver that is none of the model's; until that is loaded, nobody knows which those are."""
        if self.jasco is not None:
            model = self.jasco.model
            solver.resolved(model.path, model.config.times is not None)

    def cancel(self, identity: str) -> None:
        """Of a job that waits or is made: nothing more comes of it, and the work stops before its next evaluation."""
        with self._changed:
            for work in [*self._waiting, *self._running]:
                if work.job.id == identity:
                    work.job.end("cancelled")
            self._waiting = [work for work in self._waiting if not work.job.is_over]

    def find(self, identity: str) -> Job | None:
        """A job that waits, is made or listened to, as it is now."""
        return self._jobs.get(identity)

    def outlook(self, identity: str) -> dict[str, Any]:
        """Of a job: how many are before it, and for how many seconds it will go on; None where that is not known yet."""
        with self._changed:
            for place, work in enumerate(self._waiting):
                if work.job.id == identity:
                    before = [*self._running, *self._waiting[:place]]
                    size = sum(one.size() * (1 - one.job.share) for one in before) + work.size()
                    return {"before": len(before), "left": None if self._pace is None else size * self._pace}
            for work in self._running:
                if work.job.id == identity:
                    spent, share = time.monotonic() - self._began, work.job.share
                    if share > 0.1:
                        return {"before": 0, "left": spent / share * (1 - share)}
                    expected = None if self._pace is None else max(0.0, sum(one.size() for one in self._running) * self._pace - spent)
                    return {"before": 0, "left": expected}
        return {"before": 0, "left": None}

    def _live(self) -> None:
        try:
            self.jasco = self._load()
        except (UserError, OSError) as error:
            self.failure = str(error)
            _LOG.error("the model could not be loaded: %s", error)
        except Exception as error:
            _LOG.exception("loading the model failed")
            self.failure = f"{type(error).__name__}, see the server's log"
        if self.jasco is None:
            with self._changed:
                for work in self._waiting:
                    work.job.end("failed", f"the model could not be loaded: {self.failure}")
                self._waiting.clear()
            return
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                self._running = self._take_batch(self.jasco)
                self._began = time.monotonic()
                for work in self._running:
                    work.job.begin()
            try:
                self._make(self.jasco, list(self._running))
            except Exception:  # a thread that ends here would leave all others waiting
                _LOG.exception("a batch was given up")
            with self._changed:
                self._running = []

    def _take_batch(self, jasco: Jasco) -> list[Work]:
        """The first that waits, and others of its shape while there is room beside it."""
        batch: list[Work] = []
        room, key = self.limits.at_once, self._key(self._waiting[0], jasco)
        for work in self._waiting:
            if not batch or (len(work.job.seeds) <= room and self._key(work, jasco) == key):
                batch.append(work)
                room -= len(work.job.seeds)
        self._waiting = [work for work in self._waiting if work not in batch]
        return batch

    @staticmethod
    def _key(work: Work, jasco: Jasco) -> tuple[Any, ...]:
        make = work.asking.make
        guidance = guidance_of(make, jasco.model.controls.names, jasco.model.config.guidance)
        return work.seconds, guidance, work.solver

    def _make(self, jasco: Jasco, batch: list[Work]) -> None:
        try:
            self._make_together(jasco, batch)
        except CancelError:
            pass
        except UserError as error:
            if len(batch) == 1:
                batch[0].job.end("failed", str(error))
            else:  # it was one of them, and no reason for the others to fail
                for work in batch:
                    self._make(jasco, [work])
        except Exception as error:
            _LOG.exception("making music failed")
            for work in batch:
                work.job.end("failed", f"an error in the server: {type(error).__name__}; its log says more.")

    def _make_together(self, jasco: Jasco, batch: list[Work]) -> None:
        batch = [work for work in batch if not work.job.is_over]
        seconds, guidance, solver = self._key(batch[0], jasco) if batch else (0.0, None, None)

        def check() -> None:
            if all(work.job.is_over for work in batch):
                raise CancelError

        def progress(share: float) -> None:
            for work in batch:
                work.job.share = _SAMPLING * share

        check()
        began = time.monotonic()
        owners = [work for work in batch for _ in work.job.left]
        requests = [one for work in batch for one in work.asking.requests(work.job.left, work.length, jasco.codec.sample_rate)]
        made = jasco.stream(requests, seconds, guidance, solver, progress, check=check)
        for count, (work, clip) in enumerate(zip(owners, made, strict=True), 1):
            for one in batch:
                one.job.share = max(one.job.share, _SAMPLING + (1 - _SAMPLING) * count / len(owners))
            if not work.job.is_over:
                self._keep(work, clip, jasco, guidance)
            if count < len(owners):  # before the next one is decoded
                check()
        pace = (time.monotonic() - began) / sum(work.size() for work in batch)
        self._pace = pace if self._pace is None else _SLOW * pace + (1 - _SLOW) * self._pace
        self.metrics.batches.observe(len(owners))

    def _keep(self, work: Work, clip: Clip, jasco: Jasco, guidance: str | None) -> None:
        job, number = work.job, len(work.job.takes)
        path = job.folder / f"take-{number}.wav"
        with job.lock:
            if job.removed:
                return
            made_with = {**jasco.describe(), "guidance": guidance or jasco.model.config.guidance, "evaluations": clip.evaluations}
            settings = {"jasco_pl": __version__, **made_with, "seed": clip.request.seed, "settings": job.settings}
            save_clip(clip, path, settings)
            content = path.read_bytes()
            seconds = clip.audio.shape[-1] / clip.sample_rate
            job.takes.append(Take(clip.request.seed, seconds, hashlib.sha256(content).hexdigest(), peaks(np.abs(clip.audio[0].numpy()))))
            job.notes, job.made_with = list(dict.fromkeys([*job.notes, *clip.notes])), made_with
            job.chords = [[change.label, round(change.start, 4)] for change in clip.changes]
            job.save()
        self.metrics.takes.inc()
        self.metrics.seconds.inc(seconds)
        if len(job.takes) == len(job.seeds):
            job.end("done")
        if not self._closing:
            self._ears.submit(self._listen, job, number, clip)

    def _listen(self, job: Job, number: int, clip: Clip) -> None:
        try:
            lanes, words = listen(clip)
            with job.lock:
                if number == 0 and not job.removed:
                    write_midi(job.folder / ASKED, sheet_of(clip))
        except Exception:
            _LOG.exception("listening failed")
            lanes, words = {}, ["what is heard in it could not be compared; the server's log says why."]
        with job.lock:
            job.takes[number].lanes, job.takes[number].words = lanes, words
            job.save()
