"""A CLAP in the layout of LAION's checkpoints whose numbers follow from their names, so that LAION's own code could be run on the same."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jasco_pl.system import librosa

WIDTH, DEPTHS, HEADS, WORDS, POSITIONS = 8, (2, 1, 1, 1), (1, 1, 2, 2), 40, 82


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes."""
    found: dict[str, tuple[int, ...]] = {"logit_scale_a": (), "logit_scale_t": ()}

    def linear(name: str, outputs: int, inputs: int, bias: bool = True) -> None:
        found[f"{name}.weight"] = (outputs, inputs)
        if bias:
            found[f"{name}.bias"] = (outputs,)

    def norm(name: str, size: int) -> None:
        found[f"{name}.weight"] = found[f"{name}.bias"] = (size,)

    audio = "audio_branch"
    norm(f"{audio}.bn0", 64)
    found |= {f"{audio}.bn0.running_mean": (64,), f"{audio}.bn0.running_var": (64,)}
    found |= {f"{audio}.patch_embed.proj.weight": (WIDTH, 1, 4, 4), f"{audio}.patch_embed.proj.bias": (WIDTH,)}
    norm(f"{audio}.patch_embed.norm", WIDTH)
    for stage, (depth, heads) in enumerate(zip(DEPTHS, HEADS, strict=True)):
        width = WIDTH * 2**stage
        for block in range(depth):
            name = f"{audio}.layers.{stage}.blocks.{block}"
            norm(f"{name}.norm1", width)
            norm(f"{name}.norm2", width)
            found[f"{name}.attn.relative_position_bias_table"] = (225, heads)
            linear(f"{name}.attn.qkv", 3 * width, width)
            linear(f"{name}.attn.proj", width, width)
            linear(f"{name}.mlp.fc1", 4 * width, width)
            linear(f"{name}.mlp.fc2", width, 4 * width)
        if stage < 3:
            linear(f"{audio}.layers.{stage}.downsample.reduction", 2 * width, 4 * width, bias=False)
            norm(f"{audio}.layers.{stage}.downsample.norm", 4 * width)
    norm(f"{audio}.norm", 8 * WIDTH)
    found |= {f"{audio}.tscam_conv.weight": (5, 8 * WIDTH, 2, 3), f"{audio}.tscam_conv.bias": (5,)}
    linear(f"{audio}.head", 5, 5)
    text = "text_branch"
    found |= {f"{text}.embeddings.word_embeddings.weight": (WORDS, 64), f"{text}.embeddings.token_type_embeddings.weight": (1, 64)}
    found[f"{text}.embeddings.position_embeddings.weight"] = (POSITIONS, 64)
    norm(f"{text}.embeddings.LayerNorm", 64)
    for part in ("query", "key", "value"):
        linear(f"{text}.encoder.layer.0.attention.self.{part}", 64, 64)
    linear(f"{text}.encoder.layer.0.attention.output.dense", 64, 64)
    norm(f"{text}.encoder.layer.0.attention.output.LayerNorm", 64)
    linear(f"{text}.encoder.layer.0.intermediate.dense", 96, 64)
    linear(f"{text}.encoder.layer.0.output.dense", 64, 96)
    norm(f"{text}.encoder.layer.0.output.LayerNorm", 64)
    linear(f"{text}.pooler.dense", 64, 64)
    for branch, inputs in (("text", 64), ("audio", 8 * WIDTH)):
        linear(f"{branch}_projection.0", 512, inputs)
        linear(f"{branch}_projection.2", 512, 512)
        linear(f"{branch}_transform.sequential.0", 512, 512)
        linear(f"{branch}_transform.sequential.3", 512, 512)
    return found


def number(name: str, shape: tuple[int, ...]) -> Tensor:
    """The numbers of a name."""
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if name.endswith("running_var"):
        return 100 * (1 + drawn.abs())
    if name.endswith("running_mean"):
        return 10 * drawn - 30
    if name.endswith(".weight") and len(shape) == 1:
        return 1 + 0.1 * drawn
    return drawn / shape[-1] ** 0.5 if len(shape) > 1 else 0.1 * drawn


def state() -> dict[str, Tensor]:
    """All of them, and what LAION's files have besides."""
    found = {f"module.{name}": number(name, shape) for name, shape in shapes().items()}
    filters = librosa.filters.mel(sr=48000, n_fft=1024, n_mels=64, fmin=50, fmax=14000).T
    return found | {
        "module.audio_branch.logmel_extractor.melW": torch.from_numpy(np.ascontiguousarray(filters)),
        "module.audio_branch.spectrogram_extractor.stft.conv_real.weight": torch.zeros(513, 1, 4),
        "module.audio_branch.bn0.num_batches_tracked": torch.tensor(9),
        "module.audio_branch.layers.0.blocks.0.attn.relative_position_index": torch.zeros(64, 64, dtype=torch.long),
        "module.audio_branch.layers.0.blocks.1.attn_mask": torch.zeros(3, 64, 64),
        "module.text_branch.embeddings.position_ids": torch.arange(POSITIONS)[None],
    }


def write(path: Path, **how: Any) -> Path:
    """As a training left it, with a figure that numpy counted; `how` as for torch.save."""
    torch.save({"epoch": 15, "name": "toy", "state_dict": state(), "best": np.float64(0.9014)}, path, **how)
    return path
