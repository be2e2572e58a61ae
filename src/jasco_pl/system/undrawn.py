"""Modules whose weights will be read from a file, made without drawing any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

DRAWS = (Tensor.normal_, Tensor.uniform_)
ON_META = Tensor.is_meta.__get__  # type: ignore[attr-defined]


class Undrawn(TorchFunctionMode):
    """`with Undrawn():` leaves out what `torch.nn.init` does: parameters are memory that nobody has touched, which costs nothing, for
    `load_state_dict(..., assign=True)` to replace.

    Not the meta device, which is made for that: what else a constructor computes is traced there by torch._dynamo, whose import takes
    longer than that of torch.
    """

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func == ON_META:  # by which `trunc_normal_` knows that there is nothing to draw
            return True
        if func in DRAWS or getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
