"""How long a clip takes, and where the time goes: every precision in a process of its own, all taking turns at the same requests.

Taking turns, a busy machine disturbs all alike; a process of its own tells its memory.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from jasco_pl.generation.jasco import Jasco, Request
from jasco_pl.generation.saving import save_clip
from jasco_pl.network.flow.guidance import parse_guidance
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.system.device import Precision, pick_device, pick_dtype, precision_name
from jasco_pl.system.errors import UserError
from jasco_pl.system.memory import forget_peak, peak
from jasco_pl.system.processes import end_with_parent

STAGES = {"conditions": "text", "sample": "sampling", "decode": "decoding"}
"""Methods of `Jasco` that `generate` consists of -> what their time is called."""
STARTS = 3  # of the program and of the parts, each of which takes seconds


@dataclass(frozen=True)
class GenerateBench:
    """What is measured.

    Attributes:
        checkpoint: folder of a model.
        device: as for `Jasco.from_pretrained`.
        precisions: those to be compared with the first.
        batch_sizes: clips at once.
        seconds, guidance, solver: as for `Jasco.generate`.
        repeats: turns that count.
        warmup: turns before them; the first is told as `GenerateSpeed.first`.
        threads: of PyTorch on the CPU; None is its own choice.
        seed: of the first clip's noise.
    """

    checkpoint: str
    device: str = "auto"
    precisions: Sequence[Precision] = ("fp32", "bf16")
    batch_sizes: Sequence[int] = (1, 8)
    seconds: float | None = None
    guidance: str | None = None
    solver: SolverConfig = field(default_factory=SolverConfig)
    repeats: int = 5
    warmup: int = 1
    threads: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Lap:
    """One turn: seconds from the requests to the files, those of the process's CPU time, those of each stage; evaluations of the network,
    rows of each; seconds of music a clip; bytes at most."""

    whole: float
    computing: float
    stages: dict[str, float]
    evaluations: int
    rows: int
    music: float
    memory: int | None


class Spread(NamedTuple):
    """Of several turns."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class GenerateSpeed:
    """What came out for one precision and batch; seconds.

    Attributes:
        first: the first turn after loading, in which kernels are chosen, memory is allocated and CUDA graphs are captured.
        latency: from the requests to the files of the whole batch.
        stages: text, sampling, decoding, writing.
        ratio: how many times as fast as the first precision in the same round.
        computing: the batch in the process's CPU time, which other processes hardly disturb; nothing to go by on a GPU.
        computing_ratio: the ratio in that.
        load: of model, codec and text encoder.
        real_time: seconds of music made a second.
        memory: bytes: allocated on a GPU; on a CPU the process's peak.
    """

    precision: str
    batch_size: int
    rows: int
    evaluations: int
    first: float
    latency: Spread
    stages: dict[str, Spread]
    ratio: Spread
    computing: Spread
    computing_ratio: Spread
    load: Spread
    real_time: float
    memory: int | None


def start_seconds() -> Spread:
    """Of a Python that imports what `jasco generate` does."""
    command = [sys.executable, "-c", "import jasco_pl.commands.generate, jasco_pl.generation.jasco"]
    return Spread.of([_seconds(lambda: subprocess.run(command, check=True)) for _ in range(STARTS)])


def generate_speeds(bench: GenerateBench) -> list[GenerateSpeed]:
    """Measure every batch and precision.

    Raises:
        UserError: nothing to repeat, no clip, or what `Jasco.from_pretrained` and `generate` say.
    """
    if bench.repeats < 1 or bench.warmup < 1 or min(bench.batch_sizes) < 1:
        numbers = f"{bench.repeats}, {bench.warmup} and {min(bench.batch_sizes)}"
        raise UserError(f"at least one turn that counts, one to warm up and one clip a batch, not {numbers}.")
    device = pick_device(bench.device)
    names = list(dict.fromkeys(precision_name(pick_dtype(precision, device)) for precision in bench.precisions))
    laps: dict[tuple[str, int], list[Lap]] = {(name, size): [] for size in bench.batch_sizes for name in names}
    loads: dict[str, list[float]] = {name: [] for name in names}
    turns = bench.repeats + bench.warmup
    with ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=len(laps) * turns + len(names) * STARTS, desc="generating", unit="turn"))
        begin = partial(ProcessPoolExecutor, 1, get_context("spawn"), _begin, (bench.threads,))
        processes = {name: stack.enter_context(begin()) for name in names}
        for _ in range(STARTS):
            for name, process in processes.items():
                loads[name].append(process.submit(_load, bench, str(device), name).result())
                bar.update()
        for size in bench.batch_sizes:
            for turn in range(turns):
                for name, process in processes.items():
                    laps[name, size].append(process.submit(_turn, bench, size, turn).result())
                    bar.update()
    return [summary(name, size, found, laps[names[0], size], loads[name], bench.warmup) for (name, size), found in laps.items()]


