"""What is computed once a generation changes nothing: not a bit in float32, and in bfloat16 little."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from untrained import stir

from jasco_pl.network import transformer
from jasco_pl.network.blocks import ConvolutionalPositions
from jasco_pl.network.flow.guidance import parse_guidance
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.notation.timed_text import ALWAYS

VARIANTS: list[dict[str, Any]] = [
    {},
    {"time": "text"},
    {"injection": "cross_attention"},
    {"injection": "cross_attention", "alibi": False, "time": "text"},
    {"injection": "zero_convolution"},
    {"injection": "zero_convolution", "time": "text", "mask_text": False},
    {"positions": "sinusoid", "alibi": False, "skips": False},
]


def build(config: ModelConfig, **changes: Any) -> JascoModel:
    torch.manual_seed(0)
    model = JascoModel(replace(config, transformer=replace(config.transformer, **changes)), latent_std=2.0)
    stir(model)
    return model.eval()


def conditions_of(model: JascoModel, frames: int = 13) -> Any:
    draw = torch.Generator().manual_seed(1)
    conditions = model.null_conditions(2, frames)
    conditions.local["chords"][:, 3:] = torch.randint(12, (2, frames - 3), generator=draw)
    conditions.text, conditions.text_mask = torch.randn(2, 5, 384, generator=draw), torch.arange(5) < torch.tensor([[3], [5]])
    return conditions


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("changes", VARIANTS, ids=str)
@torch.inference_mode()
def test_a_generation_is_the_training_forward_bit_for_bit(tiny_model_config: ModelConfig, changes: dict[str, Any], timed: bool) -> None:
    model = build(tiny_model_config, **changes)
    conditions, z = conditions_of(model), torch.randn(2, 13, 128)
    if timed:
        conditions.text_frames = torch.tensor([[0, 6], [0, 6], [6, ALWAYS], [6, ALWAYS], [6, ALWAYS]]).expand(2, -1, -1)
    context = model.context(conditions, parse_guidance("all=1", model.controls.names).terms, 13)
    assert (context.heard is None) == (changes.get("time") == "text")
    for t in (torch.tensor([0.0, 0.0]), torch.tensor([0.3, 0.8])):
        assert torch.equal(model.velocity(z, t, context), model(z, t, conditions))


def test_every_tensor_of_a_context_is_told_and_changed(tiny_model_config: ModelConfig) -> None:
    model = build(tiny_model_config, injection="zero_convolution")
    context = model.context(conditions_of(model), parse_guidance("all=1", model.controls.names).terms, 13)
    assert len(context.tensors()) == 4 + 2 * (2 + 1)  # memory, its bias, ALiBi, controls; keys and values of two layers and the copied one
    twice = context.map(lambda tensor: tensor * 2)
    assert len(twice.tensors()) == len(context.tensors())
    assert all(torch.equal(other, tensor * 2) for other, tensor in zip(twice.tensors(), context.tensors(), strict=True))


@torch.inference_mode()
def test_text_is_padded_where_that_spares_graphs(tiny_model_config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(tiny_model_config)
    conditions, terms, z = conditions_of(model), parse_guidance("all=1", model.controls.names).terms, torch.randn(2, 13, 128)
    expected = model(z, torch.full((2,), 0.4), conditions)
    monkeypatch.setattr(transformer, "TEXT_MULTIPLE", {"cpu": 8})
    context = model.context(conditions, terms, 13)
    assert context.memory.shape[1] == 8
    torch.testing.assert_close(model.velocity(z, torch.full((2,), 0.4), context), expected, atol=1e-5, rtol=1e-5)
    timed = replace(conditions, text_frames=torch.tensor([[0, 6], [0, 6], [6, 13], [6, 13], [6, 13]]).expand(2, -1, -1))
    longer = model.context(timed, terms, 13)
    assert [tensor.shape for tensor in longer.tensors()] == [tensor.shape for tensor in context.tensors()]  # one graph serves both
    torch.testing.assert_close(model.velocity(z, torch.full((2,), 0.4), longer), model(z, torch.full((2,), 0.4), timed))
    heard = build(tiny_model_config, mask_text=False).context(conditions, terms, 13)
    assert heard.memory.shape[1] == 5  # padding that is attended to must not depend on the device


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
@torch.inference_mode()
def test_weights_in_bf16(tiny_model_config: ModelConfig, changes: dict[str, Any]) -> None:
    model = build(replace(tiny_model_config, preconditioning=True), **changes)
    conditions, z, t = conditions_of(model), torch.randn(2, 13, 128), torch.tensor([0.3, 0.8])
    terms = parse_guidance("all=1", model.controls.names).terms
    expected = model.velocity(z, t, model.context(conditions, terms, 13))
    assert model.cast(torch.bfloat16) is model
    assert model.precision == "bf16"
    found = model.velocity(z, t, model.context(conditions, terms, 13))
    assert found.dtype == torch.float32
    assert 1e-4 < float((found - expected).norm() / expected.norm()) < 0.03
    # oneDNN's grouped convolution in bfloat16 is wrong at some sizes
    positions = [module for module in model.modules() if isinstance(module, ConvolutionalPositions)]
    exact = {id(parameter) for module in positions for parameter in module.parameters()}
    for parameter in model.transformer.parameters():
        assert parameter.dtype == (torch.float32 if id(parameter) in exact else torch.bfloat16)
    kept = [*model.controls.parameters(), *model.controls.buffers(), model.latent_mean, model.latent_std]
    assert {tensor.dtype for tensor in kept if tensor.is_floating_point()} == {torch.float32}


@torch.inference_mode()
def test_what_preconditioning_adds_is_not_rounded(tiny_model_config: ModelConfig, tmp_path: Path) -> None:
    model = build(replace(tiny_model_config, preconditioning=True)).cast(torch.bfloat16)
    model.transformer.output.weight.zero_()
    z, context = torch.randn(2, 13, 128), model.context(conditions_of(model), parse_guidance("all=1", model.controls.names).terms, 13)
    assert torch.equal(model.velocity(z, torch.ones(2), context), z)
