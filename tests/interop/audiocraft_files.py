"""Checkpoints in audiocraft's layout at toy sizes, and what audiocraft's network makes of them, written again as plain tensor algebra.

The algebra knows audiocraft's names and nothing of ours; that it is right is tested on a file that audiocraft itself made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torchdiffeq
import yaml
from torch import Tensor
from torch.nn import functional
from transformers import EncodecConfig, EncodecModel

CONDITIONERS = "condition_provider.conditioners"
CODEC = f"{CONDITIONERS}.self_wav.compression_model.model"
CODES = 32
POINTER = "//pretrained/facebook/encodec_32khz"


@dataclass
class Toy:
    """What a file has, and its sizes."""

    conditions: Sequence[str] = ("chords", "drums", "melody")
    width: int = 32
    layers: int = 2
    heads: int = 4
    feed_forward: int = 128
    latent: int = 16
    text: int = 32
    chords: int = 16
    drums: int = 2
    melody: int = 16
    features: int = 128
    blur: int = 3
    seconds: float = 1.0
    text_encoder: str = "t5-base"
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def dims(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.conditions}


def encodec(toy: Toy) -> EncodecModel:
    """An EnCodec of random weights with the strides of facebook/encodec_32khz."""
    config = EncodecConfig(
        sampling_rate=32000,
        upsampling_ratios=[8, 5, 4, 4],
        num_filters=2,
        hidden_size=toy.latent,
        codebook_size=CODES,
        codebook_dim=toy.latent,
        num_lstm_layers=2,
        target_bandwidths=[1.0],
        use_causal_conv=False,
        use_conv_shortcut=False,
    )
    model = EncodecModel(config).eval()
    with torch.no_grad():
        for layer in model.quantizer.layers:
            layer.codebook.embed.normal_()
    return model


def state(toy: Toy, seed: int = 0) -> dict[str, Tensor]:
    """Random weights by audiocraft's names."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        found: dict[str, Tensor] = {}

        def linear(name: str, outputs: int, inputs: int, bias: bool = True) -> None:
            found[f"{name}.weight"] = torch.randn(outputs, inputs) / math.sqrt(inputs)
            if bias:
                found[f"{name}.bias"] = 0.1 * torch.randn(outputs)

        def norm(name: str) -> None:
            found[f"{name}.weight"], found[f"{name}.bias"] = 1 + 0.1 * torch.randn(toy.width), 0.1 * torch.randn(toy.width)

        width, dims = toy.width, toy.dims
        if "drums" in dims:
            linear(f"{CONDITIONERS}.self_wav.output_proj", dims["drums"], toy.latent)
            found |= {f"{CODEC}.{name}": tensor.clone() for name, tensor in encodec(toy).state_dict().items()}
        linear(f"{CONDITIONERS}.description.output_proj", width, toy.text)
        if "chords" in dims:
            found[f"{CONDITIONERS}.chords.emb.weight"] = torch.randn(195, dims["chords"])
        if "melody" in dims:
            linear(f"{CONDITIONERS}.melody.output_proj", dims["melody"], 53)
        linear("emb", width, toy.latent + sum(dims.values()), bias=False)
        for index in range(toy.layers):
            name = f"transformer.layers.{index}"
            for attention in ("self_attn", "cross_attention"):
                found[f"{name}.{attention}.in_proj_weight"] = torch.randn(3 * width, width) / math.sqrt(width)
                linear(f"{name}.{attention}.out_proj", width, width, bias=False)
            linear(f"{name}.linear1", toy.feed_forward, width, bias=False)
            linear(f"{name}.linear2", width, toy.feed_forward, bias=False)
            for part in ("norm1", "norm2", "norm_cross"):
                norm(f"{name}.{part}")
        norm("out_norm")
        linear("linear", toy.latent, width, bias=False)
        linear("temb.dense.0", 4 * toy.features, toy.features)
        linear("temb.dense.1", 4 * toy.features, 4 * toy.features)
        linear("temb_proj", width, 4 * toy.features)
    return found


