"""A checkpoint of random weights from a configuration of `jasco fit`: as large and as slow as a trained one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from transformers import AutoTokenizer, EncodecConfig, EncodecModel, T5Config, T5EncoderModel

from jasco_pl.codec import Codec, load_codec
from jasco_pl.codec.encodec import OFFICIAL, EncodecCodec
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.network.text import OFFLINE_ENCODER, resolve
from jasco_pl.training.cli import Unstarted, quiet

T5 = "t5-base"


class _Read(Unstarted):
    """The configuration, of which nothing is built."""

    def instantiate_classes(self) -> None:
        pass


def read_model_config(arguments: Sequence[str]) -> ModelConfig:
    """What `jasco fit` would make of its arguments, configurations and overrides."""
    quiet()
    cli = _Read("jasco bench generate", arguments)
    return ModelConfig.from_dict(cli.config["fit"]["model"]["config"].as_dict())


def write_random_checkpoint(config: ModelConfig, folder: Path, seed: int = 0) -> Path:
    """Write a model with weights that were never trained; the folder of the model.

    In place of the paper's codec and text encoder, which would have to be fetched, there are random ones of the same shape (with another's
    tokeniser); other codecs and text encoders are those that the configuration names.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        codec = _codec(config, folder)
        if config.text_encoder == T5:
            config = replace(config, text_encoder=str(_t5(folder / "text")))
        model = _model(config, codec)
    if config.codec == OFFICIAL:
        codec.save_pretrained(folder / "codec")
        model.config = replace(config, codec=str(folder / "codec"))
    model.save_pretrained(folder / "model")
    return folder / "model"


def _model(config: ModelConfig, codec: Codec) -> JascoModel:
    """Two layers are drawn, a pair of the U-Net; the others are copies of the first, since to draw all takes most of a minute."""
    pair = replace(config, transformer=replace(config.transformer, layers=2))
    drawn = JascoModel(pair, codec.latent_mean, codec.latent_std, codec.normalized_codebook, codec.normalized_silence)
    nn.init.normal_(drawn.transformer.output.weight, std=config.transformer.width**-0.5)  # a new network says nothing
    with torch.device("meta"):
        names = JascoModel(config).state_dict()
    state = drawn.state_dict()
    return JascoModel.from_state(config, {name: state[re.sub(r"\.\d+\.", ".0.", name)] for name in names}, "random weights")


def _codec(config: ModelConfig, folder: Path) -> Codec:
    if config.codec != OFFICIAL:
        return load_codec(config.codec)
    shape = EncodecConfig(
        sampling_rate=32000,
        codebook_size=2048,
        num_filters=64,
        target_bandwidths=[2.2],
        upsampling_ratios=[8, 5, 4, 4],
        use_causal_conv=False,
        use_conv_shortcut=False,
    )
    return EncodecCodec(EncodecModel(shape)).eval()


def _t5(folder: Path) -> Path:
    shape = T5Config(d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12)
    T5EncoderModel(shape).save_pretrained(folder)
    AutoTokenizer.from_pretrained(resolve(OFFLINE_ENCODER)).save_pretrained(folder)
    return folder
