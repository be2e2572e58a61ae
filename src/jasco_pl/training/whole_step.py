"""An optimiser step as one function of a batch, and on a GPU as one CUDA graph: forward, backward, guard, clipping, Adam, average.

At the size that ships, a step is so many small kernels that launching them one by one from Python can take longer than running them.
Lightning's loop, its callbacks and its checkpoints stay as they are around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from jasco_pl.data.loader import ResidentLoader
from jasco_pl.data.schema import Batch
from jasco_pl.system.cuda_graph import WARM_UP, aside, captured
from jasco_pl.training.ema import WeightAverage


class StepAdam(torch.optim.Adam):
    """Adam whose step a `WholeStep` may have taken already when Lightning asks for it.

    Lightning hands over a closure that runs `training_step`; inside it the whole step calls this one without.
    """

    taken_inside = False

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """The closure alone, where the step is taken inside of it."""
        if self.taken_inside and closure is not None:
            with torch.enable_grad():
                return closure()
        return super().step(closure)


def what_forbids(
    trainer: Trainer, spike: float | None, dropout: float, captures: bool, fused: bool = True, sharded: bool = False
) -> str | None:
    """Why a step cannot be one function of a batch in this training, or not be captured where that is wanted; None if it can."""
    if trainer.accumulate_grad_batches > 1:
        return f"it is accumulated from {trainer.accumulate_grad_batches} parts"
    if trainer.world_size > 1:
        return f"{trainer.world_size} processes share it"
    if sharded:
        return "its weights are sharded"
    if getattr(trainer.precision_plugin, "scaler", None) is not None:
        return "its gradients are scaled"
    if not fused:  # only fused Adam leaves weights as they are where the loss is not finite
        return "Adam is not fused (model.fused)"
    if trainer.gradient_clip_algorithm not in (None, "norm"):
        return "its gradients are not clipped by their norm"
    if spike is not None:
        return "the guard compares its norm with those before it"
    if dropout:
        return "the network itself has dropout"
    loader = getattr(trainer.train_dataloader, "loader", trainer.train_dataloader)  # of a set that grows, that of the present epoch
    if captures and not isinstance(loader, ResidentLoader):  # whose batches have one shape, texts included
        return "its data come through a loader (data.resident)"
    return None


@dataclass
class Taken:
    """What a step leaves behind, in tensors that the next one writes over.

    Attributes:
        losses: unweighted, [B]. t: flow times, [B]. loss: weighted mean.
        norm: of all gradients before clipping.
        bad: 1 where the loss or the norm was not finite, and weights and optimiser therefore stayed as they were; else 0.
    """

    losses: Tensor
    t: Tensor
    loss: Tensor
    norm: Tensor
    bad: Tensor


class WholeStep:
    """Takes optimiser steps.

    Args:
        parameters: are trained; those that ask for no gradient have none.
        compute: batch -> mean weighted loss, unweighted losses [B] and flow times [B].
        optimizer: with `fused`, on a GPU with `capturable` too; its learning rate becomes a tensor.
        clip: largest norm of the gradients; None or 0 for any.
        average: of the weights, if there is one.
        forward_context: of the precision, for the forward pass.
        device: where all is.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        compute: Callable[[Batch], tuple[Tensor, Tensor, Tensor]],
        optimizer: StepAdam,
        clip: float | None,
        average: WeightAverage | None,
        forward_context: Callable[[], Any],
        device: torch.device,
    ) -> None:
        self.parameters, self.compute, self.optimizer = parameters, compute, optimizer
        self.clip, self.average, self.forward_context, self.device = clip, average, forward_context, device
        self.graph: torch.cuda.CUDAGraph | None = None
        self._inputs: Batch = {}
        self._share = torch.zeros((), device=device)
        self._steps = 0
        self.taken: Taken | None = None
        optimizer.taken_inside = True
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]), device=device)  # the schedule fills it

    def __call__(self, batch: Batch) -> Taken:
        """Take one step; on a GPU the first few are launched one by one, the next is captured, and all from there on are replayed."""
        if self.average is not None:
            self._share.fill_(self.average.next_share())
        self._steps += 1
        if self.device.type != "cuda":
            self._compute(batch)
        else:
            if self._keep(batch):
                self.graph, self._steps = None, 1
            work = partial(self._compute, self._inputs)
            if self._steps <= WARM_UP:
                aside(work, self.device)
            else:
                if self._steps == WARM_UP + 1:
                    self.optimizer.zero_grad(set_to_none=True)  # so that gradients come to lie in the graph's own memory
                    self.graph = captured(work, "an optimiser step")
                work() if self.graph is None else self.graph.replay()
        assert self.taken is not None
        return self.taken

    def _keep(self, batch: Batch) -> bool:
        """Copy the batch to where the graph reads it; whether that is somewhere else than before, because shapes have changed."""
        tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
        changed = any(name not in self._inputs or self._inputs[name].shape != value.shape for name, value in tensors.items())
        if changed:
            self._inputs = {name: value.clone() for name, value in tensors.items()}
        for name, kept in self._inputs.items():
            kept.copy_(tensors[name], non_blocking=True)
        return changed

    def _compute(self, batch: Batch) -> None:
        with torch.enable_grad():
            with self.forward_context():
                loss, losses, t = self.compute(batch)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        bad = (~(losses.isfinite().all() & norm.isfinite())).float()
        if self.clip:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.clip, norm)
        self.optimizer.found_inf = bad  # type: ignore[attr-defined]  # fused Adam then leaves weights and state as they are
        self.optimizer.step()
        if self.average is not None:
            self.average.move(self._share)
        self.taken = Taken(losses.detach(), t, loss.detach(), norm, bad)
