"""What keeps a run whole: steps that would spoil the weights are left out, a training that is asked to stop saves first, and so does one
that comes to its end; a training of several processes ends when one of them is lost, instead of waiting for it.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import lightning
import torch
import torch.distributed
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor
from torch.distributed import PrefixStore, Store, TCPStore
from torch.distributed.tensor import DTensor
from tqdm import tqdm

from jasco_pl.system.errors import UserError
from jasco_pl.system.intervals import require
from jasco_pl.training.whole_step import Taken

T = TypeVar("T")
SHOWN_IDS = 8
ENOUGH = 20  # norms that a median has to rest on


def gradient_norm(module: lightning.LightningModule) -> Tensor:
    """Norm of all gradients together, the same on every process."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def gathered(trainer: lightning.Trainer, items: list[T]) -> list[T]:
    """What all processes have, in all processes."""
    if trainer.world_size == 1:
        return items
    parts: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(parts, items)
    return [item for part in parts for item in part]


class GradientGuard(Callback):
    """Logs the gradient norm before clipping; leaves out a step whose loss or gradient norm is not finite, on all processes together.

    Weights and optimiser stay as they were, the schedule goes on. Every step left out is one line with its number and the samples, and
    `train/skipped` counts them.

    Args:
        spike: leave out steps, too, whose norm is more than so many times the median of the last `window` norms; null: never.
        window: how many steps the median looks back.
        give_up_after: that many steps left out in a row end the training.
    """

    def __init__(self, spike: float | None = None, window: int = 200, give_up_after: int = 20) -> None:
        require("(1, inf)", spike__of__the__guard=spike)
        require(f"[{ENOUGH}, 1e6]", window__of__the__guard=window)
        require("[1, inf)", give_up_after=give_up_after)
        self.spike, self.give_up_after = spike, give_up_after
        self.norms: deque[float] = deque(maxlen=window)
        self.skipped, self.in_a_row = 0, 0
        self._ids: list[str] = []
        self._losses: list[Tensor] = []
        self._unread: list[tuple[int, list[str], Tensor, Tensor]] = []

    def on_train_batch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule, batch: Any, batch_idx: int) -> None:
        """Remember whose losses these are; of all parts of an accumulated step."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._ids, self._losses = [], []
        self._ids += batch["id"]

    def on_before_backward(self, trainer: lightning.Trainer, module: lightning.LightningModule, loss: Tensor) -> None:
        """Remember the losses of the part's samples; looked at once a step, because looking waits for the device."""
        self._losses.append(module.last_losses)  # type: ignore[arg-type]

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Gradients are complete and unclipped here."""
        if module.whole_step is not None:
            self._remember(trainer, module.whole_step.taken)  # type: ignore[union-attr,arg-type]
            return
        norm = gradient_norm(module)
        losses = torch.cat(self._losses)
        usual = statistics.median(self.norms) if self.spike is not None and len(self.norms) >= ENOUGH else None
        limit = usual * self.spike if usual is not None and self.spike is not None else float("inf")
        flags = torch.stack([~losses.isfinite().all(), ~norm.isfinite(), norm > limit]).float()
        bad_loss, bad_norm, spiked, size = torch.cat([trainer.strategy.reduce(flags, reduce_op="sum"), norm[None].float()]).tolist()
        due = (trainer.global_step + 1) % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]  # else it costs, and is not written
        if due:
            module.log("train/grad_norm", norm, batch_size=1)
        if not (bad_loss or bad_norm or spiked):
            self._count(size)
            module.gradient_norm = norm  # type: ignore[assignment]  # clipping needs it again
        else:
            for parameter in module.parameters():
                parameter.grad = None  # an optimiser passes over parameters without gradient, and leaves their state alone
            reason = "the loss is not finite" if bad_loss else "the gradient norm is not finite"
            if not (bad_loss or bad_norm):
                reason = f"the gradient norm {size:.3g} is {size / (usual or 1):.0f} times the median of the last {len(self.norms)}"
            self._left_out(trainer, reason, losses if bad_loss else None, trainer.global_step + 1)
        if due:
            module.log("train/skipped", float(self.skipped), batch_size=1)

    def _remember(self, trainer: lightning.Trainer, taken: Taken) -> None:
        """A step that was taken whole has left itself out where it was bad; what it says is read when figures are due, or might end it."""
        self._unread.append((trainer.global_step + 1, self._ids, torch.stack([taken.bad, taken.norm]), taken.losses.clone()))
        due = (trainer.global_step + 1) % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
        if due or len(self._unread) >= self.give_up_after:  # by then they may be enough to end the training
            self._read(trainer)
        if due:
            trainer.lightning_module.log("train/grad_norm", taken.norm.clone(), batch_size=1)
            trainer.lightning_module.log("train/skipped", float(self.skipped), batch_size=1)

    def _read(self, trainer: lightning.Trainer) -> None:
        unread, self._unread = self._unread, []
        if not unread:
            return
        for (step, ids, _, losses), (bad, norm) in zip(unread, torch.stack([one[2] for one in unread]).tolist(), strict=True):
            if not bad:
                self._count(norm)
                continue
            self._ids = ids
            finite = bool(losses.isfinite().all())
            reason = "the gradient norm is not finite" if finite else "the loss is not finite"
            self._left_out(trainer, reason, None if finite else losses, step)

    def on_save_checkpoint(self, trainer: lightning.Trainer, module: lightning.LightningModule, checkpoint: dict[str, Any]) -> None:
        """What is saved knows of every step; Lightning has asked for the state before."""
        self._read(trainer)
        checkpoint["callbacks"][self.state_key] = self.state_dict()

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Nothing stays untold."""
        self._read(trainer)

    def _count(self, norm: float) -> None:
        """A step that was taken."""
        self.norms.append(norm)
        self.in_a_row = 0

    def _left_out(self, trainer: lightning.Trainer, reason: str, losses: Tensor | None, step: int) -> None:
        self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
        ids = self._ids if losses is None else [name for name, loss in zip(self._ids, losses.tolist(), strict=True) if not _finite(loss)]
        names = gathered(trainer, ids)
        if trainer.is_global_zero:
            tqdm.write(f"step {step} is left out: {reason}; samples: {listed(names)} ({self.skipped} steps so far).", file=sys.stderr)
        if self.in_a_row >= self.give_up_after:
            if not trainer.is_global_zero:
                raise SystemExit(2)  # one sentence is enough
            raise UserError(
                f"{self.in_a_row} steps in a row had to be left out, the last one, {step}, because {reason}; the weights are those of step "
                f"{step - self.in_a_row}: lower model.lr, or look at the samples named above."
            )

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to judge as this one would."""
        return {"norms": list(self.norms), "skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.norms.extend(state["norms"])
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]


def listed(names: Sequence[str]) -> str:
    """Some of them, and how many more there are."""
    return ", ".join(names[:SHOWN_IDS]) + (f" and {len(names) - SHOWN_IDS} more" if len(names) > SHOWN_IDS else "")


def _finite(value: float) -> bool:
    return abs(value) < float("inf")


REQUEUE = 75  # EX_TEMPFAIL; conf/slurm/train.sbatch queues the job again on it


def save_last(trainer: lightning.Trainer) -> Path | None:
    """Save where the same command goes on from, in all processes; None without a ModelCheckpoint."""
    saver = trainer.checkpoint_callback
    if not isinstance(saver, ModelCheckpoint) or not saver.dirpath:
        return None
    path = Path(saver.dirpath) / f"{saver.CHECKPOINT_NAME_LAST}{saver.FILE_EXTENSION}"
    trainer.save_checkpoint(path)
    return path


class Stopped(SystemExit):
    """The training was asked to stop and has saved; carries the exit code."""


class StopSignals(Callback):
    """On SIGTERM, SIGUSR1 or Ctrl-C to any process: finish the step, save as `last`, end all processes; the same command goes on from
    there. A second Ctrl-C ends this one at once and saves nothing.

    After the step `max_steps` it saves as well: a run whose end is no multiple of the interval between checkpoints keeps its end.

    Exit code 143 after SIGTERM (128 + 15, as for a process that dies of it), 130 after Ctrl-C, 75 after SIGUSR1, which a SLURM job is sent
    before its time is up: the batch script queues the job again. Lightning's own handlers are put out of force: they save nothing on
    SIGTERM, and use the process group from inside a signal handler.
    """

    def __init__(self) -> None:
        self._received = 0
        self._before: Any = None

    def setup(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        """From here on SIGUSR1 does not kill."""
        if stage == "fit" and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGUSR1, self._receive)

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Lightning has set its handlers by now."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGUSR1, signal.SIGTERM):
                signal.signal(number, self._receive)
            self._before = signal.signal(signal.SIGINT, self._interrupt)

    def teardown(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        """Ctrl-C means again what it did."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = number

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._received = number
        os.write(2, b"\nCtrl-C: this step is finished, then saved; a second Ctrl-C ends at once and saves nothing.\n")

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Between two steps everybody can save and stop."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        received = self._received
        if trainer.world_size > 1:  # a signal to one is a signal to all
            flag = torch.tensor(float(received), device=trainer.strategy.root_device)
            received = int(trainer.strategy.reduce(flag, reduce_op="max"))
        if not received:
            if trainer.global_step == trainer.max_steps or trainer.should_stop:  # the last steps too, whatever the interval of checkpoints
                save_last(trainer)
            return
        path = save_last(trainer)
        saved = f"{path} is saved, the same command goes on from it" if path else "nothing was saved, because there is no ModelCheckpoint"
        if trainer.is_global_zero:
            name = signal.Signals(received).name
            tqdm.write(f"stopped by {name} after step {trainer.global_step}: {saved}.", file=sys.stderr)
        raise Stopped(REQUEUE if received == signal.SIGUSR1 else 128 + received)


