"""In- and outpainting: the latents of a clip with a stretch masked, as they are, without a projection (paper, section 3.1).

The paper encodes the masked waveform. Latents are extracted before training here, so a masked frame is the codec's latent of silence
instead; docs/decisions.md says how far that is from encoding the masked waveform.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from jasco_pl.controls.base import Control
from jasco_pl.system.seeding import generator

SHORTEST, LONGEST = 0.4, 0.9  # share of a clip that is masked (paper)


def masked_segment(frames: int, draw: torch.Generator) -> tuple[int, int]:
    """The stretch [first, last) of a clip that a training sample has to fill.

    In- or outpainting with equal chance, a length uniform in 40-90 % of the clip. Outpainting masks the end: the clip is to be continued.
    Inpainting masks a stretch anywhere between a known beginning and a known end (as JEN-1, which the paper follows).
    """
    inpainting, share, place = torch.rand(3, generator=draw).tolist()
    length = max(1, round(frames * (SHORTEST + (LONGEST - SHORTEST) * share)))
    known = frames - length
    first = 1 + int(place * (known - 1)) if inpainting < 0.5 and known > 1 else known
    return first, first + length


class Painting(Control):
    """Normalised latents of every frame, NaN where there is nothing to keep -> the same with silence in those places.

    "Nothing kept" and "no painting asked for" are one: silence all over, the end of the range of masks.

    Args:
        dim: channels of a latent frame.
    """

    name = "painting"
    field = "latents"
    asked_by = "paint"
    null = float("nan")
    silence: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.channels = self.raw_channels = dim
        self.register_buffer("silence", torch.zeros(dim))

    @classmethod
    def sizes(cls, latent_dim: int, codebook_size: int) -> dict[str, int]:
        return {"dim": latent_dim}

    def take_codec(self, codebook: Tensor | None, silence: Tensor | None) -> None:
        if silence is not None:
            self.silence.copy_(silence)

    def from_batch(self, batch: Mapping[str, Any], latents: Tensor) -> Tensor:
        """Mask a segment of every sample, drawn from its own key; frames past the end of a short sample are masked too."""
        unknown = ~batch["mask"].to(latents.device, copy=True)
        for row, key, frames in zip(unknown, batch["key"], batch["mask"].sum(dim=1).tolist(), strict=True):
            first, last = masked_segment(frames, generator("painting", key))
            row[first:last] = True
        return latents.masked_fill(unknown[..., None], self.null)

    def forward(self, raw: Tensor) -> Tensor:
        return torch.where(raw.isnan(), self.silence.to(raw.dtype), raw)
