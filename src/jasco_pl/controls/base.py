"""What a local control is: a stored field, a null value, a projection, all frame by frame.

A raw condition is one integer a frame [B, T] (chord index, melody bin, codebook entry) or a vector a frame [B, T, C] (latents). Either way
"nothing here" can be said of single frames as well as of a whole item, and is the same value in training and in guidance.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from jasco_pl.controls.adherence import Adherence


class Control(nn.Module, ABC):
    """One local control, concatenated to the latents along channels (paper, section 3).

    Attributes:
        name: how users, configs and guidance call it.
        field: the field of a stored sample that it reads.
        asked_by: the field of a generation request that feeds it.
        null: raw value of a frame without this condition.
        channels: width of its projection.
        raw_channels: width of a raw frame; None where it is an integer.
        adherence: how it is told whether music follows it; None where that is not measured.
    """

    name: str
    field: str
    asked_by: str
    null: float
    channels: int
    raw_channels: int | None = None
    adherence: ClassVar[Adherence | None] = None

    @classmethod
    def sizes(cls, latent_dim: int, codebook_size: int) -> dict[str, int]:
        """Those constructor options that the codec decides."""
        return {}

    def take_codec(self, codebook: Tensor | None, silence: Tensor | None) -> None:
        """Keep what is needed of the codec, so that the model's checkpoint is complete.

        Args:
            codebook: vectors of its first codebook [entries, C], as the model sees latents (normalised).
            silence: its latent frame of silence [C], normalised too.
        """

    def null_frames(self, batch: int, frames: int, device: torch.device | str = "cpu") -> Tensor:
        """Raw condition that says nothing, [B, T] or [B, T, C]."""
        if self.raw_channels is None:
            return torch.full((batch, frames), int(self.null), dtype=torch.long, device=device)
        return torch.full((batch, frames, self.raw_channels), self.null, device=device)

    def drop(self, raw: Tensor, keep: Tensor) -> Tensor:
        """Replace the items of raw [B, T, ...] where keep [B] is false by the null condition."""
        return torch.where(keep.view(-1, *[1] * (raw.ndim - 1)), raw, torch.full_like(raw, self.null))

    def from_batch(self, batch: Mapping[str, Any], latents: Tensor) -> Tensor:
        """Raw condition of training samples.

        Args:
            batch: collated crops (`jasco_pl.data.schema.Batch`); what is drawn at random comes from each sample's own `key`.
            latents: the batch's latents as the model sees them, [B, T, C].
        """
        return batch[self.field]

    @abstractmethod
    def forward(self, raw: Tensor) -> Tensor:
        """Raw condition [B, T, ...] -> projection [B, T, channels]."""
