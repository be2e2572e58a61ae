"""The conditions of a batch, and what happens to those that are dropped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from jasco_pl.controls.base import Control


@dataclass
class Conditions:
    """Raw conditions of B items.

    Attributes:
        local: name of a control -> raw frames, [B, T] or [B, T, C] of the control's dtype.
        text: states of the text encoder, [B, L, D].
        text_mask: true where a state belongs to a text, [B, L].
    """

    local: dict[str, Tensor]
    text: Tensor
    text_mask: Tensor

    def items(self, index: slice) -> Conditions:
        """Conditions of some items of the batch, without the text padding that only the others needed."""
        mask = self.text_mask[index]
        length = int(mask.sum(dim=1).max())
        return Conditions({name: raw[index] for name, raw in self.local.items()}, self.text[index, :length], mask[:, :length])

    def window(self, first: int, last: int) -> Conditions:
        """The same for a stretch of frames."""
        return Conditions({name: raw[:, first:last] for name, raw in self.local.items()}, self.text, self.text_mask)

    def to(self, device: torch.device | str) -> Conditions:
        """The same on another device."""
        return Conditions({name: raw.to(device) for name, raw in self.local.items()}, self.text.to(device), self.text_mask.to(device))


def drop_text(text: Tensor, mask: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    """Null text where keep [B] is false: one zero state in the first place, the rest padding."""
    nothing = torch.zeros_like(mask)
    nothing[:, 0] = True
    return torch.where(keep[:, None, None], text, torch.zeros_like(text)), torch.where(keep[:, None], mask, nothing)


class ControlSet(nn.ModuleDict):
    """The controls of a model, in their order along the channel axis."""

    def __init__(self, controls: Mapping[str, Control]) -> None:
        super().__init__(dict(controls))

    @property
    def names(self) -> list[str]:
        """Names in channel order."""
        return list(self.keys())

    @property
    def by_name(self) -> dict[str, Control]:
        """The controls themselves, in channel order."""
        return {name: cast(Control, control) for name, control in self.items()}

    @property
    def channels(self) -> int:
        """Channels of all projections together."""
        return sum(control.channels for control in self.by_name.values())

    def forward(self, conditions: Conditions) -> Tensor:
        """Raw conditions -> their projections side by side, [B, T, channels]; [B, 1, 0] where there are no controls."""
        if not len(self):
            return conditions.text.new_zeros(conditions.text.shape[0], 1, 0)
        return torch.cat([control(conditions.local[name]) for name, control in self.items()], dim=-1)

    def keep(self, conditions: Conditions, masks: Mapping[str, Tensor]) -> Conditions:
        """Replace conditions by their null where masks {name or "text": [B]} is false; names that are left out keep theirs."""
        local = dict(conditions.local)
        for name, control in self.by_name.items():
            if name in masks:
                local[name] = control.drop(local[name], masks[name].to(local[name].device))
        text, text_mask = conditions.text, conditions.text_mask
        if "text" in masks:
            text, text_mask = drop_text(text, text_mask, masks["text"].to(text.device))
        return Conditions(local, text, text_mask)

    def only(self, conditions: Conditions, names: frozenset[str]) -> Conditions:
        """The same batch seen with these conditions alone (one row of the guidance)."""
        batch, device = conditions.text.shape[0], conditions.text.device
        return self.keep(conditions, {name: torch.full((batch,), name in names, device=device) for name in [*self.names, "text"]})