def config(toy: Toy) -> str:
    """Its xp.cfg: references, keys that nobody knows, and places that were never filled."""
    return yaml.safe_dump(
        {
            "device": "cuda",
            "dora": {"dir": "/checkpoint/${oc.env:USER}/outputs"},
            "datasource": {"train": "???"},
            "sample_rate": 32000,
            "compression_model_framerate": 50,
            "compression_model_latent_dim": toy.latent,
            "compression_model_latent_mean": -0.5,
            "compression_model_latent_std": 2.0,
            "compression_model_checkpoint": POINTER,
            "dataset": {"segment_duration": toy.seconds},
            "generate": {"lm": {"cfg_coef_all": 3.0, "cfg_coef_txt": 1.0}},
            "size": {"heads": toy.heads},
            "transformer_lm": {
                "dim": toy.width,
                "num_heads": "${size.heads}",
                "emb_lr": None,
                "two_step_cfg": False,
                "brand_new": [1],
                "norm_first": True,
                "causal": False,
                "positional_embedding": "sin",
                "flow_dim": "${compression_model_latent_dim}",
                **toy.more,
            },
            "fuser": {"cross": ["description"], "ignore": list(toy.conditions), "prepend": []},
            "conditioners": {
                "description": {"model": "t5", "t5": {"name": toy.text_encoder}},
                "self_wav": {"model": "drum_latents", "drum_latents": {"blurring_factor": toy.blur}},
            },
        }
    )


def package(toy: Toy, seed: int = 0, **more: Any) -> dict[str, Any]:
    """What state_dict.bin holds."""
    return {"best_state": state(toy, seed), "xp.cfg": config(toy), "version": "1.4.0a2", "exported": True, **more}


