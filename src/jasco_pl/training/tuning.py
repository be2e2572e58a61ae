"""Which implementation of what costs most is the fastest at this training's sizes, on this device: each is tried, compared and timed."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from jasco_pl.network.blocks import alibi_bias
from jasco_pl.network.implementations import ATTENTION, CONVOLUTION, Convolve, Mix
from jasco_pl.network.transformer import KEY_MULTIPLE, TEXT_MULTIPLE, Transformer, TransformerConfig
from jasco_pl.system.cuda_graph import WARM_UP, aside, captured
from jasco_pl.training.flops import TEXT_TOKENS

ROUNDS = 5
CLOSE = {torch.float32: 2e-3, torch.bfloat16: 3e-2, torch.float16: 1e-2}
"""Type -> largest norm of a difference, in shares of the norm: what rounding makes of the sums, float32 with TF32 in mind."""


@dataclass(frozen=True)
class Choice:
    """The fastest of several implementations.

    Attributes:
        name: its own.
        told: how all of them did, in words.
    """

    name: str
    told: str


def fastest(candidates: Mapping[str, Callable[..., Tensor]], inputs: Sequence[Tensor]) -> Choice:
    """Try implementations forward and backward; the first is what the others have to agree with.

    One that fails, that gives something else, or, on a GPU, that no CUDA graph can hold, is not chosen.

    Args:
        candidates: name -> function of the inputs, whose result has the shape of the first of them.
        inputs: on one device; the backward pass asks for the gradients of all.
    """
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    expected: list[Tensor] = []
    works: dict[str, Callable[[], object]] = {}
    told: dict[str, str] = {}
    for name, compute in candidates.items():
        try:
            found = _computed(compute, leaves)
            differences = [_difference(one, other) for one, other in zip(found, expected, strict=False)]
            off = max(differences, key=lambda it: (math.isnan(it), it), default=0.0)
            expected = expected or found
            if off <= CLOSE[found[0].dtype]:  # NaN is not
                works[name] = _ready(partial(_computed, compute, leaves), leaves[0].device)
            else:
                told[name] = f"is off by {off:.1%}"
        except Exception as error:
            told[name] = f"cannot be had ({str(error).strip().splitlines()[0].split('. ')[0].rstrip('.')})"
    seconds = _timed(works, leaves[0].device)
    best = min(seconds, key=seconds.__getitem__) if seconds else next(iter(candidates))
    told |= {name: f"{value * 1000:.2f} ms" for name, value in seconds.items()}
    return Choice(best, ", ".join(f"{name} {told[name]}" for name in candidates))


def _computed(compute: Callable[..., Tensor], leaves: Sequence[Tensor]) -> list[Tensor]:
    """The result, and the gradients where that of the result is the first input."""
    result = compute(*leaves)
    return [result.detach(), *torch.autograd.grad(result, leaves, leaves[0].detach())]


def _difference(found: Tensor, expected: Tensor) -> float:
    return float((found.float() - expected.float()).norm() / expected.float().norm().clamp(min=1e-12))


def _ready(work: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """Work as a training does it, on a GPU without the time that launching takes.

    Raises:
        RuntimeError: it cannot be captured.
    """
    if device.type != "cuda":
        return work
    aside(work, device, WARM_UP)
    graph = captured(work, "a measurement")
    if graph is None:
        raise RuntimeError("no CUDA graph can hold it")
    return graph.replay


def _timed(works: Mapping[str, Callable[[], object]], device: torch.device) -> dict[str, float]:
    """Median seconds of each, which take turns."""
    laps: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            _wait(device)
            began = time.perf_counter()
            work()
            _wait(device)
            laps[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in laps.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Sizes:
    """What a training computes at once.

    Attributes:
        batch: samples.
        frames: of a crop.
        device: of this process.
        dtype: that the network computes in.
        compiled: whether the layers are compiled, so that FlexAttention, which has to be, may be tried.
    """

    batch: int
    frames: int
    device: torch.device
    dtype: torch.dtype
    compiled: bool

    def tensor(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Random numbers; not drawn on a GPU, where a capture that failed may leave the generator unusable."""
        return torch.randn(*shape).to(self.device, dtype or self.dtype)

    def precision(self) -> AbstractContextManager[Any]:
        """As training computes."""
        half = self.dtype != torch.float32
        return torch.autocast(self.device.type, self.dtype) if half else contextlib.nullcontext()


def tune(transformer: Transformer, sizes: Sizes) -> str:
    """Let a network's training use the fastest implementations at these sizes; what was measured, in words."""
    config, told = transformer.config, []
    tokens = -(-sizes.frames // config.frames_per_token)
    attention, text_attention, convolution = transformer.implementations
    if not config.dropout:  # of which each would draw its own
        if config.alibi:  # without a bias PyTorch's own choice is the best there is
            keys = tokens + -tokens % KEY_MULTIPLE.get(sizes.device.type, 1)
            bias = functional.pad(alibi_bias(config.heads, tokens, sizes.device).to(sizes.dtype), (0, keys - tokens), value=-torch.inf)
            choice = _attention(config, sizes, bias, [name for name in ATTENTION if sizes.compiled or name != "flex"])
            attention, told = choice.name, [f"self-attention by {choice.name} ({choice.told})"]
        if config.mask_text:
            texts = TEXT_TOKENS + -TEXT_TOKENS % TEXT_MULTIPLE.get(sizes.device.type, 1)
            lengths = texts // 2 + torch.arange(sizes.batch, device=sizes.device)
            mask = (torch.arange(texts, device=sizes.device) < lengths[:, None])[:, None, None].expand(-1, 1, tokens, -1)
            choice = _attention(config, sizes, mask, [name for name in ATTENTION if name != "flex"])
            text_attention = choice.name
            told.append(f"cross-attention by {choice.name} ({choice.told})")
    if config.positions == "convolution":
        choice = _convolution(config, tokens, sizes)
        convolution = choice.name
        told.append(f"positions by {choice.name} ({choice.told})")
    transformer.compute_by(attention, text_attention, convolution)
    if sizes.device.type == "cuda":
        torch.cuda.empty_cache()
    return "; ".join(told)


def _attention(config: TransformerConfig, sizes: Sizes, bias: Tensor, names: Sequence[str]) -> Choice:
    """With this bias [1 or B, H or 1, N, M]."""
    head = config.width // config.heads
    lengths = (bias.shape[2], bias.shape[3], bias.shape[3])
    inputs = [sizes.tensor(sizes.batch, length, config.heads, head).transpose(1, 2) for length in lengths]  # as projections leave them

    def by(mix: Mix) -> Callable[..., Tensor]:
        def compute(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            with sizes.precision():
                return mix(query, key, value, bias, 0.0)

        return compute

    return fastest({name: by(ATTENTION[name]) for name in names}, inputs)


def _convolution(config: TransformerConfig, tokens: int, sizes: Sizes) -> Choice:
    if sizes.device.type == "cpu":  # see ConvolutionalPositions
        sizes = replace(sizes, dtype=torch.float32)
    width, groups = config.width, config.convolution_groups
    kernel = sizes.tensor(width, width // groups, config.convolution_kernel, dtype=torch.float32)
    inputs = [sizes.tensor(sizes.batch, width, tokens), kernel, sizes.tensor(width, dtype=torch.float32)]

    def by(convolve: Convolve) -> Callable[..., Tensor]:
        def compute(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            with sizes.precision():
                return convolve(x, weight, bias, groups)

        return compute

    return fastest({name: by(convolve) for name, convolve in CONVOLUTION.items()}, inputs)