LOST = 70  # exit code, EX_SOFTWARE
BROKEN_CONNECTION = re.compile(r"closed by peer|reset by peer|Broken pipe|Connection refused|remote process exited|[Tt]imed out|NCCL")
GO_ON = "the same command goes on from the last checkpoint"


class Heartbeat(Callback):
    """Every process shows now and then that it lives; those left behind say who is missing, and end.

    A collective operation that waits for a lost process ends at once with gloo, after half an hour with NCCL's default, and nobody says
    who is missing. Rank 0 watches all, the others watch rank 0, through the store that the process group met at.

    Args:
        every: seconds between two signs of life.
        patience: seconds without one after which a process counts as lost.
    """

    def __init__(self, every: float = 5.0, patience: float = 40.0) -> None:
        require(f"(0, {patience})", every__of__the__heartbeat=every)
        self.every, self.patience = every, patience
        self._ended = threading.Event()

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Begin; a training of one process has nobody to watch."""
        if trainer.world_size == 1 or "MASTER_PORT" not in os.environ:
            return
        self._ended.clear()
        threading.Thread(target=self._watch, args=(trainer.global_rank, trainer.world_size), daemon=True).start()

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Stop watching: the others may end sooner or later than this one."""
        self._ended.set()

    def on_exception(self, trainer: lightning.Trainer, module: lightning.LightningModule, exception: BaseException) -> None:
        """This process speaks for itself."""
        self._ended.set()

    def _watch(self, rank: int, world: int) -> None:
        try:
            store = self._store()
            store.set(f"where/{rank}", f"process {rank} of {world} (pid {os.getpid()} on {socket.gethostname()})")
            store.add(f"beat/{rank}", 1)  # from here on it can be lost
        except Exception:
            return  # the process group itself will speak up
        seen = dict.fromkeys(range(1, world) if rank == 0 else [0], (-1, time.monotonic()))
        while not self._ended.wait(self.every):
            lost = self._look(store, rank, seen)
            if lost is None:
                continue
            who = _where(store, lost, world)
            if rank == 0:
                store.add("lost", lost + 1)
            if self._ended.wait(self.every):  # it ended of itself meanwhile
                return
            print(f"\njasco fit: {who} has not been heard of for {self.patience:g} s; this one ends, {GO_ON}.", file=sys.stderr, flush=True)
            os._exit(LOST)  # the main thread may wait for the lost one for ever

    def _store(self) -> Store:
        """A connection of our own: that of the process group serves one request at a time, and those may wait."""
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(address, port, is_master=False, timeout=timedelta(seconds=self.patience))
        return PrefixStore(f"heartbeat/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)

    def _look(self, store: Store, rank: int, seen: dict[int, tuple[int, float]]) -> int | None:
        """Give a sign of life, and look at those of the others; the rank that is lost, or None."""
        now = time.monotonic()
        try:
            store.add(f"beat/{rank}", 1)
            if rank != 0 and (lost := store.add("lost", 0)):
                return lost - 1
            for other, (count, _) in list(seen.items()):
                if (current := store.add(f"beat/{other}", 0)) != count:
                    seen[other] = (current, now)
        except Exception:  # the store's own process is gone; the times of the last signs stand
            pass
        # one that has given none yet may be validating before the first step
        return next((other for other, (count, when) in seen.items() if count > 0 and now - when > self.patience), None)


def _where(store: Store, rank: int, world: int) -> str:
    try:
        return store.get(f"where/{rank}").decode() if store.check([f"where/{rank}"]) else f"process {rank} of {world}"
    except Exception:
        return f"process {rank} of {world}"


def lost_contact(error: Exception) -> UserError | None:
    """The sentence for an error that means that another process of the training is gone, None for any other error."""
    text = str(error)
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return None
    if not isinstance(error, RuntimeError) or not BROKEN_CONNECTION.search(text):
        return None
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    first = re.sub(r"^\[[^\]]*\] *", "", text.strip().splitlines()[0]).split(". ")[0].rstrip(".")  # without place in the source and advice
    return UserError(f"process {rank} of {world} ends because another one has ended or cannot be reached ({first}); {GO_ON}.")
