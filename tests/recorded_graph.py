"""CUDA graphs on a CPU: what a capture holds is recorded and done again as it was, so that whatever was baked into it comes to light."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Pretended(str):
    type = "cuda"


CUDA = _Pretended("cpu")
"""A CPU that says it is a GPU, wherever a device is asked for."""


def tensors_in(tree: Any) -> list[Tensor]:
    """Of what an operation takes or gives."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


class _Recorder(TorchDispatchMode):
    """Notes every operation, and what was in memory before."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, Any, Any, Any]] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}
        self.made: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing: the host asks for a value.")
        for tensor in tensors_in((args, kwargs)):
            place = tensor.untyped_storage().data_ptr()
            if place not in self.made and place not in self.before:
                whole = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
                self.before[place] = (whole, whole.clone())
        out = func(*args, **kwargs)
        self.made |= {tensor.untyped_storage().data_ptr() for tensor in tensors_in(out)} - self.before.keys()
        self.done.append((func, args, kwargs, out))  # keeps all of it where it lies
        return out


class RecordedGraph:
    """Captures as CUDA does: nothing has happened afterwards; `replay` does it to the memory that it was captured with.

    Raises:
        RuntimeError: the work asks for a value, which no graph can hold.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        with _Recorder() as recorder:
            work()
        self._done, self.replays = recorder.done, 0
        with torch.no_grad():
            for whole, before in recorder.before.values():
                whole.copy_(before)

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, out in self._done:
            for old, new in zip(tensors_in(out), tensors_in(func(*args, **kwargs)), strict=True):
                if old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():
                    old.copy_(new)


def aside(work: Callable[[], object], device: Any, times: int = 1) -> None:
    """In place of `system.cuda_graph.aside`."""
    for _ in range(times):
        work()


def captured(work: Callable[[], object], what: str) -> RecordedGraph:
    """In place of `system.cuda_graph.captured`."""
    return RecordedGraph(work)
