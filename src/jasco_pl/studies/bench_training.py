"""What training costs a step, and what of that is the framework's: Lightning's loop and a plain one take turns in one run.

Both train the same network on the same samples with the same loss, clipping, Adam, schedule and weight average. What Lightning's loop does
besides (hooks, logging, the guard, the speedometer) is its price. Taking turns step by step, a busy machine disturbs both alike.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from tqdm import tqdm

from jasco_pl.data.datamodule import ShardDataModule
from jasco_pl.data.schema import Batch
from jasco_pl.metrics.report import bootstrap_interval
from jasco_pl.system.errors import UserError
from jasco_pl.system.memory import forget_peak, peak
from jasco_pl.training.cli import Unstarted, quiet
from jasco_pl.training.ema import WeightAverage
from jasco_pl.training.flops import TEXT_TOKENS, TRAINING, flops_per_sample, peak_flops
from jasco_pl.training.module import JascoModule

PRECISIONS = ("32-true", "bf16-mixed")


@dataclass(frozen=True)
class TrainBench:
    """What is measured.

    Attributes:
        arguments: of `jasco fit`: configurations and overrides.
        compiled: whether layers are compiled, in both loops.
        precision: of both loops; None is the configuration's.
        batch_size: None is the configuration's.
        turns: how often either loop has its turn.
        steps: of a turn; above 1 on a GPU, where the end of a turn waits for the device.
        warmup: turns before those that count.
        resident: whether the data lie in memory, for both loops; None is the configuration's.
    """

    arguments: Sequence[str]
    compiled: bool = False
    precision: str | None = None
    batch_size: int | None = None
    turns: int = 20
    steps: int = 1
    warmup: int = 3
    resident: bool | None = None


@dataclass
class Laps:
    """Seconds of every turn, those of the process's CPU time, those spent waiting for data; the most memory that a GPU held meanwhile
    without what the plain loop keeps."""

    seconds: list[float] = field(default_factory=list)
    computing: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    memory: int = 0


@dataclass(frozen=True)
class TrainSpeed:
    """What came out. Seconds are the median step's.

    Attributes:
        price: median over turns of ours / plain - 1, then its 95 % interval.
        computing_price: the same in the process's CPU time, which other processes hardly disturb; None on a GPU, where it means little.
        computing: seconds of the process's CPU time, without loader processes; None on a GPU.
        memory: bytes. On a GPU, allocated by Lightning's loop; on a CPU, the peak of the process, with both loops and the text encoder.
        mfu: share of the device's data sheet, None where that is unknown.
    """

    compiled: bool
    precision: str
    batch_size: int
    step: float
    plain: float
    price: tuple[float, float, float]
    computing_price: tuple[float, float, float] | None
    samples_per_second: float
    flops: float
    mfu: float | None
    computing: float | None
    memory: int | None
    wait: float


class PlainLoop:
    """Training without a framework.

    Args:
        module: a module of its own, of which nothing but model, loss and optimiser is used.
        data: where the batches come from.
        device: where it runs.
        precision: one of `PRECISIONS`.
        clip: largest norm of the gradients, or None.
    """

    def __init__(self, module: JascoModule, data: ShardDataModule, device: torch.device, precision: str, clip: float | None) -> None:
        self.module, self.device, self.clip = module.to(device).train(), device, clip
        module.model.transformer.speed_up(module.compiled, module.checkpointing)
        configured = module.configure_optimizers()
        self.optimizer, self.scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
        self.average = WeightAverage(module.model, module.ema_decay) if module.ema_decay else None
        self.half = precision == "bf16-mixed"
        self._batches = self._read(data)

    def _read(self, data: ShardDataModule) -> Iterator[Batch]:
        """Begins with the first step: by then the data module knows its trainer, as Lightning's loop has it."""
        loader = data.train_dataloader()
        while True:
            yield from loader

    def step(self) -> float:
        """One step; returns how long it waited for its batch, in seconds."""
        began = time.perf_counter()
        batch = next(self._batches)
        waited = time.perf_counter() - began
        moved = {key: value.to(self.device, non_blocking=True) if torch.is_tensor(value) else value for key, value in batch.items()}
        with torch.autocast(self.device.type, torch.bfloat16) if self.half else contextlib.nullcontext():
            loss, *_ = self.module.weighted_loss(moved, self.module.condition_dropout)
        self.optimizer.zero_grad()
        loss.backward()
        if self.clip:
            torch.nn.utils.clip_grad_norm_(self.module.model.parameters(), self.clip)
        self.optimizer.step()
        self.scheduler.step()
        if self.average is not None:
            self.average.update()
        return waited

    def held(self) -> int:
        """Bytes of weights, gradients, optimiser and average."""
        state = [value for values in self.optimizer.state.values() for value in values.values() if torch.is_tensor(value)]
        average = list(self.average.average.values()) if self.average is not None else []
        parameters = list(self.module.parameters())
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        return sum(tensor.nbytes for tensor in [*parameters, *self.module.buffers(), *gradients, *state, *average])


