"""An optimiser step as one function of a batch, and on a GPU as one CUDA graph: forward, backward, guard, clipping, Adam, average.

At the size that ships, a step is some two thousand kernels of a few microseconds each: launched one by one from Python they take several
times as long as they run. Lightning's loop, its callbacks and its checkpoints stay as they are around it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from jasco_pl.controls.conditions import ConditionDropout
from jasco_pl.data.schema import Batch
from jasco_pl.network.flow.path import Weighting, loss_weight
from jasco_pl.network.model import JascoModel
from jasco_pl.training.ema import WeightAverage

WARM_UP = 3  # steps before the capture, on a stream of their own, as PyTorch asks: they compile, and choose kernels


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


def what_forbids(trainer: Trainer, spike: float | None, dropout: float) -> str | None:
    """Why a step cannot be one function of a batch in this training; None if it can."""
    if trainer.accumulate_grad_batches > 1:
        return f"it is accumulated from {trainer.accumulate_grad_batches} parts"
    if trainer.world_size > 1:
        return f"{trainer.world_size} processes share it"
    if getattr(trainer.precision_plugin, "scaler", None) is not None:
        return "its gradients are scaled"
    if trainer.gradient_clip_algorithm not in (None, "norm"):
        return "its gradients are not clipped by their norm"
    if spike is not None:
        return "the guard compares its norm with those before it"
    if dropout:
        return "the network itself has dropout"
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
        model: is trained.
        losses: batch and dropout -> unweighted losses [B] and flow times [B].
        dropout: of conditions.
        weighting: of the loss over flow time.
        optimizer: with `fused`, on a GPU with `capturable` too; its learning rate becomes a tensor.
        clip: largest norm of the gradients; None or 0 for any.
        average: of the weights, if there is one.
        forward_context: of the precision, for the forward pass.
        device: where all is.
    """

    def __init__(
        self,
        model: JascoModel,
        losses: Callable[[Batch, ConditionDropout | None], tuple[Tensor, Tensor]],
        dropout: ConditionDropout,
        weighting: Weighting,
        optimizer: StepAdam,
        clip: float | None,
        average: WeightAverage | None,
        forward_context: Callable[[], Any],
        device: torch.device,
    ) -> None:
        self.model, self.losses, self.dropout, self.weighting, self.optimizer = model, losses, dropout, weighting, optimizer
        self.clip, self.average, self.forward_context, self.device = clip, average, forward_context, device
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
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
            self._keep(batch)
            if self._steps <= WARM_UP:
                self._aside()
            else:
                if self._steps == WARM_UP + 1:
                    self._capture()
                self._compute(self._inputs) if self.graph is None else self.graph.replay()
        assert self.taken is not None
        return self.taken

    def _keep(self, batch: Batch) -> None:
        """Copy the batch to where the graph reads it."""
        tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
        if not self._inputs:
            self._inputs = {name: value.clone() for name, value in tensors.items()}
        for name, kept in self._inputs.items():
            kept.copy_(tensors[name], non_blocking=True)

    def _aside(self) -> None:
        stream, current = torch.cuda.Stream(self.device), torch.cuda.current_stream(self.device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            self._compute(self._inputs)
        current.wait_stream(stream)

    def _capture(self) -> None:
        """Without success, steps stay launched one by one: slower, and the same."""
        self.optimizer.zero_grad(set_to_none=True)  # so that gradients come to lie in the graph's own memory
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._compute(self._inputs)
        except RuntimeError as error:
            print(f"a step cannot be captured as one graph (model.graph): {str(error).splitlines()[0]}.", file=sys.stderr)
        else:
            self.graph = graph

    def _compute(self, batch: Batch) -> None:
        with torch.enable_grad():
            with self.forward_context():
                losses, t = self.losses(batch, self.dropout)
                loss = (loss_weight(t, self.weighting) * losses).mean()
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
