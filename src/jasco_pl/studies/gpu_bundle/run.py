"""A job within a time: stages are processes that are stopped when their time is up, results are saved before the end and at the end."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jasco_pl.studies.gpu_bundle.pieces import save
from jasco_pl.system.errors import UserError

EARLY = 0.7  # share of the time after which results are saved for the first time
GRACE = 10.0  # seconds between asking a process to end and ending it
_TICK = 0.2


class StageError(UserError):
    """A stage failed, or was not done when its time was up."""


@dataclass
class Run:
    """A running job.

    Attributes:
        job: its name.
        folder: where its processes work, and where relative paths begin.
        results: folder of what is handed over; `log.txt` in it has the output of all stages.
        out: where the pieces go.
        seconds: it may take, all in all.
        environment: of its processes.
        facts: what the manifest says of the machine.
        collect: called before results are saved, to put what there is by then into `results`; it may run stages.
        began: when that time began, in seconds since 1970.
        failure: why it is not finished, where a stage said so.
    """

    job: str
    folder: Path
    results: Path
    out: Path
    seconds: float
    environment: Mapping[str, str]
    facts: Mapping[str, Any]
    collect: Callable[[], None] = lambda: None
    began: float = field(default_factory=time.time)
    stages: list[dict[str, Any]] = field(default_factory=list)
    failure: str | None = None
    _saved: bool = False

    def __post_init__(self) -> None:
        self.results.mkdir(parents=True, exist_ok=True)

    @property
    def log(self) -> Path:
        """Output of all stages."""
        return self.results / "log.txt"

    def at(self, share: float) -> float:
        """When that share of the time is over, in seconds since 1970."""
        return self.began + share * self.seconds

    def left(self, reserve: float = 0.0) -> float:
        """Seconds until the end, but for a reserve; not less than none."""
        return max(0.0, self.at(1.0) - reserve - time.time())

    def stage(
        self,
        name: str,
        command: Sequence[str],
        until: float,
        part: Callable[[], bool] | None = None,
        output: Path | None = None,
        threads: int = 0,
    ) -> None:
        """Run a process to its end.

        Args:
            name: for the log.
            command: what is run.
            until: when it is asked to end (SIGTERM), and killed `GRACE` seconds later, with all its processes.
            part: whether what it has made is enough to go on with, asked from `until` on; while it is not, the process may go on, to the
                end of the job at most. None: nothing but its own end is enough.
            output: file that gets the standard output, in place of the log.
            threads: of numerical libraries in each process; 0: theirs.

        Raises:
            StageError: it failed, or was stopped.
        """
        began = time.time()
        with self._started(name, command, output, threads) as process:
            stopped = self._wait(process, until, part)
        status = self._ended(name, began, stopped, process.returncode)
        if status != "done" and not (stopped and part is not None and part()):
            raise StageError(f"{name} {'was not done when its time was up' if stopped else status}.")

    @contextlib.contextmanager
    def beside(self, name: str, command: Sequence[str], until: float, ready: Callable[[], bool], threads: int = 0) -> Iterator[None]:
        """A process that runs while others do: inside, it has begun to be useful; what it has not done at the end stays undone.

        Args:
            name, command, threads: as for `stage`.
            until: when it has to be useful.
            ready: whether it is.

        Raises:
            StageError: it failed, or was not useful in time.
        """
        began = time.time()
        with self._started(name, command, None, threads) as process:
            while not ready() and process.poll() is None and time.time() < until:
                self._save_early()
                time.sleep(_TICK)
            useful = ready()
            try:
                if useful:
                    yield
            finally:
                running = process.poll() is None
        status = self._ended(name, began, running, process.returncode)
        if not useful:
            raise StageError(f"{name} {'was not done when its time was up' if running else status}.")

    @contextlib.contextmanager
    def _started(self, name: str, command: Sequence[str], output: Path | None, threads: int) -> Iterator[subprocess.Popen[bytes]]:
        """A process, which ends with all that it started."""
        self._say(f"{name}: {shlex.join(command)}")
        environment = {**self.environment, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
        with contextlib.ExitStack() as files:
            log = files.enter_context(open(self.log, "ab"))
            stdout = files.enter_context(open(output, "wb")) if output else log
            process = subprocess.Popen(
                list(command), cwd=self.folder, env=environment, stdout=stdout, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
            try:
                yield process
            finally:
                _kill_group(process)

    def _ended(self, name: str, began: float, stopped: bool, code: int | None) -> str:
        """Note how a process ended, in words."""
        status = "stopped" if stopped else "done" if code == 0 else f"failed with status {code}"
        self.stages.append({"name": name, "seconds": round(time.time() - began, 1), "status": status})
        self._say(f"{name}: {status} after {self.stages[-1]['seconds']:g} s")
        return status

    def _wait(self, process: subprocess.Popen[bytes], until: float, part: Callable[[], bool] | None) -> bool:
        """Whether it had to be stopped."""
        asked: float | None = None
        while process.poll() is None:
            now = time.time()
            if asked is None and now >= until and (part is None or part() or now >= self.at(1.0)):
                asked = now
            if asked is not None and now < asked + GRACE:
                process.terminate()  # itself alone: it ends its workers when it has saved what they are needed for
            elif asked is not None:
                _kill_group(process)
            self._save_early()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_TICK if asked is None else 1.0)
        return asked is not None and process.returncode != 0

    def _save_early(self) -> None:
        if not self._saved and time.time() >= self.at(EARLY):
            self.save(finished=False)

    def save(self, finished: bool) -> bool:
        """Collect and hand over what there is.

        Args:
            finished: whether it is all that was wanted.

        Returns: the same; false where it could not be collected.
        """
        self._saved = True
        try:
            self.collect()
        except StageError as error:  # it had its line in the log
            finished = False
            print(f"not collected: {error}", flush=True)
        facts = {
            **self.facts,
            "finished": finished,
            "failure": self.failure,
            "seconds": round(time.time() - self.began, 1),
            "of_seconds": round(self.seconds, 1),
            "stages": self.stages,
        }
        (self.results / "job.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        manifest = save(self.results, self.out, self.job, facts)
        self._say(f"saved {manifest}")
        return finished

    def _say(self, text: str) -> None:
        line = f"[{time.time() - self.began:6.1f} s] {text}"
        print(line, flush=True)
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(f"== {line}\n")


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def carry_out(run: Run, job: Callable[[Run], None]) -> int:
    """Run a job and save its results, whatever comes.

    Returns: 0, or 1 where a stage failed or was not done in time; what there was by then is saved all the same.
    """
    finished = False
    try:
        job(run)
        finished = True
    except StageError as error:
        run.failure = str(error)
    finally:
        finished = run.save(finished)
    if run.failure is not None:
        print(f"the job {run.job} failed: {run.failure} Its log and what it had are in {run.out}.", flush=True)
    return int(not finished)
