"""A text encoder that tests can read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def spell(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """One state a letter; the null text is a dash."""
    width = max(len(text or "-") for text in texts)
    states = torch.tensor([[[float(ord(letter))] * 2 for letter in (text or "-").ljust(width)] for text in texts])
    return states, torch.arange(width) < torch.tensor([[len(text or "-")] for text in texts])
