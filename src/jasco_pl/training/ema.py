"""Exponential moving average of the weights, shard by shard."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from jasco_pl.system.errors import UserError


def local(tensor: Tensor) -> Tensor:
    """The part of a sharded tensor that this process holds, sharing its memory; any other tensor itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


class WeightAverage:
    """Averages the trainable parameters of a module in place, whatever holds them (plain tensors or FSDP2's local shards).

    Nothing is gathered: a process averages the shards it holds.

    Args:
        module: whose parameters are averaged.
        decay: weight of the past at every update; early on min(decay, (1 + n) / (10 + n)), so that the start is forgotten soon.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay, self.updates = module, decay, 0
        self.average = {name: parameter.detach().clone() for name, parameter in self._parameters()}

    def _parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, parameter) for name, parameter in self.module.named_parameters() if parameter.requires_grad)

    def update(self) -> None:
        """Move the average towards the current weights."""
        self.move(self.next_share())

    def next_share(self) -> float:
        """Count an update; the current weights' share in it."""
        self.updates += 1
        return 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))

    @torch.no_grad()
    def move(self, share: float | Tensor) -> None:
        """Move the average towards the current weights by this share of the way."""
        pairs = [(local(self.average[name]), local(parameter)) for name, parameter in self._parameters()]
        old, new = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        if isinstance(share, Tensor):  # by which `_foreach_lerp_` would go tensor by tensor
            way = torch._foreach_sub(new, old)
            torch._foreach_mul_(way, share)
            torch._foreach_add_(old, way)
        else:
            torch._foreach_lerp_(old, new, share)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the module computes with the averaged weights."""
        live = {name: parameter.detach().clone() for name, parameter in self._parameters()}
        self._write(self.average)
        try:
            yield
        finally:
            self._write(live)

    @torch.no_grad()
    def _write(self, values: dict[str, Tensor]) -> None:
        for name, parameter in self._parameters():
            local(parameter).copy_(local(values[name]))

    def state_dict(self) -> dict[str, Any]:
        """Average (sharded as the module is) and number of updates."""
        return {"updates": self.updates, "average": self.average}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a stored average, sharded or whole.

        Raises:
            UserError: it is of other parameters, as of a run that trained more or fewer of them.
        """
        if other := state["average"].keys() ^ self.average.keys():
            raise UserError(
                f"the checkpoint's average is of other weights than those that are trained now ({min(other)!r} is in one alone)."
            )
        self.updates = int(state["updates"])
        for name, value in state["average"].items():
            own = self.average[name]
            if isinstance(own, DTensor) and not isinstance(value, DTensor):
                value = distribute_tensor(value.to(own.device), own.device_mesh, own.placements, src_data_rank=None)
            local(own).copy_(local(value))