def write(folder: Path, toy: Toy, seed: int = 0, codec: dict[str, Any] | None = None) -> Path:
    """A folder as the Hub has it."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(package(toy, seed), folder / "state_dict.bin")
    pointer = {"pretrained": "facebook/encodec_32khz", "exported": True, "version": "1.4.0a2"}
    torch.save(codec or pointer, folder / "compression_state_dict.bin")
    return folder


def blurred(latents: Tensor, window: int) -> Tensor:
    """[T, C]: means of windows, the last one filled by reflection."""
    rows = list(latents)
    while len(rows) % window:
        rows.append(latents[len(latents) - 2 - (len(rows) - len(latents))])
    return torch.stack(rows).unflatten(0, (-1, window)).mean(1).repeat_interleave(window, 0)[: len(latents)]


def attention(weights: dict[str, Tensor], name: str, heads: int, x: Tensor, source: Tensor) -> Tensor:
    query, key, value = weights[f"{name}.in_proj_weight"].chunk(3)
    q, k, v = ((one @ part.t()).unflatten(-1, (heads, -1)).transpose(1, 2) for one, part in ((x, query), (source, key), (source, value)))
    mixed = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1) @ v
    return mixed.transpose(1, 2).flatten(2) @ weights[f"{name}.out_proj.weight"].t()


def velocity(weights: dict[str, Tensor], heads: int, z: Tensor, t: Tensor, local: Sequence[Tensor], text: Tensor) -> Tensor:
    """Of z [B, T, C] at t [B] beside embedded conditions [B, T, dim] each, in order, and projected text [B, L, D]."""

    def linear(name: str, x: Tensor) -> Tensor:
        return functional.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))

    def norm(name: str, x: Tensor) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])

    x = linear("emb", torch.cat([z, *local], -1))
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[1])[:, None] / 10000 ** (torch.arange(half) / (half - 1))
    x = x + torch.cat([angle.cos(), angle.sin()], -1)
    half = weights["temb.dense.0.weight"].shape[1] // 2
    angle = t[:, None] * torch.exp(torch.arange(half) * -(math.log(10000) / (half - 1)))
    hidden = linear("temb.dense.1", functional.silu(linear("temb.dense.0", torch.cat([angle.sin(), angle.cos()], -1))))
    memory = text + linear("temb_proj", hidden)[:, None]
    index = 0
    while f"transformer.layers.{index}.norm1.weight" in weights:
        name = f"transformer.layers.{index}"
        normed = norm(f"{name}.norm1", x)
        x = x + attention(weights, f"{name}.self_attn", heads, normed, normed)
        x = x + attention(weights, f"{name}.cross_attention", heads, norm(f"{name}.norm_cross", x), memory)
        x = x + linear(f"{name}.linear2", functional.gelu(linear(f"{name}.linear1", norm(f"{name}.norm2", x))))
        index += 1
    return linear("linear", norm("out_norm", x))


def given(toy: Toy, frames: int, seed: int = 1, text_length: int = 7) -> dict[str, Any]:
    """Inputs as an anchor has them."""
    draw = torch.Generator().manual_seed(seed)
    found: dict[str, Any] = {"text_hidden": torch.randn(text_length, toy.text, generator=draw)}
    if "chords" in toy.conditions:
        found["frame_chords"] = torch.randint(194, (frames,), generator=draw)
    if "melody" in toy.conditions:
        found["melody"] = functional.one_hot(torch.randint(53, (frames,), generator=draw), 53).t().float()
    if "drums" in toy.conditions:
        latents = torch.randn(frames, toy.latent, generator=draw)
        found["drum_latents_by_id"] = {0: torch.zeros(frames, toy.latent), 1: latents}
    return found


def rows(weights: dict[str, Tensor], toy: Toy, inputs: dict[str, Any], frames: int) -> tuple[list[Tensor], Tensor]:
    """Embedded conditions and projected text of the three rows: all, text alone, none; as audiocraft has them."""
    local = []
    missing = inputs.get("frame_chords") is None or len(inputs["frame_chords"]) <= 1
    if "chords" in toy.conditions:
        table = weights[f"{CONDITIONERS}.chords.emb.weight"]
        null = table[194].expand(frames, -1)
        local.append(torch.stack([null if missing else table[inputs["frame_chords"]], null, null]))
    if "drums" in toy.conditions:
        name, latents = f"{CONDITIONERS}.self_wav.output_proj", inputs.get("drum_latents_by_id", {})
        vectors = [blurred(latents[row], toy.blur) if latents else torch.zeros(frames, toy.latent) for row in (1, 0, 0)]
        local.append(functional.linear(torch.stack(vectors), weights[f"{name}.weight"], weights[f"{name}.bias"]))
    if "melody" in toy.conditions:
        name, melody = f"{CONDITIONERS}.melody.output_proj", inputs.get("melody", torch.zeros(53, frames))
        kept = melody if missing else torch.zeros(53, frames)
        local.append(
            functional.linear(torch.stack([melody, kept, kept]).transpose(1, 2), weights[f"{name}.weight"], weights[f"{name}.bias"])
        )
    name = f"{CONDITIONERS}.description.output_proj"
    text = functional.linear(inputs["text_hidden"], weights[f"{name}.weight"], weights[f"{name}.bias"])
    return local, torch.stack([text, text, torch.zeros_like(text)])


def anchor(toy: Toy, weights: dict[str, Tensor], frames: int = 20, inputs: dict[str, Any] | None = None, seed: int = 2) -> dict[str, Any]:
    """Inputs and what audiocraft makes of them."""
    inputs = given(toy, frames) if inputs is None else inputs
    draw = torch.Generator().manual_seed(seed)
    local, text = rows(weights, toy, inputs, frames)
    z, t = torch.randn(3, frames, toy.latent, generator=draw), torch.rand(3, 1, 1, generator=draw)
    z_guided, z0 = (torch.randn(1, frames, toy.latent, generator=draw) for _ in range(2))
    terms = [3.0, 1.0, -3.0]

    def guided(t: Tensor, z: Tensor) -> Tensor:
        found = velocity(weights, toy.heads, z.repeat(3, 1, 1), t.expand(3), local, text)
        return sum(weight * row for weight, row in zip(terms, found.chunk(3), strict=True))  # type: ignore[return-value]

    euler = z0
    for step in range(10):
        euler = euler + 0.1 * guided(torch.tensor(step / 10), euler)
    return {
        **inputs,
        "z": z,
        "t": t,
        "v": velocity(weights, toy.heads, z, t.flatten(), local, text),
        "z_guided": z_guided,
        "t_guided": 0.4,
        "term_weights": terms,
        "guided_3_1": guided(torch.tensor(0.4), z_guided),
        "z0": z0,
        "euler10": euler,
        "dopri5": torchdiffeq.odeint(guided, z0, torch.tensor([0.0, 1 - 1e-5]), rtol=1e-5, atol=1e-5)[-1],
    }
