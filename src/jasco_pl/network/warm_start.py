"""A model begins as another one: with controls as a text-only checkpoint (paper, table 4: all three ways of injection started from one), or
on music of one's own as a model that has learned from other music.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from jasco_pl.controls import Control
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.system.errors import UserError

MAY_DIFFER = {"controls", "control_gain", "guidance", "latent_limit", "codec", "seconds", "transformer", "injection", "dropout"}


@torch.no_grad()
def start_from(model: JascoModel, folder: str | Path) -> None:
    """Copy the weights of a checkpoint into a model of the same size.

    Controls that both have, concatenated, go on as they are. Concatenated controls that are new begin with zero columns in the embedding;
    where controls enter through zero convolutions, the trainable copy takes the encoder's weights. Either way the model says what the
    checkpoint says without them, until they are trained.

    Args:
        model: newly built.
        folder: what `jasco export` wrote. For a model with controls that are not concatenated one without controls.

    Raises:
        UserError: the checkpoint's controls cannot go on in this model, or it has another size, objective or codec.
    """
    source = JascoModel.from_pretrained(folder)
    _compare(source.config, model.config, folder)
    for name in ("latent_mean", "latent_std"):
        if not torch.allclose(getattr(source, name), getattr(model, name)):
            raise UserError(f"the checkpoint {str(folder)!r} was trained on another codec: its {name} differs.")
    state = source.transformer.state_dict()
    own = model.transformer
    if own.config.injection == "concatenation":
        state["embed.weight"] = _rearranged(state["embed.weight"], _columns(source), _columns(model), own.config.frames_per_token)
    own.load_state_dict(state, strict=False)  # what is missing is new: control tokens or the branch
    for name in model.controls.names:
        if name in source.controls:
            model.controls[name].load_state_dict(source.controls[name].state_dict())
    if own.branch is not None:
        for copy, layer in zip(own.branch.layers, source.transformer.layers, strict=False):
            copy.load_state_dict(layer.state_dict())


def _columns(model: JascoModel) -> dict[str, slice]:
    """Where the latents and every concatenated control lie in a frame."""
    columns = {"": slice(0, model.config.latent_dim)}
    for name in model.controls.names:
        first = max(part.stop for part in columns.values())
        columns[name] = slice(first, first + cast(Control, model.controls[name]).channels)
    return columns


def _rearranged(weight: Tensor, source: dict[str, slice], own: dict[str, slice], patch: int) -> Tensor:
    """Embedding [D, patch * channels of the source] -> [D, patch * own channels]: zero for parts that the source does not have."""
    frames = weight.unflatten(1, (patch, -1))
    out = frames.new_zeros(len(weight), patch, max(part.stop for part in own.values()))
    for name, part in own.items():
        if name in source:
            out[..., part] = frames[..., source[name]]
    return out.flatten(1)


def _compare(source: ModelConfig, config: ModelConfig, folder: str | Path) -> None:
    if source.controls and not source.transformer.injection == config.transformer.injection == "concatenation":
        controls = ", ".join(source.controls)
        raise UserError(
            f"the checkpoint {str(folder)!r} has the controls {controls}; only concatenated ones can go on in a concatenated model."
        )
    for name in source.controls.keys() & config.controls.keys():
        if source.controls[name] != config.controls[name]:
            raise UserError(
                f"the checkpoint {str(folder)!r} has the control {name!r} with {source.controls[name]}, "
                f"this model with {config.controls[name]}."
            )
    have, want = ({**asdict(entry), **asdict(entry.transformer)} for entry in (source, config))
    for name in want:
        if name not in MAY_DIFFER and have[name] != want[name]:
            raise UserError(f"the checkpoint {str(folder)!r} has {name} {have[name]!r}, this model {want[name]!r}.")
