"""A training that ends at a given time."""

from __future__ import annotations

import statistics
import time
from collections import deque
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from jasco_pl.system.errors import UserError
from jasco_pl.system.intervals import require

_STEPS = 100  # whose median says how long a step takes


class Deadline(Callback):
    """Ends a training at a given time, with the learning rate fallen to zero by then, however many steps that makes.

    After every step the module's `decay_steps` becomes the step that will be the last: the median of the latest hundred says how long one
    takes, so that a validation or compiling counts as little as it should. Such a training does not repeat step for step.

    Args:
        at: when, in seconds since 1970.

    Raises:
        UserError: the training has several processes, whose clocks would disagree.
    """

    def __init__(self, at: float) -> None:
        require("(0, inf)", at=at)
        self.at = at
        self._took: deque[float] = deque(maxlen=_STEPS)
        self._ended: float | None = None

    def setup(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        """Refuse what cannot be done."""
        if trainer.world_size > 1:
            raise UserError(f"a training with a deadline runs on one device, {trainer.world_size} were asked for.")

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Foresee the last step, or stop."""
        now = time.time()
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            if self._ended is not None:
                self._took.append(now - self._ended)
                left = max(0, int((self.at - now) / statistics.median(self._took)))
                module.decay_steps = trainer.global_step + left  # type: ignore[assignment]
            self._ended = now
            if now >= self.at:
                trainer.should_stop = True  # `StopSignals` saves then
