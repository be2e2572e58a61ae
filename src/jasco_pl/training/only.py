"""New controls for a model that stays as it is: trained are their projections, and the columns of the embedding by which they enter.

The projection of null is held at zero: where nothing is asked of a new control, the model computes what it did, bit for bit. So it gains
controls on a CPU, and none of its figures has to be measured again; trained as a whole it forgets (docs/decisions.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from jasco_pl.controls.base import Control
from jasco_pl.network.model import JascoModel, columns
from jasco_pl.system.errors import UserError


def train_only(model: JascoModel, names: Sequence[str]) -> None:
    """Freeze all but these controls.

    Raises:
        UserError: the model lacks one, its controls do not enter by columns, or null cannot be held at zero.
    """
    for name in names:
        if name not in model.controls:
            raise UserError(f"model.train_only names {name!r}, which is no control of this model: {', '.join(model.controls.names)} are.")
    if model.config.transformer.injection != "concatenation":
        raise UserError(f"model.train_only wants controls that are concatenated, not {model.config.transformer.injection}.")
    model.requires_grad_(False)
    for name in names:
        _hold_null_at_zero(cast(Control, model.controls[name]))
    weight, frames = model.transformer.embed.weight, model.config.transformer.frames_per_token
    places = columns(model)
    mask = torch.zeros(weight.shape[1] // frames)
    for name in names:
        mask[places[name]] = 1.0
    mask = mask.repeat(frames)
    weight.requires_grad_(True)
    weight.register_hook(lambda gradient: gradient * mask.to(gradient))


@torch.no_grad()
def _hold_null_at_zero(control: Control) -> None:
    projection = getattr(control, "projection", None)
    if not isinstance(projection, nn.Linear) or projection.bias is None:
        raise UserError(f"the control {control.name!r} cannot be trained alone: what it says when it is not given cannot be held at zero.")
    projection.bias.sub_(control(control.null_frames(1, 1))[0, 0])
    projection.weight.requires_grad_(True)
