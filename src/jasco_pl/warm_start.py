"""A model with controls begins as a text-only checkpoint (paper, table 4: all three ways of injection started from one)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from jasco_pl.errors import UserError
from jasco_pl.model import JascoModel, ModelConfig

MAY_DIFFER = {"controls", "control_gain", "guidance", "latent_limit", "codec", "seconds", "transformer", "injection", "dropout"}


@torch.no_grad()
def start_from(model: JascoModel, folder: str | Path) -> None:
    """Copy the weights of a text-only checkpoint into a model of the same size.

    Where controls are concatenated, their columns of the embedding become zero; where they enter through zero convolutions, the trainable
    copy takes the encoder's weights. Both then say what the text-only model says until they are trained.

    Args:
        model: the model with controls, newly built.
        folder: what `jasco export` wrote of a model without controls.

    Raises:
        UserError: the checkpoint has controls, or another size, objective or codec.
    """
    source = JascoModel.from_pretrained(folder)
    if source.config.controls:
        raise UserError(f"the checkpoint {str(folder)!r} has the controls {', '.join(source.config.controls)}; a text-only one is wanted.")
    _compare(source.config, model.config, folder)
    for name in ("latent_mean", "latent_std"):
        if not torch.allclose(getattr(source, name), getattr(model, name)):
            raise UserError(f"the text-only checkpoint {str(folder)!r} was trained on another codec: its {name} differs.")
    state = source.transformer.state_dict()
    own = model.transformer
    if own.embed.in_features != source.transformer.embed.in_features:
        state["embed.weight"] = _widened(state["embed.weight"], own.embed.in_features, own.config.frames_per_token)
    own.load_state_dict(state, strict=False)  # what is missing is new: control tokens or the branch
    if own.branch is not None:
        for copy, layer in zip(own.branch.layers, source.transformer.layers, strict=False):
            copy.load_state_dict(layer.state_dict())


def _widened(weight: Tensor, columns: int, patch: int) -> Tensor:
    """Embedding [D, patch * latents] -> [D, patch * (latents + controls)] that does not hear the controls."""
    frames = weight.unflatten(1, (patch, -1))
    wide = frames.new_zeros(len(weight), patch, columns // patch)
    wide[..., : frames.shape[-1]] = frames
    return wide.flatten(1)


def _compare(source: ModelConfig, config: ModelConfig, folder: str | Path) -> None:
    have, want = ({**asdict(entry), **asdict(entry.transformer)} for entry in (source, config))
    for name in want:
        if name not in MAY_DIFFER and have[name] != want[name]:
            raise UserError(f"the text-only checkpoint {str(folder)!r} has {name} {have[name]!r}, this model {want[name]!r}.")
