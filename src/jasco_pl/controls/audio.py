"""Audio controls: the first codebook's vectors, blurred in time and squeezed through a bottleneck (paper, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from jasco_pl.controls.base import Control


def blur(vectors: Tensor, window: int) -> Tensor:
    """Mean over non-overlapping windows of time, then broadcast back: [B, T, C] -> [B, T, C].

    The last window, if it is not full, is filled by reflection, as the released code does.
    """
    frames = vectors.shape[1]
    if spare := -frames % window:
        mirrored = frames - 2 - torch.arange(spare, device=vectors.device)
        mirrored = mirrored.clamp(min=0)  # a clip shorter than that repeats its first frame
        vectors = torch.cat([vectors, vectors[:, mirrored]], dim=1)
    pooled = functional.avg_pool1d(vectors.transpose(1, 2), window)
    return pooled.repeat_interleave(window, dim=2).transpose(1, 2)[:, :frames]


class AudioControl(Control):
    """First-codebook entry of every frame (-1 = none) -> its vector -> blur -> linear bottleneck.

    The codebook belongs to the codec; the model keeps a copy, so that its checkpoint is complete.

    Args:
        codebook_size: entries of the codec's first codebook.
        codebook_dim: dimension of its vectors.
        dim: output dimension (paper: 2 for drums, 1 for the full mix).
        window: blur window in frames (paper: 3 for drums, 5 for the full mix).
    """

    null = -1
    codebook: Tensor

    def __init__(self, codebook_size: int, codebook_dim: int, dim: int, window: int) -> None:
        super().__init__()
        self.channels, self.window = dim, window
        self.register_buffer("codebook", torch.zeros(codebook_size, codebook_dim))
        self.projection = nn.Linear(codebook_dim, dim)

    def forward(self, raw: Tensor) -> Tensor:
        vectors = self.codebook[raw.clamp(min=0)] * (raw >= 0)[..., None]
        return self.projection(blur(vectors, self.window))


class Drums(AudioControl):
    """The drum stem: window 3, dimension 2."""

    name = "drums"
    field = "codes_drums"

    def __init__(self, codebook_size: int, codebook_dim: int, dim: int = 2, window: int = 3) -> None:
        super().__init__(codebook_size, codebook_dim, dim, window)
