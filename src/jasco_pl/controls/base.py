"""What a local control is: a stored field, a null value, a projection, all frame by frame.

A raw condition is an integer tensor [B, T] (chord index, melody bin, codebook entry), so that "nothing here" can be said of single frames
as well as of a whole item, and is the same value in training and in guidance.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Control(nn.Module, ABC):
    """One local control, concatenated to the latents along channels (paper, section 3).

    Attributes:
        name: how users, configs and guidance call it.
        field: the field of a stored sample that it reads.
        null: raw value of a frame without this condition.
        channels: width of its projection.
    """

    name: str
    field: str
    null: int
    channels: int

    def null_frames(self, batch: int, frames: int, device: torch.device | str = "cpu") -> Tensor:
        """Raw condition that says nothing, [B, T]."""
        return torch.full((batch, frames), self.null, dtype=torch.long, device=device)

    def drop(self, raw: Tensor, keep: Tensor) -> Tensor:
        """Replace the items of raw [B, T] where keep [B] is false by the null condition."""
        return torch.where(keep[:, None], raw, torch.full_like(raw, self.null))

    @abstractmethod
    def forward(self, raw: Tensor) -> Tensor:
        """Raw condition [B, T] -> projection [B, T, channels]."""
