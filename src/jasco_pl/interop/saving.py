"""A checkpoint as one folder that is complete but for the text encoder, and its card: what `save_pretrained` and publishing write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from jasco_pl.codec import Codec
from jasco_pl.codec.embedded import is_band_codec
from jasco_pl.network.model import JascoModel, read_config
from jasco_pl.network.student_file import copy_student
from jasco_pl.system.files import write_text

CARD = "README.md"
CODEC_FOLDER = "codec"


def read_card(folder: str | Path) -> str | None:
    """The model card in a checkpoint's folder, if it has one."""
    path = Path(folder) / CARD
    return path.read_text(encoding="utf-8") if path.is_file() else None


def save_whole(
    model: JascoModel,
    codec: Codec | None,
    folder: str | Path,
    card: str | None = None,
    dtype: torch.dtype = torch.float32,
    student_in: str | Path | None = None,
) -> None:
    """Write a model, its codec in the folder `codec` inside, its student, and a card; each file whole or not at all.

    Args:
        model: what is written.
        codec: None leaves the name that the model's configuration has, such as a Hub id.
        folder: where to.
        card: what becomes of README.md; None: one with what the configuration says and places for figures, unless there is one.
        dtype: of the model's weights.
        student_in: the folder that they come from, whose student, if there is one, comes along.
    """
    folder, config = Path(folder), model.config
    try:
        if codec is not None:
            codec.save_pretrained(folder / CODEC_FOLDER)
            model.config = replace(config, codec=CODEC_FOLDER)
        model.save_pretrained(folder, dtype)
    finally:
        model.config = config
    if student_in is not None:
        copy_student(student_in, folder)
    if card is not None:
        write_text(folder / CARD, card)
    elif not (folder / CARD).exists():
        first_card(folder)


def first_card(folder: str | Path) -> None:
    """Write a README.md with front matter, what config.json says, and the places for figures; for a person to go on from.

    Raises:
        UserError: the folder holds neither a codec nor a model.
    """
    from jasco_pl.pages.base import templates  # here: loading and saving need none of it

    folder = Path(folder)
    config = None if is_band_codec(folder) else read_config(folder)
    text = templates().get_template("interop/card.md").render(name=folder.name, config=config, net=config and config.transformer)
    write_text(folder / CARD, text + "\n")
