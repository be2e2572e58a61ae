"""What the steps of `jasco fit` spend their time on, by kind of kernel: PyTorch's profiler around Lightning's own loop."""

from __future__ import annotations

import bisect
import contextlib
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function, schedule
from tqdm import tqdm

from jasco_pl.studies import kernels
from jasco_pl.studies.bench_training import TrainBench, unstarted
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path
from jasco_pl.training.flops import TEXT_TOKENS, TRAINING, flops_per_sample, peak_flops

FORWARD, BACKWARD, UPDATE, BETWEEN = "forward", "backward", "update", "between"
OPTIMISER, DATA, REST = "clipping, optimiser, average", "data, logging", "no kernel"
KINDS = (*kernels.KINDS, OPTIMISER, DATA, REST)
MARK = "jasco: "
LONGEST = 12

Shares = dict[tuple[str, str], float]
Calls = dict[tuple[str, int, int], float]
Longest = list[tuple[str, str, float, float]]


class Work(NamedTuple):
    """A kernel, or on a CPU an operation without those that it consists of.

    Attributes:
        name: its own.
        kind: one of `KINDS`.
        phase: forward, backward, update or between.
        seconds: it took.
    """

    name: str
    kind: str
    phase: str
    seconds: float


@dataclass
class Profile:
    """Where the time of a step went; seconds a step.

    Attributes:
        precision, batch_size: of the training.
        flops: of a step, counted as `jasco bench train` does.
        mfu: share of the device's data sheet that this is, None where that is unknown.
        wall: a step's, the profiler's own work included.
        shares: (kind, phase) -> seconds: of the GPU, or of the CPU's main thread. `REST` is what is left: Python, launching, waiting.
        attention: (implementation, queries, keys) -> calls a step; lengths are 0 where the profiler does not tell them.
        longest: (name, kind, seconds, calls) of what took longest.
    """

    precision: str
    batch_size: int
    flops: float
    mfu: float | None
    wall: float
    shares: Shares
    attention: Calls
    longest: Longest

    def of(self, kind: str, *phases: str) -> float:
        """Seconds of a kind, in these phases or in all."""
        return sum(seconds for (other, phase), seconds in self.shares.items() if other == kind and (not phases or phase in phases))


def profile_training(bench: TrainBench, steps: int, trace: Path | None = None) -> Profile:
    """Profile some steps, after `bench.warmup` others and one for the profiler to begin.

    Kernels are launched one by one (`model.graph` false): a graph runs the same kernels and does not say what they are for.

    Args:
        bench: the setting; its turns mean nothing here.
        steps: that are profiled.
        trace: file for Chrome's tracing page or Perfetto; .json, or .json.gz, which is smaller.

    Raises:
        UserError: a configuration or its data cannot be used, or the file cannot be written.
    """
    if steps < 1 or bench.warmup < 1:
        raise UserError(f"at least one step and one to warm up are profiled, not {steps} and {bench.warmup}.")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        target = stack.enter_context(atomic_path(trace)) if trace else None
        cli = unstarted(bench, folder, bench.warmup + 1 + steps, "--model.graph", "false")
        trainer = cli.trainer
        if trainer.world_size > 1:
            raise UserError(f"one device is profiled, not {trainer.world_size}: --trainer.devices 1.")
        with tqdm(total=bench.warmup + 1 + steps, desc="profiling", unit="step") as bar:
            profiled = Profiled(bench.warmup, steps, target, bar)
            given = trainer.callbacks  # type: ignore[attr-defined]
            kept = [callback for callback in given if not isinstance(callback, Checkpoint)]
            trainer.callbacks = [*kept, profiled]  # type: ignore[attr-defined]
            trainer.fit(cli.model, datamodule=cli.datamodule)
    device, precision = trainer.strategy.root_device, str(trainer.precision)
    config, data = cli.model.config, cli.datamodule
    flops = TRAINING * flops_per_sample(config, round(data.seconds * config.frame_rate), TEXT_TOKENS) * data.batch_size
    peak = peak_flops(device, precision == "bf16-mixed")
    mfu = flops * steps / profiled.wall / peak if peak is not None else None
    found = summarised(profiled.events, profiled.wall, steps, device.type == "cuda")
    return Profile(precision, data.batch_size, flops, mfu, profiled.wall / steps, *found)


