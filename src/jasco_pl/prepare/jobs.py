"""One track through the stages, and who does it: this process, several on this machine, or actors on a Ray cluster, all with one result.

What is done lies in files, a stage each, so that nothing is done twice. On a Ray cluster actors hold the extractors; Ray Data hands out
the tracks and starts again what was lost.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.long_audio import LongAudio
from jasco_pl.codec import Codec, load_codec
from jasco_pl.data.schema import STAGES
from jasco_pl.extract.stage import Stage
from jasco_pl.prepare.config import PrepareConfig
from jasco_pl.prepare.rules import Rejected, facts, levels, refuse_length, refuse_levels
from jasco_pl.system.errors import UserError, WriteError
from jasco_pl.system.files import atomic_path, write_json
from jasco_pl.system.processes import end_with_parent, pool
from jasco_pl.system.typed import read_typed

T = TypeVar("T")
FACTS, REJECTED = "facts.json", "rejected.json"


class Stages:
    """The stages of a preparation by name, and their codec; each is made when it is first asked for and then kept.

    Args:
        config: names codec, weights and device.
    """

    def __init__(self, config: PrepareConfig) -> None:
        self.config = config
        self._made: dict[str, Stage] = {}

    @cached_property
    def codec(self) -> Codec:
        """The codec, on the device."""
        return load_codec(self.config.codec).to(self.config.device)

    def __getitem__(self, name: str) -> Stage:
        if name not in self._made:
            self._made[name] = STAGES[name](self.codec, self.config)
        return self._made[name]

    @torch.inference_mode()
    def __call__(self, name: str, audio: LongAudio) -> dict[str, Tensor]:
        """What a stage hears in a recording; raises as `Stage.of_recording`."""
        return self[name].of_recording(audio)


@dataclass(frozen=True)
class Job:
    """What is to be done for one track."""

    id: str
    path: str
    name: str
    start: float
    stop: float | None
    seconds: float
    """What the file's header claims, for the progress bar."""
    stages: dict[str, str]
    """Stage -> fingerprint of its extractor."""
    folder: str
    """Where the results go."""

    def result(self, stage: str) -> Path:
        """The file of a stage's tensors."""
        return Path(self.folder) / f"{stage}-{self.stages[stage]}.safetensors"

    @property
    def done(self) -> bool:
        """Whether the track is through: all its stages, or refused."""
        folder = Path(self.folder)
        return (folder / REJECTED).exists() or ((folder / FACTS).exists() and all(self.result(stage).exists() for stage in self.stages))

    def rejected(self) -> Rejected | None:
        """Why it was refused, None if it was not."""
        path = Path(self.folder) / REJECTED
        return read_typed(path, Rejected) if path.exists() else None

    def refuse(self, reason: str, detail: str, seconds: float | None = None) -> None:
        """Put down that the track is not taken; `seconds` is its length where that is known better than from its header."""
        write_json(Path(self.folder) / REJECTED, asdict(Rejected(self.name, reason, detail, seconds or self.seconds or None)))

    def record(self) -> dict[str, Any]:
        """What is known of the recording, with the wall seconds of every stage."""
        known = read_typed(Path(self.folder) / FACTS, dict[str, Any])
        seconds = {}
        for stage in self.stages:
            with safe_open(self.result(stage), "pt", backend="pread") as file:
                seconds[stage] = float(file.metadata()["seconds"])
        return {**known, "stage_seconds": {**known["stage_seconds"], **seconds}}

    def tensors(self) -> dict[str, Tensor]:
        """All fields."""
        fields: dict[str, Tensor] = {}
        for stage in self.stages:
            with safe_open(self.result(stage), "pt", backend="pread") as file:
                fields |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  safetensors' handle is no mapping
        return fields

    def clear(self) -> None:
        """Remove the results: they stand in a shard now."""
        shutil.rmtree(self.folder, ignore_errors=True)


class TrackWorker:
    """Holds the extractors and takes one track after the other; lives in a process of its own.

    Args:
        config: of the preparation.
    """

    def __init__(self, config: PrepareConfig) -> None:
        # one thread each, on every machine: sums then have one order and results one set of bits, however many work
        torch.set_num_threads(1)
        self.rules, self.stages = config.rules, Stages(config)

    def __call__(self, job: Job) -> Job:
        """Do what is missing; whatever is wrong with the track becomes its refusal.

        Raises:
            UserError: the results cannot be written, or a stage's extractor is not to be had.
        """
        folder = Path(job.folder)
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.iterdir():  # of a worker that was killed
            if leftover.is_dir():
                shutil.rmtree(leftover)
            elif leftover.name.startswith("."):
                leftover.unlink()
        audio = self._tried(job, "not audio", lambda: LongAudio(job.path, folder, start=job.start, stop=job.stop))
        if audio is None:
            return job
        with audio:
            if not (folder / FACTS).exists():
                known = self._tried(job, "broken", lambda: self._examine(job, audio))
                if known is None:
                    return job
                write_json(folder / FACTS, known)
            for stage in job.stages:
                if not job.result(stage).exists():
                    began = time.perf_counter()
                    tensors = self._tried(job, "unusable", lambda: self.stages(stage, audio))  # noqa: B023  called at once
                    if tensors is None:
                        return job
                    with atomic_path(job.result(stage)) as temporary:
                        save_file(
                            {name: tensor.contiguous() for name, tensor in tensors.items()},
                            temporary,
                            {"seconds": f"{time.perf_counter() - began:.3f}"},
                        )
        return job

    def _tried(self, job: Job, reason: str, work: Callable[[], T | None]) -> T | None:
        """What `work` gives; None when the track was refused in it, or is refused for what it raised."""
        try:
            return work()
        except (WriteError, OSError, MemoryError):
            raise  # the machine's fault, not the track's
        except UserError as error:
            job.refuse(reason, str(error))
        except Exception as error:  # libraries meet what nobody thought of: one odd file must not end days of work
            job.refuse("failed", f"{type(error).__name__}: {error}")
        return None

    def _examine(self, job: Job, audio: LongAudio) -> dict[str, Any] | None:
        began = time.perf_counter()
        samples = audio.samples(self.stages.codec.sample_rate)
        found = levels(samples, audio.floating)
        if refusal := refuse_length(audio, self.rules) or refuse_levels(found, self.rules):
            job.refuse(*refusal, audio.seconds)
            return None
        heard = facts(samples)
        return {
            "seconds": audio.seconds,
            "source_rate": audio.source_rate,
            "channels": audio.channels,
            **({} if audio.channel is None else {"channel": audio.channel}),
            "peak": found.peak,
            **heard,
            "stage_seconds": {"facts": time.perf_counter() - began},
        }


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
        with pool(config.processes, _start, (config,)) as processes:
            try:
                while True:
                    while waiting and len(running) < 2 * config.processes:
                        future = processes.submit(_work, waiting[0])  # which fails where a process died meanwhile
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
        with pool(1, _start, (config,)) as processes:
            try:
                while suspects:
                    job = processes.submit(_work, suspects[0]).result()
                    del suspects[0]
                    yield job
            except BrokenProcessPool:
                job = suspects.pop(0)
                job.refuse("crashed", "the process that read it died, twice; the file, or a lack of memory, may be the cause.")
                yield job


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
