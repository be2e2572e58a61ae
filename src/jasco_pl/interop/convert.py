"""A released checkpoint as a folder in this project's layout: config.json, model.safetensors, its EnCodec, a model card.

The same files load with `Jasco.from_pretrained`, go on in training (`model.start_from`) and are readable by safetensors alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch

from jasco_pl.codec.encodec import OFFICIAL, EncodecCodec
from jasco_pl.interop.encodec_weights import codec_of
from jasco_pl.interop.released import CODEC_FILE, Released
from jasco_pl.interop.saving import CARD
from jasco_pl.interop.translate import Translation, latent_scale, translate
from jasco_pl.network.model import ModelConfig
from jasco_pl.pages.base import templates
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import write_json, write_text

RECORD = "import.json"
"""What says that a folder was written here, and of what."""
CODEC_FOLDER = "encodec"
LICENCE = "cc-by-nc-4.0"
"""Of Meta's weights, whatever their format."""


@dataclass
class Converted:
    """What was written.

    Attributes:
        config: of the model.
        parameters: learned numbers of the model, without its codec.
        parts: part of ours -> tensors of the checkpoint that went there, all of them.
        codec: where the codec came from.
    """

    config: ModelConfig
    parameters: int
    parts: dict[str, int]
    codec: str


def convert(released: Released, folder: Path, source: str, dtype: torch.dtype = torch.float32, from_hub: bool = False) -> Converted:
    """Write a checkpoint into an empty folder.

    Args:
        released: the checkpoint.
        folder: where to.
        source: what it is called in the card: a Hub id, or the name of a folder.
        dtype: of the model's weights.
        from_hub: whether that is a Hub id.

    Raises:
        UserError: as for `translate`, or its codec cannot be had.
    """
    translation = translate(released)
    codec = _codec(translation, released, folder)
    model = translation.model()
    model.save_pretrained(folder, dtype)
    converted = Converted(translation.config, sum(parameter.numel() for parameter in model.parameters()), _parts(translation.names), codec)
    config = converted.config
    card = (
        templates()
        .get_template("interop/released.md")
        .render(source=source, from_hub=from_hub, licence=LICENCE, converted=converted, config=config, net=config.transformer)
    )
    write_text(folder / CARD, card + "\n")
    write_json(folder / RECORD, {"source": source, "audiocraft": released.version, "tensors": converted.parts, "codec": codec})
    return converted


def _codec(translation: Translation, released: Released, folder: Path) -> str:
    """Put the codec in its place, and say where it came from."""
    config = translation.config
    rate = round(released.config.number("sample_rate", 32000))
    mean, std = latent_scale(released.config)
    if translation.codec:
        codec_of(translation.codec, rate, mean, std).save_pretrained(folder / CODEC_FOLDER)
        config.codec = CODEC_FOLDER
        return "from inside the checkpoint"
    if released.native_codec and released.codec is None:
        raise UserError(
            f"the codec beside {str(released.path)!r} ({CODEC_FILE}) is audiocraft's own EnCodec, which is not read: "
            f"accepted is one inside the checkpoint or a pointer such as {OFFICIAL!r}."
        )
    if "drums" in config.controls:  # whose vectors belong into the model
        codebook = EncodecCodec.from_pretrained(config.codec).codebook
        config.codebook_size = len(codebook)
        translation.state["controls.drums.codebook"] = codebook.float().clone()
    return f"{config.codec}, to which the checkpoint points"


def _parts(names: dict[str, str]) -> dict[str, int]:
    """How many tensors went to each part of ours, the layers counted together."""
    return dict(Counter(_part(name) for name in names.values()))


def _part(name: str) -> str:
    if name.startswith("codec:"):
        return "codec"
    parts = name.split(".")
    return ".".join(parts[:2])
