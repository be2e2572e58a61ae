"""Stretches of clips that training draws from its samples' keys: tensor operations alone, as a CUDA graph wants them."""

from __future__ import annotations

import torch
from torch import Tensor


def segments(frames: Tensor, share: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Stretches [first, last) of clips, int64 [B] each.

    Args:
        frames: of the clips, int64 [B].
        share: of them that the stretches take, 0 to 1 [B]; one frame at least.
        place: 0 where a stretch lies at the beginning, 1 at the end, float64 [B].
    """
    length = (frames * share).round().long().clamp(min=1)
    first = (place * (frames - length)).round().long()
    return first, first + length


def within(first: Tensor, last: Tensor, width: int) -> Tensor:
    """Which of the frames 0 .. width - 1 lie in the stretches [first, last) of [B] clips, bool [B, width]."""
    place = torch.arange(width, device=first.device)
    return (place >= first[:, None]) & (place < last[:, None])
