"""Which conditions a training sample may see, drawn per sample (paper, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class ConditionDropout:
    """With probability `everything` a sample loses all conditions; otherwise each one independently.

    Paper: 0.2 and 0.5 for several conditions; 0.4 and 0 for a single one.
    """

    everything: float = 0.2
    """Probability that a sample trains without any condition."""
    each: float = 0.5
    """Probability that a condition is dropped, in the remaining samples."""
    exceptions: dict[str, float] = field(default_factory=dict)
    """Conditions whose own probability differs from `each`, e.g. {"text": 0.2}."""

    def draw(self, names: Sequence[str], batch: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Masks [batch], true where a sample keeps the condition."""
        some = torch.rand(batch, generator=generator) >= self.everything
        rates = [self.exceptions.get(name, self.each) for name in names]
        return {name: some & (torch.rand(batch, generator=generator) >= rate) for name, rate in zip(names, rates, strict=True)}
