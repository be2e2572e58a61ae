"""The network's velocity under conditions that stay, evaluated again and again.

On a GPU, where launching its kernels would take longer than computing them, it is a CUDA graph, captured once a shape and replayed, as
https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs describes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from jasco_pl.network.model import JascoModel
from jasco_pl.network.transformer import Context
from jasco_pl.system.cuda_graph import WARM_UP, aside, captured

# Shapes, of which guidance that begins later needs two a length and number of clips; a graph holds memory for all between its layers.
KEPT = 6


class Velocity:
    """A model's velocity.

    Args:
        model: whose weights stay as they are.
        graphs: evaluate through buffers that stay where they are, of which the last `KEPT` shapes are kept: on CUDA as a graph, elsewhere
            (where nothing is gained) as it is. Otherwise the model is simply called.
    """

    def __init__(self, model: JascoModel, graphs: bool = False) -> None:
        self.model, self.graphs = model, graphs
        self._kept: OrderedDict[Any, _Replayed] = OrderedDict()
        self._lock = Lock()  # two threads must not write into the same buffers

    def under(self, context: Context) -> Callable[[Tensor, Tensor], Tensor]:
        """(z [B, T, C], t [B]) -> velocity [B, T, C] under `JascoModel.context`; any number of them may be used in turn."""
        if not self.graphs:
            return lambda z, t: self.model.velocity(z, t, context)
        shapes = tuple((tensor.shape, tensor.dtype) for tensor in context.tensors())

        def replayed(z: Tensor, t: Tensor) -> Tensor:
            key = (z.shape, z.dtype, t.dtype, shapes)
            with self._lock:
                found = self._kept.pop(key, None)
                if found is None:
                    while len(self._kept) >= KEPT:  # before the new one needs their memory
                        self._kept.popitem(last=False)
                    found = _Replayed(self.model, z, t, context)
                self._kept[key] = found
                return found(z, t, context)

        return replayed


class _Replayed:
    """Evaluations of one shape: inputs and result lie where they lay when the graph was captured."""

    def __init__(self, model: JascoModel, z: Tensor, t: Tensor, context: Context) -> None:
        self._model, self._loaded = model, context
        self._z, self._t, self._context = z.clone(), t.clone(), context.map(torch.clone)
        self._graph: torch.cuda.CUDAGraph | None = None
        if z.is_cuda:
            with torch.cuda.device(z.device):
                aside(self._evaluate, z.device, WARM_UP)
                self._graph = captured(self._evaluate, "an evaluation of the network")

    def _evaluate(self) -> None:
        self._velocity = self._model.velocity(self._z, self._t, self._context)

    def __call__(self, z: Tensor, t: Tensor, context: Context) -> Tensor:
        if context is not self._loaded:
            for own, given in zip(self._context.tensors(), context.tensors(), strict=True):
                own.copy_(given)
            self._loaded = context
        self._z.copy_(z)
        self._t.copy_(t)
        if self._graph is None:
            self._evaluate()
        else:
            self._graph.replay()
        return self._velocity.clone()  # the next replay overwrites it