def summary(name: str, size: int, laps: Sequence[Lap], compared: Sequence[Lap], loads: Sequence[float], warmup: int) -> GenerateSpeed:
    """The figures of the turns that count; `compared` are those of the first precision."""
    counted = laps[warmup:]
    rounds = list(zip(counted, compared[warmup:], strict=True))
    latency = Spread.of([lap.whole for lap in counted])
    memory = [lap.memory for lap in laps if lap.memory is not None]  # a CUDA graph allocates in the first alone
    return GenerateSpeed(
        precision=name,
        batch_size=size,
        rows=counted[0].rows,
        evaluations=max(lap.evaluations for lap in counted),
        first=laps[0].whole,
        latency=latency,
        stages={stage: Spread.of([lap.stages[stage] for lap in counted]) for stage in counted[0].stages},
        ratio=Spread.of([other.whole / lap.whole for lap, other in rounds]),
        computing=Spread.of([lap.computing for lap in counted]),
        computing_ratio=Spread.of([other.computing / lap.computing for lap, other in rounds]),
        load=Spread.of(loads),
        real_time=size * counted[0].music / latency.median,
        memory=max(memory, default=None),
    )


def _seconds(task: Callable[[], Any]) -> float:
    began = time.perf_counter()
    task()
    return time.perf_counter() - began


_loaded: list[Jasco] = []  # one, in the process of its precision


def _begin(threads: int | None) -> None:
    end_with_parent()
    if threads:
        torch.set_num_threads(threads)


def _load(bench: GenerateBench, device: str, precision: Precision) -> float:
    _loaded.clear()
    return _seconds(lambda: _loaded.append(Jasco.from_pretrained(bench.checkpoint, device, precision)))


def _turn(bench: GenerateBench, size: int, turn: int) -> Lap:
    (jasco,) = _loaded
    return lap(jasco, bench, size, turn)


def lap(jasco: Jasco, bench: GenerateBench, size: int, turn: int) -> Lap:
    """Make and write a batch. Every turn has captions of its own, since the states of a known one are kept."""
    stages = dict.fromkeys([*STAGES.values(), "writing"], 0.0)

    def waited() -> None:
        if jasco.device.type == "cuda":
            torch.cuda.synchronize(jasco.device)

    def timed(name: str, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        result = method(*args, **options)
        waited()
        stages[name] += time.perf_counter() - began
        return result

    chords = {"chords": "C | G | Am | F", "bpm": 96} if "chords" in jasco.model.controls else {}
    requests = [
        Request(f"calm pop ballad with piano and strings, take {turn * size + item}", seed=bench.seed + item, **chords)
        for item in range(size)
    ]
    for method, name in STAGES.items():
        setattr(jasco, method, partial(timed, name, getattr(jasco, method)))
    try:
        with tempfile.TemporaryDirectory() as folder:
            forget_peak(jasco.device)
            waited()
            began, computed = time.perf_counter(), time.process_time()
            clips = jasco.generate(requests, bench.seconds, bench.guidance, bench.solver, at_once=len(requests))
            for number, clip in enumerate(clips):
                timed("writing", save_clip, clip, Path(folder) / f"{number}.wav", {"seed": clip.request.seed})
            whole, computing = time.perf_counter() - began, time.process_time() - computed
    finally:
        for method in STAGES:
            delattr(jasco, method)
    guidance = parse_guidance(bench.guidance or jasco.model.config.guidance, jasco.model.controls.names)
    music = clips[0].audio.shape[-1] / clips[0].sample_rate
    return Lap(whole, computing, stages, clips[0].evaluations, len(guidance.terms) * size, music, peak(jasco.device))
