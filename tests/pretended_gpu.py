"""A GPU that is not there: tensors that say "cuda", compute on the CPU, and refuse to be mixed with others.

What a CPU forgives and a GPU does not comes to light: an operation on tensors of both, a value that was expected in the host's memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from recorded_graph import aside, tensors_in
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
CUDA = torch.device("cuda", 0)
MEMORY = 80 * 2**30
# copy between memories; take or leave indices that lie in the host's
MIXING = {aten.copy_.default, aten._to_copy.default, aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default}
ASKED: dict[Any, Any] = {
    Tensor.device.__get__: CUDA,
    Tensor.is_cuda.__get__: True,
    Tensor.is_cpu.__get__: False,
    Tensor.is_meta.__get__: False,
}


class OnGpu(Tensor):
    """A tensor that says it lies on a GPU; to PyTorch's own code it is one of no memory ("meta"), which every build knows."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnGpu:
        shape: dict[str, Any] = {"dtype": held.dtype, "layout": held.layout, "device": "meta"}
        if held.layout == torch.strided:
            shape |= {"strides": held.stride(), "storage_offset": held.storage_offset()}
        with torch.inference_mode(False):
            made = Tensor._make_wrapper_subclass(cls, held.shape, **shape)  # type: ignore[attr-defined]
        made.held = held
        return made  # type: ignore[no-any-return]

    def __repr__(self, **options: Any) -> str:
        return f"OnGpu({self.held})"

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in ASKED:
            return ASKED[func]
        with torch._C.DisableTorchFunctionSubclass():
            if func is torch.stft:  # turns its result in place
                assert all(isinstance(tensor, OnGpu) for tensor in tensors_in((args, kwargs)))
                return OnGpu(func(*_each(_held, args), **_each(_held, kwargs or {})))
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


def _each(change: Callable[[Any], Any], tree: Any) -> Any:
    """`tree_map`, for what operations take and give, in a third of the time."""
    if isinstance(tree, list | tuple):
        return tuple(_each(change, branch) for branch in tree) if isinstance(tree, tuple) else [_each(change, branch) for branch in tree]
    return {name: _each(change, branch) for name, branch in tree.items()} if isinstance(tree, dict) else change(tree)


def _held(leaf: Any) -> Any:
    return leaf.held if isinstance(leaf, OnGpu) else leaf


def _there(leaf: Any) -> Any:
    return OnGpu(leaf) if isinstance(leaf, Tensor) and not isinstance(leaf, OnGpu) else leaf


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = tensors_in((args, kwargs))
    there = any(isinstance(tensor, OnGpu) for tensor in tensors)
    if there and func not in MIXING and any(tensor.dim() and not isinstance(tensor, OnGpu) for tensor in tensors):
        raise RuntimeError(f"Expected all tensors to be on the same device, but found at least two devices in {func}.")
    if kwargs.get("device") is not None:
        there = torch.device(kwargs["device"]).type != "cpu"
        kwargs = {**kwargs, "device": torch.device("cpu")}
    out = func(*_each(_held, args), **_each(_held, kwargs))
    written = [at for at, argument in enumerate(func._schema.arguments) if argument.alias_info and argument.alias_info.is_write]
    if written and isinstance(out, Tensor):
        return args[0] if written == [0] else kwargs["out"]
    return _each(_there, out) if there else out


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with self:
            made = func.decompose(*args, **(kwargs or {}))  # in inference mode PyTorch leaves that to others
        return _computed(func, args, kwargs or {}) if made is NotImplemented else made


def _elsewhere(leaf: Any) -> Any:
    """What says "cuda" to PyTorch's own code says "meta"."""
    named = isinstance(leaf, torch.device) or (isinstance(leaf, str) and leaf.startswith("cuda"))
    return torch.device("meta") if named and torch.device(leaf).type == "cuda" else leaf


class _Names(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.pin_memory:
            return args[0]
        kwargs = {name: _elsewhere(value) if name == "device" else value for name, value in (kwargs or {}).items()}
        if func in (torch.tensor, torch.as_tensor):  # what is written out is never written into "meta"
            device = kwargs.pop("device", "cpu")
            return func(*args, **kwargs).to(device)
        return func(*(map(_elsewhere, args) if func is Tensor.to else args), **kwargs)


@contextlib.contextmanager
def pretended(*launching: ModuleType) -> Iterator[None]:
    """Inside, there is one GPU; graphs cannot be captured there, and modules that would do so launch their kernels one by one."""
    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    with pytest.MonkeyPatch.context() as patch, _Names(), _Mode():
        for module in launching:
            patch.setattr(module, "aside", aside)
            patch.setattr(module, "captured", lambda work, what: None)
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: 1)
        patch.setattr(torch.cuda, "current_device", lambda: 0)
        patch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
        patch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
        patch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=MEMORY, name="pretended"))
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            yield
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(overwrites)
