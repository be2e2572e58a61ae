"""A released checkpoint's weights and configuration as those of a `JascoModel`.

Sizes come from shapes; what shapes do not show (heads, blur window, scale of the latents) from the configuration. Every tensor must be used
and every shape must be as expected: what is left over or missing is an error that names it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from jasco_pl.codec.encodec import OFFICIAL, OFFICIAL_MEAN, OFFICIAL_STD
from jasco_pl.interop.chord_order import rows_in_our_order
from jasco_pl.interop.released import Released
from jasco_pl.interop.xp_config import XpConfig
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.network.transformer import TransformerConfig
from jasco_pl.notation.melody import BINS
from jasco_pl.system.errors import UserError

CONDITIONERS = "condition_provider.conditioners."
DRUMS = f"{CONDITIONERS}self_wav."
CODEC = f"{DRUMS}compression_model."
CODEBOOK = "quantizer.layers.0.codebook.embed"
CODEBOOK_SIZE = 2048  # of facebook/encodec_32khz, for a model that does not carry it
ONLY = {
    "transformer_lm.norm_first": True,
    "transformer_lm.norm": "layer_norm",
    "transformer_lm.activation": "gelu",
    "transformer_lm.positional_embedding": "sin",
    "transformer_lm.causal": False,
    "transformer_lm.past_context": None,
    "transformer_lm.kv_repeat": 1,
    "fuser.cross": ["description"],
    "fuser.sum": [],
    "fuser.prepend": [],
    "fuser.input_interpolate": [],
    "fuser.cross_attention_pos_emb": False,
}
"""What every released checkpoint says of what leaves no trace in shapes; another value would be another network."""


@dataclass
class Translation:
    """What came of a checkpoint.

    Attributes:
        config: of our model; its codec is the Hub id that the checkpoint points to.
        state: by our names, float32.
        codec: weights of the EnCodec inside, by transformers' names; empty where there is none.
        names: each tensor of the checkpoint -> the part of ours that it went to.
    """

    config: ModelConfig
    state: dict[str, Tensor]
    codec: dict[str, Tensor] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def model(self) -> JascoModel:
        """The model with copies of these tensors."""
        return JascoModel.from_state(self.config, self.state, "translated")


def translate(released: Released) -> Translation:
    """Take a checkpoint apart.

    Raises:
        UserError: its shapes or its configuration fit no variant of the released models, or a tensor is missing or left over.
    """
    return _Translator(released).run()


class _Translator:
    def __init__(self, released: Released) -> None:
        self.where, self.config = str(released.path), released.config
        # audiocraft's two attention modules differ in a part of their tensors' names alone
        self.left = {re.sub(r"(self_attn|cross_attention)\.mha\.", r"\1.", name): value for name, value in released.state.items()}
        self.released = released
        self.state: dict[str, Tensor] = {}
        self.names: dict[str, str] = {}

    def refuse(self, what: str) -> UserError:
        return UserError(f"{self.where!r} is no variant of the released JASCO checkpoints: {what}.")

    def take(self, name: str, part: str, *shape: int) -> Tensor:
        """A tensor, which goes to `part` of ours."""
        if name not in self.left:
            raise self.refuse(f"it lacks {name}")
        tensor = self.left.pop(name)
        if tensor.shape != shape:
            raise self.refuse(f"{name} is {list(tensor.shape)}, where {list(shape)} is expected from the others")
        self.names[name] = part
        return tensor.float()

    def put(self, name: str, part: str, *shape: int) -> None:
        self.state[part] = self.take(name, part, *shape)

    def shape(self, name: str, dims: int) -> tuple[int, ...]:
        """Of a tensor that tells sizes."""
        if name not in self.left:
            raise self.refuse(f"it lacks {name}")
        if self.left[name].ndim != dims:
            raise self.refuse(f"{name} has the shape {list(self.left[name].shape)}, where {dims} dimensions are expected")
        return tuple(self.left[name].shape)

    def run(self) -> Translation:
        for path, value in ONLY.items():
            if (found := self.config.get(path, value)) != value:
                raise self.refuse(f"its configuration says {path}: {found!r}, where the released ones have {value!r}")
        width, channels = self.shape("emb.weight", 2)
        latent_dim = self.shape("linear.weight", 2)[0]
        features = self.shape("temb.dense.0.weight", 2)[1]
        text_dim = self.shape(f"{CONDITIONERS}description.output_proj.weight", 2)[1]
        found = (re.match(r"transformer\.layers\.(\d+)\.", name) for name in self.left)
        layers = 1 + max((int(match[1]) for match in found if match), default=-1)
        feed_forward = self.shape("transformer.layers.0.linear1.weight", 2)[0]
        heads = round(self.config.number("transformer_lm.num_heads"))
        if heads < 1 or width < 4 or width % heads or width % 2:
            raise self.refuse(f"a width of {width} is not even or does not go into {heads} heads")
        if features < 4 or features % 2:
            raise self.refuse(f"temb.dense.0.weight takes {features} sinusoids, where an even number from 4 on is expected")

        codec = self.codec()
        if codec and (CODEBOOK not in codec or codec[CODEBOOK].shape[1:] != (latent_dim,)):
            raise self.refuse(f"its codec has no codebook ({CODEBOOK}) of vectors of {latent_dim} channels")
        entries = len(codec[CODEBOOK]) if codec else CODEBOOK_SIZE
        controls = self.controls(latent_dim, codec)
        beside = sum(options["dim"] for options in controls.values())
        if channels != latent_dim + beside:
            raise self.refuse(f"emb.weight takes {channels} channels, where latents and conditions have {latent_dim} + {beside}")
        self.put("emb.weight", "transformer.embed.weight", width, channels)
        self.linear(f"{CONDITIONERS}description.output_proj", "transformer.text_projection", width, text_dim)
        self.linear("temb.dense.0", "transformer.time_embedding.hidden", 4 * features, features)
        self.linear("temb.dense.1", "transformer.time_embedding.middle", 4 * features, 4 * features)
        self.linear("temb_proj", "transformer.time_embedding.output", width, 4 * features)
        for index in range(layers):
            self.layer(f"transformer.layers.{index}", width, feed_forward)
        self.norm("out_norm", "transformer.output_norm", width)
        self.put("linear.weight", "transformer.output.weight", latent_dim, width)
        if self.left:
            name = next(iter(self.left))
            more = f" and {len(self.left) - 1} others" if len(self.left) > 1 else ""
            raise self.refuse(f"it has {name} {list(self.left[name].shape)}{more}, which none of them has")

        mean, std = latent_scale(self.config)
        self.state |= {"latent_mean": torch.full((latent_dim,), mean), "latent_std": torch.full((latent_dim,), std)}
        return Translation(
            ModelConfig(
                transformer=TransformerConfig(
                    width=width,
                    layers=layers,
                    heads=heads,
                    feed_forward=feed_forward,
                    positions="sinusoid",
                    alibi=False,
                    skips=False,
                    time="text",
                    time_scale=1.0,
                    time_features=features,
                    zero_null_text=True,
                ),
                controls=controls,
                codec=self.released.codec or OFFICIAL,
                text_encoder=str(self.config.get("conditioners.description.t5.name", "t5-base")),
                text_dim=text_dim,
                latent_dim=latent_dim,
                codebook_size=entries,
                frame_rate=self.config.number("compression_model_framerate", 50.0),
                seconds=self.config.number("dataset.segment_duration", 10.0),
                guidance=guidance_of(self.config, bool(controls)),
            ),
            self.state,
            codec,
            self.names,
        )

    def codec(self) -> dict[str, Tensor]:
        """Take the weights of the EnCodec inside, by transformers' names."""
        prefix = f"{CODEC}model."
        own = [name for name in self.left if name.startswith(CODEC) and not name.startswith(prefix)]
        if own:
            raise self.refuse(f"the codec inside is not EnCodec as transformers has it, but audiocraft's own ({own[0]})")
        inside = {name: self.left.pop(name) for name in [*self.left] if name.startswith(prefix)}
        self.names |= {name: f"codec: {name.removeprefix(prefix)}" for name in inside}
        return {name.removeprefix(prefix): tensor for name, tensor in inside.items()}

    def controls(self, latent_dim: int, codec: dict[str, Tensor]) -> dict[str, dict[str, Any]]:
        """Take the local conditions that there are, in the order in which audiocraft concatenates them."""
        found: dict[str, dict[str, Any]] = {}
        name = f"{CONDITIONERS}chords.emb.weight"
        if name in self.left:
            dim = self.shape(name, 2)[1]
            rows = rows_in_our_order()
            self.state["controls.chords.embedding.weight"] = self.take(name, "controls.chords.embedding.weight", len(rows), dim)[rows]
            found["chords"] = {"dim": dim}
        name = f"{DRUMS}output_proj"
        if f"{name}.weight" in self.left:
            dim = self.shape(f"{name}.weight", 2)[0]
            self.linear(name, "controls.drums.projection", dim, latent_dim)
            window = round(self.config.number("conditioners.self_wav.drum_latents.blurring_factor", 3))
            if window < 1:
                raise self.refuse(f"its configuration says blurring_factor: {window}")
            found["drums"] = {"dim": dim, "window": window}
            # released models see the codebook's vectors as they are, not normalised
            self.state["controls.drums.codebook"] = codec[CODEBOOK].float() if codec else torch.zeros(CODEBOOK_SIZE, latent_dim)
        name = f"{CONDITIONERS}melody.output_proj"
        if f"{name}.weight" in self.left:
            dim = self.shape(f"{name}.weight", 2)[0]
            self.linear(name, "controls.melody.projection", dim, BINS)
            found["melody"] = {"dim": dim}
        return found

    def layer(self, theirs: str, width: int, feed_forward: int) -> None:
        ours = theirs  # transformer.layers.N
        for their_norm, our_norm in (("norm1", "self_norm"), ("norm_cross", "cross_norm"), ("norm2", "feed_norm")):
            self.norm(f"{theirs}.{their_norm}", f"{ours}.{our_norm}", width)
        for their_attention, our_attention in (("self_attn", "self_attention"), ("cross_attention", "cross_attention")):
            name, part = f"{theirs}.{their_attention}.in_proj_weight", f"{ours}.{our_attention}"
            rows = self.take(name, f"{part}.query.weight, {part}.key_value.weight", 3 * width, width)
            self.state[f"{part}.query.weight"], self.state[f"{part}.key_value.weight"] = rows.split((width, 2 * width))
            self.put(f"{theirs}.{their_attention}.out_proj.weight", f"{part}.output.weight", width, width)
        self.put(f"{theirs}.linear1.weight", f"{ours}.feed_in.weight", feed_forward, width)
        self.put(f"{theirs}.linear2.weight", f"{ours}.feed_out.weight", width, feed_forward)

    def linear(self, theirs: str, ours: str, outputs: int, inputs: int) -> None:
        self.put(f"{theirs}.weight", f"{ours}.weight", outputs, inputs)
        self.put(f"{theirs}.bias", f"{ours}.bias", outputs)

    def norm(self, theirs: str, ours: str, width: int) -> None:
        self.put(f"{theirs}.weight", f"{ours}.weight", width)
        self.put(f"{theirs}.bias", f"{ours}.bias", width)


def latent_scale(config: XpConfig) -> tuple[float, float]:
    """Mean and standard deviation of the latents."""
    return (
        config.number("compression_model_latent_mean", OFFICIAL_MEAN),
        config.number("compression_model_latent_std", OFFICIAL_STD),
    )


def guidance_of(config: XpConfig, local: bool) -> str:
    """The weights with which audiocraft's training made samples; those of its API where the configuration has none."""
    every = config.number("generate.lm.cfg_coef_all", 5.0)
    text = config.number("generate.lm.cfg_coef_txt", 0.0)
    if not local:
        return f"text={every + text:g}"
    return f"all={every:g}" + (f" text={text:g}" if text else "")
