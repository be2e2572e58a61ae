"""Steps that would spoil the weights are left out."""

from __future__ import annotations

import statistics
import sys
from collections import deque
from typing import Any

import lightning
import torch
import torch.distributed
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.distributed.tensor import DTensor
from tqdm import tqdm

from jasco_pl.system.errors import UserError

SHOWN_IDS = 8
ENOUGH = 20  # norms that a median has to rest on


def gradient_norm(module: lightning.LightningModule) -> Tensor:
    """Norm of all gradients together, the same on every process."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


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
        if give_up_after < 1 or window < ENOUGH or (spike is not None and spike <= 1):
            raise UserError(
                f"the guard's spike {spike} must be above 1 or null, its window {window} at least {ENOUGH}, give_up_after {give_up_after} "
                "positive."
            )
        self.spike, self.give_up_after = spike, give_up_after
        self.norms: deque[float] = deque(maxlen=window)
        self.skipped, self.in_a_row = 0, 0
        self._ids: list[str] = []
        self._losses: list[Tensor] = []

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
            self.norms.append(size)
            self.in_a_row = 0
            module.gradient_norm = norm  # type: ignore[assignment]  # clipping needs it again
        else:
            for parameter in module.parameters():
                parameter.grad = None  # an optimiser passes over parameters without gradient, and leaves their state alone
            self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
            reason = "the loss is not finite" if bad_loss else "the gradient norm is not finite"
            if not (bad_loss or bad_norm):
                reason = f"the gradient norm {size:.3g} is {size / (usual or 1):.0f} times the median of the last {len(self.norms)}"
            self._report(trainer, reason, losses if bad_loss else None)
        if due:
            module.log("train/skipped", float(self.skipped), batch_size=1)

    def _report(self, trainer: lightning.Trainer, reason: str, losses: Tensor | None) -> None:
        ids = self._ids if losses is None else [name for name, loss in zip(self._ids, losses.tolist(), strict=True) if not _finite(loss)]
        everyone: list[Any] = [ids]
        if trainer.world_size > 1:
            everyone = [None] * trainer.world_size
            torch.distributed.all_gather_object(everyone, ids)
        names = [name for part in everyone for name in part]
        shown = ", ".join(names[:SHOWN_IDS]) + (f" and {len(names) - SHOWN_IDS} more" if len(names) > SHOWN_IDS else "")
        step = trainer.global_step + 1
        if trainer.is_global_zero:
            tqdm.write(f"step {step} is left out: {reason}; samples: {shown} ({self.skipped} steps so far).", file=sys.stderr)
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


def _finite(value: float) -> bool:
    return abs(value) < float("inf")
