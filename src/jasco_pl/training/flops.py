"""How much a network computes, and how much a device could: for MFU, the share of the peak that training makes use of."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from jasco_pl.controls import CONTROLS
from jasco_pl.network.blocks import TimeEmbedding
from jasco_pl.network.model import ModelConfig

Numbers = Literal["float32", "tf32", "half"]

PEAK_TFLOPS: dict[str, dict[Numbers, float]] = {
    "H200": {"float32": 67.0, "tf32": 494.5, "half": 989.5},
    "H100 PCIe": {"float32": 51.0, "tf32": 378.0, "half": 756.5},
    "H100 NVL": {"float32": 60.0, "tf32": 417.5, "half": 835.5},
    "H100": {"float32": 67.0, "tf32": 494.5, "half": 989.5},
    "A100": {"float32": 19.5, "tf32": 156.0, "half": 312.0},
    "L40S": {"float32": 91.6, "tf32": 183.0, "half": 362.0},
    "L4": {"float32": 30.3, "tf32": 60.0, "half": 121.0},
    "V100": {"float32": 15.7, "tf32": 15.7, "half": 125.0},
    "T4": {"float32": 8.1, "tf32": 8.1, "half": 65.0},
    "RTX 4090": {"float32": 82.6, "tf32": 82.6, "half": 165.2},
    "RTX 3090": {"float32": 35.6, "tf32": 35.6, "half": 71.0},
}
"""Part of a GPU's name -> dense TFLOP/s of its data sheet (half of what is advertised "with sparsity"), by the numbers multiplied."""

TEXT_TOKENS = 24
"""What a caption is taken to have where none is at hand; 8 more would be 0.3 % of the paper's network."""

TRAINING = 3
"""A training step computes this many times a forward pass: the backward pass has two products for every one."""


def flops_per_sample(config: ModelConfig, frames: int, text_tokens: int) -> int:
    """FLOPs of one forward pass for one sample: matrix products, convolutions and attention, two a multiplication and addition.

    Args:
        config: the network and its controls.
        frames: latent frames of the sample.
        text_tokens: states of its text (padding included: it is computed too).
    """
    net = config.transformer
    width, patch = net.width, net.frames_per_token
    tokens = -(-frames // patch)
    with torch.device("meta"):  # shapes alone
        controls = [
            CONTROLS[name](**CONTROLS[name].sizes(config.latent_dim, config.codebook_size), **options)
            for name, options in config.controls.items()
        ]
        time = TimeEmbedding(width, net.time_scale, net.time_features, 4 * net.time_features)
    channels = sum(control.channels for control in controls)
    products = frames * sum(map(_weights, controls)) + _weights(time)
    beside = channels if net.injection == "concatenation" else 0
    memory = text_tokens
    products += tokens * (config.latent_dim + beside) * patch * width + text_tokens * config.text_dim * width
    if net.positions == "convolution":
        products += (tokens + 1 - net.convolution_kernel % 2) * width * (width // net.convolution_groups) * net.convolution_kernel
    if net.time == "adaptive_norm":
        products += 6 * width**2
    if net.injection == "cross_attention" and channels:
        products += tokens * channels * patch * width
        memory += tokens
    self_attention = 4 * tokens * width**2 + 2 * tokens**2 * width
    cross_attention = 2 * (tokens + memory) * width**2 + 2 * tokens * memory * width
    layer = self_attention + cross_attention + 2 * tokens * width * net.feed_forward
    products += net.layers * layer
    if net.skips:
        products += net.layers // 2 * 2 * tokens * width**2
    if net.injection == "zero_convolution" and channels:
        half = net.layers // 2
        products += tokens * channels * patch * width + half * layer + (half + 1) * tokens * width**2
    products += tokens * width * config.latent_dim * patch
    return 2 * products


def _weights(module: nn.Module) -> int:
    return sum(linear.weight.numel() for linear in module.modules() if isinstance(linear, nn.Linear))


def peak_flops(device: torch.device, half: bool) -> float | None:
    """FLOP/s that the device's data sheet promises, None for a CPU or a GPU that is not in the table.

    Args:
        device: where training runs.
        half: whether products are of bfloat16 or float16; single precision counts as TF32 where that is switched on.
    """
    if device.type != "cuda":
        return None
    numbers: Numbers = "half" if half else "float32" if torch.get_float32_matmul_precision() == "highest" else "tf32"
    return known_peak(torch.cuda.get_device_name(device), numbers)


def known_peak(name: str, numbers: Numbers) -> float | None:
    """The same by the GPU's name; None for parts of a GPU (MIG) and for laptops' GPUs, which are others than their names say."""
    words = name.replace("-", " ").split()
    if "MIG" in words or "Laptop" in words:
        return None
    for known, peaks in PEAK_TFLOPS.items():
        if all(word in words for word in known.split()):
            return peaks[numbers] * 1e12
    return None
