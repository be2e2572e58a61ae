"""Which conditions a training sample may see, drawn per sample (paper, section 4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from jasco_pl.controls.painting import Painting
from jasco_pl.system.errors import UserError


@dataclass
class ConditionDropout:
    """With probability `everything` a sample loses all conditions; otherwise each one independently.

    The defaults are the paper's for several conditions, but for in/outpainting; `of_the_paper` knows all of it.
    """

    everything: float = 0.2
    """Probability that a sample trains without any condition."""
    each: float = 0.5
    """Probability that a condition is dropped, in the remaining samples."""
    exceptions: dict[str, float] = field(default_factory=dict)
    """Conditions whose own probability differs from `each`, e.g. {"painting": 0.7}."""
    text_alone: float = 0.0
    """Probability that a sample not among `everything` trains on its text alone. Where `each` is low and conditions are many that hardly
    ever happens by itself, and what the text asks for is then not learned without controls."""

    def __post_init__(self) -> None:
        for name, rate in {"everything": self.everything, "each": self.each, "text_alone": self.text_alone, **self.exceptions}.items():
            if not 0 <= rate <= 1:
                raise UserError(f"the dropout of {name!r} is a probability from 0 to 1, not {rate:g}.")

    @classmethod
    def of_the_paper(cls, local: Sequence[str]) -> ConditionDropout:
        """The paper's rates for a model with these local controls.

        Several: 20 % lose everything, the rest each condition with 50 %, in/outpainting with 70 %. One: 40 %, text and control each on its
        own, since guidance (equation 4) evaluates either alone.
        """
        if len(local) <= 1:
            return cls(everything=0.0, each=0.4)
        return cls(exceptions={Painting.name: 0.7} if Painting.name in local else {})

    def check(self, names: Iterable[str]) -> None:
        """Raise UserError if an exception is made for a condition that is not among `names`."""
        names = list(names)
        if unknown := [name for name in self.exceptions if name not in names]:
            raise UserError(f"dropout makes an exception for the condition {unknown[0]!r}; this model has: {', '.join(names)}.")

    def draw(self, names: Sequence[str], batch: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Masks [batch], true where a sample keeps the condition."""
        some = torch.rand(batch, generator=generator) >= self.everything
        rates = [self.exceptions.get(name, self.each) for name in names]
        keep = {name: some & (torch.rand(batch, generator=generator) >= rate) for name, rate in zip(names, rates, strict=True)}
        if self.text_alone:  # drawn last, so that the other draws do not depend on it
            alone = some & (torch.rand(batch, generator=generator) < self.text_alone)
            keep = {name: alone | mask if name == "text" else mask & ~alone for name, mask in keep.items()}
        return keep
