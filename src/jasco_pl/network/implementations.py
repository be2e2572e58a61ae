"""Several ways to compute what may cost more than it should: equal up to rounding, and which is the fastest only the machine can tell.

`training/tuning.py` measures them where a training runs. Everywhere else the first of each is used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import flex_attention

Mix = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]
"""Queries [B, H, N, D], keys and values [B, H, M, D], bias broadcastable to [B, H, N, M] or None, dropout -> [B, H, N, D]."""
Convolve = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""x [B, C, N], weight [C, C / groups, K], bias [C] and groups -> [B, C, N]: output n hears inputs from n - K // 2 on."""

BLOCK = 16
"""Frames that `convolve_blocks` computes at once: more of them make larger products, of which a larger share are with zeros."""


def mix(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """Attention by the kernel that PyTorch chooses."""
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)


def mix_cudnn(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """The same by cuDNN's kernel, which PyTorch does not choose by itself; RuntimeError where it cannot be had."""
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        return mix(query, key, value, bias, dropout)


def mix_flex(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """Self-attention whose bias is ALiBi's, computed inside of the kernel instead of being read: `bias` is not looked at, nor are keys that
    were added to fill up its rows. No dropout."""
    heads, tokens = query.shape[1], query.shape[2]

    def alibi(score: Tensor, batch: Tensor, head: Tensor, place: Tensor, other: Tensor) -> Tensor:
        return score - torch.exp2(-8.0 * (head + 1) / heads) * (place - other).abs()

    # within a compiled layer it is compiled with it
    attend: Any = flex_attention if torch.compiler.is_compiling() else _compiled_flex()
    return attend(query, key[:, :, :tokens], value[:, :, :tokens], score_mod=alibi)  # type: ignore[no-any-return]


def mix_products(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """The same as two products and a softmax, whose backward pass is faster on CPUs in bfloat16 (docs/performance.md)."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if bias is not None:
        scores = scores.masked_fill(~bias, -torch.inf) if bias.dtype == torch.bool else scores + bias
    return functional.dropout(scores.softmax(-1), dropout) @ value


@cache
def _compiled_flex() -> Any:
    return torch.compile(flex_attention, dynamic=False)


def convolve(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """By the library's convolution."""
    out = functional.conv1d(x, weight, bias, padding=weight.shape[-1] // 2, groups=groups)
    return out[..., : x.shape[-1]]  # an even kernel gives one too many


def convolve_blocks(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """As one product of matrices a group: every `BLOCK` frames out of all that they hear, by the kernel shifted frame after frame.

    Libraries do grouped convolutions with long kernels a good deal below what their products of matrices reach.
    """
    frames, kernel = x.shape[-1], weight.shape[-1]
    blocks, further = -(-frames // BLOCK), -(-(kernel - 1) // BLOCK)
    heard = (further + 1) * BLOCK  # by a block
    padded = functional.pad(x, (kernel // 2, (blocks + further) * BLOCK - frames - kernel // 2))
    parts = padded.unflatten(1, (groups, -1)).unfold(-1, heard, BLOCK)  # [B, G, I, blocks, heard]
    rows = parts.permute(1, 0, 3, 2, 4).flatten(3).flatten(1, 2)  # [G, B * blocks, I * heard]
    # Frame p of a block hears the kernel p places later: windows over the kernel between zeros, the last p first. In the weight's own
    # precision, because the backward pass adds up all places
    shifted = functional.pad(weight, (BLOCK - 1, heard - kernel)).unfold(-1, heard, 1)  # [C, I, BLOCK, heard]
    columns = shifted.unflatten(0, (groups, -1)).permute(0, 2, 4, 1, 3).to(x.dtype, memory_format=torch.contiguous_format)
    out = torch.bmm(rows, columns.flatten(3).flatten(1, 2)).unflatten(1, (len(x), blocks)).unflatten(3, (-1, BLOCK)).flip(-1)
    return out.permute(1, 0, 3, 2, 4).flatten(3).flatten(1, 2)[..., :frames] + bias.to(x.dtype)[:, None]


ATTENTION: dict[str, Mix] = {"sdpa": mix, "cudnn": mix_cudnn, "products": mix_products, "flex": mix_flex}
CONVOLUTION: dict[str, Convolve] = {"library": convolve, "blocks": convolve_blocks}
