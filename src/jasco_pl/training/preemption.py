"""A training that is asked to stop saves first, and so does one that comes to its end."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from tqdm import tqdm

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
    """On SIGTERM or SIGUSR1 to any process: finish the step, save as `last`, end all processes; the same command goes on from there.

    After the step `max_steps` it saves as well: a run whose end is no multiple of the interval between checkpoints keeps its end.

    Exit code 143 after SIGTERM (128 + 15, as for a process that dies of it), 75 after SIGUSR1, which a SLURM job is sent before its time
    is up: the batch script queues the job again. Lightning's own handlers are put out of force: they save nothing on SIGTERM, and use the
    process group from inside a signal handler.
    """

    def __init__(self) -> None:
        self._received = 0

    def setup(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        """From here on SIGUSR1 does not kill."""
        if stage == "fit" and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGUSR1, self._receive)

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Lightning has set its handlers by now."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGUSR1, signal.SIGTERM):
                signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = number

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
            if trainer.global_step == trainer.max_steps:  # the last steps too, whatever the interval between checkpoints
                save_last(trainer)
            return
        path = save_last(trainer)
        saved = f"{path} is saved, the same command goes on from it" if path else "nothing was saved, because there is no ModelCheckpoint"
        if trainer.is_global_zero:
            name = signal.Signals(received).name
            tqdm.write(f"stopped by {name} after step {trainer.global_step}: {saved}.", file=sys.stderr)
        raise Stopped(REQUEUE if received == signal.SIGUSR1 else 128 + received)
