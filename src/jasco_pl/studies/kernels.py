"""Kinds of kernels: what an operation of a profiled training step counts as, by its name and by the names of the operations around it.

A kernel on a GPU is known by the operation that launched it where that is PyTorch's own, and what `torch.compile` makes by its own name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MATRIX = "matrix products"
ATTENTION = "attention"
CONVOLUTION = "convolution"
WEIGHT_NORM = "weight norm"
POINTWISE = "norms, elementwise"
COPIES = "casts, copies"
KINDS = (MATRIX, ATTENTION, CONVOLUTION, WEIGHT_NORM, POINTWISE, COPIES)

# The outermost operation that is one of these says what all inside of it is for
_PURPOSES = {
    ATTENTION: re.compile(r"aten::_scaled_dot_product|aten::_(flash|efficient|cudnn)_attention|ScaledDotProduct|flex_attention"),
    WEIGHT_NORM: re.compile(r"aten::_weight_norm|WeightNorm"),
    CONVOLUTION: re.compile(r"aten::\w*convolution|ConvolutionBackward"),
}
# Else the innermost one says what it does
_WORK = {
    MATRIX: re.compile(r"^(aten::(addmm|mm|baddbmm|bmm|addmv|mv|matmul|linear|_scaled_mm|_addmm_activation)|mkldnn::_linear\w*)$"),
    COPIES: re.compile(r"^aten::(copy_|_to_copy|to|clone|contiguous|cat|stack|constant_pad_nd)$"),
    POINTWISE: re.compile(r"^aten::|^## Call CompiledFxGraph"),  # on a CPU compiled loops run inside of the graph's own call
}
_KERNELS = {
    POINTWISE: re.compile(r"^triton_(poi|red|per|mix|for)_"),
    ATTENTION: re.compile(r"fmha|flash|sdpa|attention"),
    WEIGHT_NORM: re.compile(r"weight_norm"),
    CONVOLUTION: re.compile(r"conv(?!ert)|fprop|dgrad|wgrad|nchwToNhwc|nhwcToNchw"),
    MATRIX: re.compile(r"gemm|gemv|nvjet|cutlass|cublas|splitK|^triton_(tem|mm|bmm)"),
    COPIES: re.compile(r"copy|Memcpy|Memset|CatArray"),
}
_ATTENTION = re.compile(r"^aten::_scaled_dot_product_(?:(flash|efficient|cudnn)_)?attention(?:_math|_for_cpu|_for_mps)*$")
_FLEX = re.compile(r"flex_attention(?!\w*backward)")


def kind_of_operation(names: Sequence[str]) -> str | None:
    """What an operation counts as; None where it is no work but what surrounds it, as Python and the bookkeeping of autograd.

    Args:
        names: its own, then those of the operations around it, to the outermost.
    """
    for name in reversed(names):
        for kind, pattern in _PURPOSES.items():
            if pattern.search(name):
                return kind
    return next((kind for kind, pattern in _WORK.items() if pattern.search(names[0])), None)


def kind_of_kernel(kernel: str, names: Sequence[str]) -> str:
    """What a kernel on a GPU counts as.

    Args:
        kernel: its name.
        names: as for `kind_of_operation`, of the operation that launched it.
    """
    kind = None if kernel.startswith("triton_") else kind_of_operation(names)
    if kind not in (None, POINTWISE):
        return kind
    return next((kind for kind, pattern in _KERNELS.items() if pattern.search(kernel)), POINTWISE)


def attention_of(name: str) -> str | None:
    """Which implementation of attention's forward pass an operation or a kernel is: flash, efficient, cudnn, math, flex; None if none."""
    if found := _ATTENTION.search(name):
        return found[1] or "math"
    return "flex" if _FLEX.search(name) else None