class Profiled(Callback):
    """Turns the profiler on for some steps and marks what part of a step is running.

    Args:
        wait: steps before the one in which the profiler begins.
        steps: that count.
        trace: file for the trace, or None.
        bar: of the progress.
    """

    def __init__(self, wait: int, steps: int, trace: Path | None, bar: tqdm[Any]) -> None:
        self.wait, self.steps, self.trace, self.bar = wait, steps, trace, bar
        self.events: list[Any] = []
        self.wall = 0.0
        self._done = 0
        self._profiler: profile | None = None

    def on_train_batch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule, batch: Any, batch_idx: int) -> None:
        """The forward pass begins."""
        self._mark(FORWARD)

    def on_before_backward(self, trainer: lightning.Trainer, module: lightning.LightningModule, loss: Tensor) -> None:
        """The backward pass begins."""
        self._mark(BACKWARD)

    def on_after_backward(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Gradients are there."""
        self._mark(UPDATE)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Begin, count or end."""
        self._mark(BETWEEN)
        self._done += 1
        self.bar.update()
        counted = self._done - self.wait - 1
        if counted < -1:
            return
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()
        if counted == -1:
            self._begin(trainer.strategy.root_device.type)
        elif counted == 0:
            self._stepped()
            self.wall = time.perf_counter()
        elif counted == self.steps:
            self.wall = time.perf_counter() - self.wall
            self._end()
        else:
            self._stepped()

    def _mark(self, phase: str) -> None:
        if self._profiler is not None:
            with record_function(MARK + phase):
                pass

    def _begin(self, device: str) -> None:
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
        times = schedule(wait=0, warmup=1, active=self.steps, repeat=1)
        self._profiler = profile(activities=activities, schedule=times, record_shapes=True)
        self._profiler.start()

    def _stepped(self) -> None:
        assert self._profiler is not None
        self._profiler.step()

    def _end(self) -> None:
        assert self._profiler is not None
        self._profiler.step()
        self.events = list(self._profiler.events() or [])
        if self.trace is not None:
            self._profiler.export_chrome_trace(str(self.trace))
        self._profiler.stop()
        self._profiler = None


def summarised(events: list[Any], wall: float, steps: int, cuda: bool) -> tuple[Shares, Calls, Longest]:
    """`shares`, `attention` and `longest` of a `Profile`, from the profiler's events of some steps that took `wall` seconds."""
    shares: defaultdict[tuple[str, str], float] = defaultdict(float)
    by_name: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for work in found_work(events, cuda):
        shares[work.kind, work.phase] += work.seconds / steps
        by_name[work.name, work.kind].append(work.seconds)
    shares[REST, BETWEEN] = max(0.0, wall / steps - sum(shares.values()))
    longest = sorted(((*which, sum(times) / steps, len(times) / steps) for which, times in by_name.items()), key=lambda one: -one[2])
    calls = {which: count / steps for which, count in attention_calls(events).items()}
    return dict(shares), calls, longest[:LONGEST]


def found_work(events: Iterable[Any], cuda: bool) -> Iterator[Work]:
    """The kernels that operations launched on a GPU; or the operations of the CPU, each without those inside of it."""
    here = [event for event in events if event.device_type == DeviceType.CPU and not event.is_async]
    marks = sorted((event.time_range.start, event.name.removeprefix(MARK)) for event in here if event.name.startswith(MARK))
    starts = [start for start, _ in marks]
    for event in here:
        place = bisect.bisect_right(starts, event.time_range.start) - 1
        phase = marks[place][1] if place >= 0 else BETWEEN
        names = list(_names(event))
        if cuda:
            for kernel in event.kernels:
                if kernel.name != event.name or not event.is_user_annotation:  # else it is the annotation's shadow
                    yield Work(kernel.name, _kind(kernels.kind_of_kernel(kernel.name, names), phase), phase, kernel.duration / 1e6)
        elif (kind := kernels.kind_of_operation(names)) is not None:
            yield Work(event.name, _kind(kind, phase), phase, event.self_cpu_time_total / 1e6)


def _kind(kind: str, phase: str) -> str:
    return {UPDATE: OPTIMISER, BETWEEN: DATA}.get(phase, kind)


def _names(event: Any) -> Iterator[str]:
    """Of an operation and of those around it."""
    while event is not None:
        yield event.name
        event = event.cpu_parent


def attention_calls(events: Iterable[Any]) -> Counter[tuple[str, int, int]]:
    """How often which implementation of attention's forward pass ran, by the lengths of queries and keys."""
    calls: Counter[tuple[str, int, int]] = Counter()
    for event in events:
        which = kernels.attention_of(event.name)
        if which is None or event.device_type != DeviceType.CPU or any(map(kernels.attention_of, list(_names(event))[1:])):
            continue
        lengths = [shape[-2] if len(shape) == 4 else 0 for shape in (event.input_shapes or [])[:2]]
        queries, keys = lengths if len(lengths) == 2 else (0, 0)
        calls[which, queries, keys] += 1
    return calls
