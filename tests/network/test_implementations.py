from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from jasco_pl.network import implementations
from jasco_pl.network.blocks import alibi_bias
from jasco_pl.network.implementations import ATTENTION, CONVOLUTION, convolve, convolve_blocks, mix, mix_flex, mix_products
from jasco_pl.network.transformer import Transformer, TransformerConfig


def heard(function: Any, *inputs: Tensor, groups: int) -> list[Tensor]:
    """The result and the gradients of all inputs."""
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    result = function(*leaves, groups)
    weights = torch.linspace(-1, 1, result.numel(), dtype=result.dtype).reshape(result.shape)
    return [result.detach(), *torch.autograd.grad(result, leaves, weights)]


@pytest.mark.parametrize(
    ("batch", "channels", "groups", "kernel", "frames"),
    [(2, 8, 4, 7, 50), (1, 8, 2, 128, 100), (3, 6, 6, 31, 16), (2, 4, 1, 16, 1), (1, 4, 2, 1, 33), (1, 4, 2, 17, 5)],
)
def test_a_convolution_in_blocks_is_the_convolution(batch: int, channels: int, groups: int, kernel: int, frames: int) -> None:
    draw = torch.Generator().manual_seed(0)
    shapes = (batch, channels, frames), (channels, channels // groups, kernel), (channels,)
    inputs = [torch.randn(*shape, dtype=torch.float64, generator=draw) for shape in shapes]
    expected = heard(convolve, *inputs, groups=groups)
    assert expected[0].shape == inputs[0].shape
    torch.testing.assert_close(heard(convolve_blocks, *inputs, groups=groups), expected)


def test_blocks_in_half_precision_add_up_in_the_weights_own() -> None:
    draw = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(*shape, generator=draw) for shape in ((2, 8, 64), (8, 2, 31), (8,)))
    expected = heard(convolve, x, weight, bias, groups=4)
    half = heard(lambda x, *rest: convolve_blocks(x.bfloat16(), *rest), x, weight, bias, groups=4)
    assert half[0].dtype == torch.bfloat16
    assert half[2].dtype == torch.float32
    for found, exact in zip(half, expected, strict=True):
        assert float((found - exact).norm() / exact.norm()) < 0.01


@pytest.mark.parametrize("kind", ["bias", "mask", "none"])
def test_attention_by_products_is_attention(kind: str) -> None:
    draw = torch.Generator().manual_seed(0)
    leaves = [torch.randn(2, 4, length, 8, generator=draw, dtype=torch.float64).requires_grad_() for length in (10, 7, 7)]
    mask = torch.arange(7) < torch.tensor([[3], [7]])
    biases = {"bias": alibi_bias(4, 10)[..., :7].double(), "mask": mask[:, None, None].expand(-1, 1, 10, -1), "none": None}
    found, expected = (
        [result.detach(), *torch.autograd.grad(result, leaves, torch.linspace(-1, 1, 640, dtype=torch.float64).reshape(2, 4, 10, 8))]
        for result in (attend(*leaves, biases[kind], 0.0) for attend in (mix_products, mix))
    )
    torch.testing.assert_close(found, expected)


def test_flex_attention_computes_the_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(implementations, "_compiled_flex", lambda: flex_attention)  # as it is defined; compiled, see below
    draw = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 4, length, 8, generator=draw) for length in (50, 64, 64))
    bias = torch.full((1, 4, 50, 64), -torch.inf)
    bias[..., :50] = alibi_bias(4, 50)
    with pytest.warns(UserWarning, match="without torch.compile"):
        torch.testing.assert_close(mix_flex(query, key, value, bias, 0.0), mix(query, key, value, bias, 0.0), atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_flex_attention_is_the_same_when_compiled() -> None:
    query, key, value = torch.randn(3, 2, 4, 50, 8, generator=torch.Generator().manual_seed(0))
    bias, inside = alibi_bias(4, 50), torch.compile(mix_flex, fullgraph=True)
    for attend in (mix_flex, inside):
        torch.testing.assert_close(attend(query, key, value, bias, 0.0), mix(query, key, value, bias, 0.0), atol=1e-5, rtol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("name", list(ATTENTION))
def test_every_attention_agrees_on_a_gpu(name: str) -> None:
    leaves = [torch.randn(4, 250, 6, 64, device="cuda", dtype=torch.bfloat16).transpose(1, 2).requires_grad_() for _ in range(3)]
    bias = alibi_bias(6, 250, torch.device("cuda")).to(torch.bfloat16)
    found, expected = (
        [result, *torch.autograd.grad(result, leaves, torch.ones_like(result))]
        for result in (attend(*leaves, bias, 0.0) for attend in (ATTENTION[name], mix))
    )
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).norm() / other.norm()) < 0.03


def test_training_alone_computes_by_what_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []

    def counted(query: Tensor, key: Tensor, *rest: Any) -> Tensor:
        calls.append((query.shape[2], key.shape[2]))
        return mix(query, key, *rest)

    monkeypatch.setitem(ATTENTION, "counted", counted)
    monkeypatch.setitem(CONVOLUTION, "counted", lambda x, *rest: calls.append((x.shape[-1], 0)) or convolve(x, *rest))  # type: ignore[func-returns-value]
    network = Transformer(
        TransformerConfig(width=32, layers=2, heads=4, feed_forward=64, convolution_kernel=8, convolution_groups=4), 8, 8, 8
    )
    torch.nn.init.normal_(network.output.weight)
    inputs = torch.randn(2, 20, 8), torch.rand(2), torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool)
    before = network.train()(*inputs)
    network.compute_by("counted", "sdpa", "counted")
    torch.testing.assert_close(network(*inputs), before)
    assert calls == [(20, 0), (20, 20), (20, 20)]  # not the texts'
    network.eval()(*inputs)
    assert len(calls) == 3
    network.compute_by("sdpa", "counted", "library")
    network.train()(*inputs)
    assert calls[3:] == [(20, 3), (20, 3)]
