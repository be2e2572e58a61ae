"""The conditions of a batch, which of them a training sample may see, and what stands for those that it may not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from jasco_pl.controls.base import Control
from jasco_pl.controls.painting import Painting
from jasco_pl.controls.segments import segments, within
from jasco_pl.notation.timed_text import ALWAYS
from jasco_pl.system.draws import uniform
from jasco_pl.system.errors import UserError

PART = (0.1, 0.9)  # share of a sample that a condition's stretch takes
EDGES = 1 / 3  # share of the stretches that begin or end with the sample


@dataclass
class Conditions:
    """Raw conditions of B items.

    Attributes:
        local: name of a control -> raw frames, [B, T] or [B, T, C] of the control's dtype.
        text: states of the text encoder, [B, L, D].
        text_mask: true where a state belongs to a text, [B, L].
        text_frames: frames [first, last) in which a state is seen, int64 [B, L, 2]; every frame has to see one. None: all are seen in all.
    """

    local: dict[str, Tensor]
    text: Tensor
    text_mask: Tensor
    text_frames: Tensor | None = None

    def items(self, index: slice | Tensor) -> Conditions:
        """Conditions of some items of the batch, without the text padding that only the others needed."""
        mask = self.text_mask[index]
        length = int(mask.sum(dim=1).max())
        frames = None if self.text_frames is None else self.text_frames[index, :length]
        return Conditions({name: raw[index] for name, raw in self.local.items()}, self.text[index, :length], mask[:, :length], frames)

    def window(self, first: int, last: int) -> Conditions:
        """The same for a stretch of frames."""
        frames = None if self.text_frames is None else self.text_frames - first
        return Conditions({name: raw[:, first:last] for name, raw in self.local.items()}, self.text, self.text_mask, frames)

    def around(self, first: int, last: int, frames: int) -> Conditions:
        """The same for a stretch of a loop of so many frames, which may run over its end into its beginning."""
        index = torch.arange(first, last) % frames
        local = {name: raw[:, index.to(raw.device)] for name, raw in self.local.items()}
        if self.text_frames is None:
            return Conditions(local, self.text, self.text_mask)
        turns = range(first // frames, -(-last // frames))  # a state is seen in each of them
        seen = [self.text_frames.clamp(max=frames) + turn * frames - first for turn in turns]
        text, mask = (torch.cat([tensor] * len(turns), dim=1) for tensor in (self.text, self.text_mask))
        return Conditions(local, text, mask, torch.cat(seen, dim=1))

    def to(self, device: torch.device | str) -> Conditions:
        """The same on another device."""
        frames = None if self.text_frames is None else self.text_frames.to(device)
        return Conditions(
            {name: raw.to(device) for name, raw in self.local.items()}, self.text.to(device), self.text_mask.to(device), frames
        )


def drop_text(text: Tensor, mask: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    """Null text where keep [B] is false: one zero state in the first place, the rest padding."""
    nothing = torch.zeros_like(mask)
    nothing[:, 0] = True
    return torch.where(keep[:, None, None], text, torch.zeros_like(text)), torch.where(keep[:, None], mask, nothing)


def drop_text_frames(frames: Tensor | None, keep: Tensor) -> Tensor | None:
    """The frames [B, L, 2] in which states are seen, where keep [B] is false those of the null text: all."""
    if frames is None:
        return None
    always = torch.zeros_like(frames)
    always[..., 1] = ALWAYS
    return torch.where(keep[:, None, None], frames, always)


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
        """Replace conditions by their null where masks {name or "text": [B]} are false; names that are left out keep theirs.

        Of a control it may be single frames: [B, T].
        """
        local = dict(conditions.local)
        for name, control in self.by_name.items():
            if name in masks:
                local[name] = control.drop(local[name], masks[name].to(local[name].device))
        text, text_mask, text_frames = conditions.text, conditions.text_mask, conditions.text_frames
        if "text" in masks:
            kept = masks["text"].to(text.device)
            text, text_mask = drop_text(text, text_mask, kept)
            text_frames = drop_text_frames(text_frames, kept)
        return Conditions(local, text, text_mask, text_frames)

    def only(self, conditions: Conditions, names: frozenset[str]) -> Conditions:
        """The same batch seen with these conditions alone (one row of the guidance)."""
        batch, device = conditions.text.shape[0], conditions.text.device
        return self.keep(conditions, {name: torch.full((batch,), name in names, device=device) for name in [*self.names, "text"]})

    def reference(self, conditions: Conditions, names: frozenset[str]) -> Conditions:
        """The same, and of an item that is given none but these conditions nothing (the row that the guidance starts from).

        What is kept of a recording does not count: it asks for nothing.
        """
        others = conditions.text.any(dim=-1).any(dim=-1) & torch.tensor("text" not in names, device=conditions.text.device)
        for name, control in self.by_name.items():
            if name not in names and not isinstance(control, Painting):
                others |= control.given(conditions.local[name]).to(others.device)
        none = torch.zeros_like(others)
        return self.keep(conditions, {name: others if name in names else none for name in [*self.names, "text"]})


@dataclass
class ConditionDropout:
    """Which conditions a training sample may see, drawn for each sample (paper, section 4).

    With probability `everything` a sample loses all conditions; otherwise each one independently.

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
    painting_alone: float = 0.0
    """Probability that a sample among the others trains on painting and, as often as ever, its text, without any other control: else it is
    hardly ever learned to go on from what is kept alone."""
    stretch: float = 0.0
    """Probability that a local condition which is kept holds for a part of the sample only: with even chances one stretch of it is kept, or
    one is lost. Of 10-90 % of the sample, about a third of them at its beginning or end. Painting has masks of its own."""

    def __post_init__(self) -> None:
        rates = {name: getattr(self, name) for name in ("everything", "each", "text_alone", "painting_alone", "stretch")}
        for name, rate in {**rates, **self.exceptions}.items():
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
        """Raise UserError if an exception is made for a condition that is not among `names`, or painting is to be alone that is not."""
        names = list(names)
        if self.painting_alone and Painting.name not in names:
            raise UserError(f"dropout leaves painting alone (painting_alone), and there is none; this model has: {', '.join(names)}.")
        if unknown := [name for name in self.exceptions if name not in names]:
            raise UserError(f"dropout makes an exception for the condition {unknown[0]!r}; this model has: {', '.join(names)}.")

    def draw(self, names: Sequence[str], keys: Tensor, sounding: Tensor | None = None) -> dict[str, Tensor]:
        """Masks [B], true where a sample keeps the condition, drawn from the samples' keys [B].

        With `stretch`, those of local conditions are [B, T].

        Args:
            names: of the conditions.
            keys: int64 [B].
            sounding: which frames belong to the samples, the first of each, bool [B, T]; only `stretch` needs it.
        """
        some = uniform(keys, "drop everything")[:, 0] >= self.everything
        keep = {name: some & (uniform(keys, f"drop {name}")[:, 0] >= self.exceptions.get(name, self.each)) for name in names}
        if self.text_alone:
            alone = some & (uniform(keys, "text alone")[:, 0] < self.text_alone)
            keep = {name: alone | mask if name == "text" else mask & ~alone for name, mask in keep.items()}
            some = some & ~alone
        if self.painting_alone:
            alone = some & (uniform(keys, "painting alone")[:, 0] < self.painting_alone)
            others = {name: mask & ~alone for name, mask in keep.items() if name not in ("text", Painting.name)}
            keep |= others | {Painting.name: keep[Painting.name] | alone}
        if self.stretch and sounding is not None:
            keep |= {name: keep[name][:, None] & self._part(name, keys, sounding) for name in names if name not in ("text", Painting.name)}
        return keep

    def _part(self, name: str, keys: Tensor, sounding: Tensor) -> Tensor:
        """Frames [B, T] of a condition that `stretch` leaves."""
        cut, loses, share, place = uniform(keys, f"stretch {name}", 4).double().unbind(1)
        least, most = PART
        place = ((place - EDGES / 2) / (1 - EDGES)).clamp(0, 1)  # a user's stretches often begin or end with the clip
        inside = within(*segments(sounding.sum(dim=1), least + (most - least) * share, place), sounding.shape[1])
        return (cut >= self.stretch)[:, None] | (inside ^ (loses < 0.5)[:, None])
