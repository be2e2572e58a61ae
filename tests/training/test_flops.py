from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.network.transformer import TransformerConfig
from jasco_pl.training.flops import TRAINING, flops_per_sample, known_peak

NET = TransformerConfig(width=32, layers=4, heads=4, feed_forward=48, convolution_kernel=7, convolution_groups=4)
ALL = {"chords": {}, "melody": {}, "drums": {}, "mix": {}, "painting": {}}
CONFIGS = {
    "paper": (NET, ALL),
    "two frames a token, even kernel": (replace(NET, frames_per_token=2, convolution_kernel=8), ALL),
    "released": (replace(NET, positions="sinusoid", skips=False, time="text", alibi=False), {"chords": {"dim": 3}}),
    "cross-attention": (replace(NET, injection="cross_attention"), {"melody": {}, "drums": {}}),
    "zero convolution": (replace(NET, injection="zero_convolution"), {"melody": {}, "drums": {}}),
    "text only": (NET, {}),
    "time features": (replace(NET, time_features=32), {}),
}


def counted(config: ModelConfig, frames: int, text_tokens: int, backward: bool = False) -> int:
    """By PyTorch; attention as products of matrices, which its counter knows on a CPU."""
    model = JascoModel(config).train()
    conditions = model.null_conditions(1, frames)
    conditions.text = torch.randn(1, text_tokens, config.text_dim)
    conditions.text_mask = torch.ones(1, text_tokens, dtype=torch.bool)
    z: Tensor = torch.randn(1, frames, config.latent_dim, requires_grad=True)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        out = model(z, torch.rand(1), conditions)
        if backward:
            out.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", CONFIGS)
def test_flops_are_those_that_are_computed(name: str) -> None:
    net, controls = CONFIGS[name]
    config = ModelConfig(net, controls, text_dim=12, latent_dim=10, codebook_size=16)  # type: ignore[arg-type]
    for frames, text_tokens in ((11, 3), (16, 1)):
        assert flops_per_sample(config, frames, text_tokens) == counted(config, frames, text_tokens)


def test_a_training_step_is_three_forward_passes() -> None:
    config = ModelConfig(NET, ALL, text_dim=12, latent_dim=10, codebook_size=16)
    assert counted(config, 40, 3, backward=True) == pytest.approx(TRAINING * flops_per_sample(config, 40, 3), rel=0.02)


def test_the_papers_network_is_what_the_design_says() -> None:
    controls: dict[str, dict[str, Any]] = {"chords": {}, "melody": {}, "drumless": {}, "drums_bandpass": {}, "painting": {}}
    config = ModelConfig(TransformerConfig(), controls, text_dim=768)
    forward = flops_per_sample(config, 500, 24)
    assert forward == pytest.approx(0.42e12, rel=0.05)
    assert flops_per_sample(config, 500, 32) / forward < 1.004  # a few words more or less do not matter


def test_gpus_are_known_by_their_names() -> None:
    assert known_peak("NVIDIA H200", "half") == 989.5e12
    assert known_peak("NVIDIA H100 80GB HBM3", "tf32") == 494.5e12
    assert known_peak("NVIDIA H100 PCIe", "half") == 756.5e12
    assert known_peak("NVIDIA A100-SXM4-80GB", "float32") == 19.5e12
    assert known_peak("Tesla T4", "half") == 65e12
    assert known_peak("NVIDIA L40S", "half") == 362e12
    for name in ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA GeForce RTX 4090 Laptop GPU", "AMD Instinct MI300X"):
        assert known_peak(name, "half") is None