class TakeTurns(Callback):
    """Gives the plain loop its turn after each of Lightning's, and times both.

    A turn of Lightning's lasts from the end of the plain one to this callback: with what Lightning does between its steps.
    """

    def __init__(self, plain: PlainLoop, bench: TrainBench, bar: tqdm[Any]) -> None:
        self.plain, self.bench, self.bar = plain, bench, bar
        self.ours, self.theirs = Laps(), Laps()
        self._began = self._ended = self._computed = self._waited = 0.0

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """The clock of the first turn; by then the module has chosen what computes its layers."""
        self.plain.module.model.transformer.compute_by(*module.model.transformer.implementations)  # type: ignore[union-attr,operator,misc]
        self._turn_begins()

    def on_train_batch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule, batch: Any, batch_idx: int) -> None:
        """Data has arrived."""
        self._waited += time.perf_counter() - self._ended

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After the last step of a turn, the plain loop's."""
        if trainer.global_step % self.bench.steps:
            self._ended = time.perf_counter()
            return
        self._turn_ends(self.ours, self._waited)
        self._turn_begins()
        waited = sum(self.plain.step() for _ in range(self.bench.steps))
        self._turn_ends(self.theirs, waited)
        self.bar.update()
        self._turn_begins()

    def _turn_begins(self) -> None:
        if self.plain.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self._waited = 0.0
        self._computed = time.process_time()
        self._began = self._ended = time.perf_counter()

    def _turn_ends(self, laps: Laps, waited: float) -> None:
        if self.plain.device.type == "cuda":
            torch.cuda.synchronize()
            # turn by turn: a graph allocates in its first alone, before the plain loop has gradients
            laps.memory = max(laps.memory, torch.cuda.max_memory_allocated() - self.plain.held())
        laps.seconds.append(time.perf_counter() - self._began)
        laps.computing.append(time.process_time() - self._computed)
        laps.waited.append(waited)


def train_speed(bench: TrainBench) -> TrainSpeed:
    """Measure one setting.

    Raises:
        UserError: a configuration or its data cannot be used; several processes; another precision than `PRECISIONS`.
    """
    if bench.turns < 2 or bench.steps < 1 or bench.warmup < 1:
        raise UserError(f"at least two turns of one step and one to warm up, not {bench.turns}, {bench.steps} and {bench.warmup}.")
    gc.collect()  # trainer and module know each other: until then the graph of the setting before keeps its memory
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        cli = unstarted(bench, folder, (bench.turns + bench.warmup) * bench.steps)
        trainer, module, precision = cli.trainer, cli.model, str(cli.trainer.precision)
        if trainer.world_size > 1:
            raise UserError(f"one device is measured, not {trainer.world_size}: --trainer.devices 1.")
        if precision not in PRECISIONS:
            raise UserError(f"the plain loop knows the precisions {', '.join(PRECISIONS)}, not {precision!r}.")
        device = trainer.strategy.root_device
        forget_peak(device)
        plain = PlainLoop(copy.deepcopy(module), cli.datamodule, device, precision, trainer.gradient_clip_val)
        given = trainer.callbacks  # type: ignore[attr-defined]
        kept = [callback for callback in given if not isinstance(callback, Checkpoint)]
        with tqdm(total=bench.turns + bench.warmup, desc="training", unit="turn") as bar:
            turns = TakeTurns(plain, bench, bar)
            trainer.callbacks = [*kept, turns]  # type: ignore[attr-defined]
            trainer.fit(module, datamodule=cli.datamodule)
    frames = round(cli.datamodule.seconds * module.config.frame_rate)
    flops = TRAINING * flops_per_sample(module.config, frames, TEXT_TOKENS) * cli.datamodule.batch_size
    memory = turns.ours.memory if device.type == "cuda" else peak(device)
    return summary(bench, precision, cli.datamodule.batch_size, turns, flops, peak_flops(device, precision == "bf16-mixed"), memory)


def summary(
    bench: TrainBench, precision: str, batch_size: int, turns: TakeTurns, flops: int, peak: float | None, memory: int | None
) -> TrainSpeed:
    """The figures of the turns that count; `flops` are those of a step."""
    ours, theirs, computing, computing_plain = (
        np.array(laps[bench.warmup :]) / bench.steps
        for laps in (turns.ours.seconds, turns.theirs.seconds, turns.ours.computing, turns.theirs.computing)
    )
    step = float(np.median(ours))
    return TrainSpeed(
        compiled=bench.compiled,
        precision=precision,
        batch_size=batch_size,
        step=step,
        plain=float(np.median(theirs)),
        price=_price(ours, theirs),
        computing_price=_price(computing, computing_plain) if turns.plain.device.type == "cpu" else None,
        computing=float(np.median(computing)) if turns.plain.device.type == "cpu" else None,
        samples_per_second=batch_size / step,
        flops=flops / step,
        mfu=flops / step / peak if peak is not None else None,
        memory=memory,
        wait=sum(turns.ours.waited[bench.warmup :]) / sum(turns.ours.seconds[bench.warmup :]),
    )


def _price(ours: np.ndarray, plain: np.ndarray) -> tuple[float, float, float]:
    low, high = bootstrap_interval(ours / plain, statistic=np.median)
    return float(np.median(ours / plain)) - 1, low - 1, high - 1


def unstarted(bench: TrainBench, folder: str, steps: int, *more: str) -> Unstarted:
    """A training of so many steps with a bench's settings and further overrides, that writes into `folder`."""
    quiet()
    settings = {
        "--ckpt_path": "null",
        "--trainer.default_root_dir": folder,
        "--trainer.logger.init_args.save_dir": folder,
        "--trainer.max_steps": str(steps),
        "--trainer.limit_val_batches": "0",
        "--trainer.accumulate_grad_batches": "1",
        "--trainer.enable_progress_bar": "false",
        "--data.grow": "false",
        "--model.compile": str(bench.compiled).lower(),
    }
    if bench.precision is not None:
        settings["--trainer.precision"] = bench.precision
    if bench.resident is not None:
        settings["--data.resident"] = str(bench.resident).lower()
    if bench.batch_size is not None:
        settings["--data.batch_size"] = str(bench.batch_size)
    return Unstarted("jasco bench train", [*bench.arguments, *(word for pair in settings.items() for word in pair), *more])
