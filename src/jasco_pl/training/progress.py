"""One line that says how far a training is: steps of all steps, loss, samples a second."""

from __future__ import annotations

import sys
from typing import Any

import lightning
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

SHOWN = {"train/loss": "loss", "valid/loss": "valid", "speed/samples_per_s": "samples/s"}


class StepBar(ProgressBar):
    """Counts optimiser steps up to `max_steps`, across epochs and resumption; Lightning's own bars count batches of an epoch."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._bar: tqdm[Any] | None = None

    def disable(self) -> None:
        """Show nothing (ranks other than 0)."""
        self._enabled = False

    def enable(self) -> None:
        """Show the bar again."""
        self._enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Write a line above the bar."""
        tqdm.write(" ".join(map(str, args)))

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Open the bar at the step that the run goes on from."""
        steps = trainer.max_steps if trainer.max_steps > 0 else None
        interval = 0.5 if sys.stderr.isatty() else 20.0  # a log file is not redrawn
        self._bar = tqdm(
            desc="train", total=steps, initial=trainer.global_step, unit="step", disable=not self._enabled, mininterval=interval, miniters=1
        )

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move on by the steps that were made; figures are those of the last step that was logged, as to look waits for the device."""
        if self._bar is not None:
            if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
                metrics = trainer.callback_metrics
                shown = {label: f"{float(metrics[name]):.3g}" for name, label in SHOWN.items() if name in metrics}
                self._bar.set_postfix(shown, refresh=False)
            self._bar.update(trainer.global_step - self._bar.n)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Leave the last state standing."""
        self._close()

    def on_exception(self, trainer: lightning.Trainer, module: lightning.LightningModule, exception: BaseException) -> None:
        """What is said about the error begins on a line of its own."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
