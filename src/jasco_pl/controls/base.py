"""What a local control is: a stored field, a null value, a projection, all frame by frame; and how a user asks for it.

A raw condition is one number a frame [B, T] (chord index, melody bin, codebook entry) or a vector a frame [B, T, C] (latents). Either way
"nothing here" can be said of single frames as well as of a whole item, and is the same value in training and in guidance.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jasco_pl.codec import Codec
from jasco_pl.controls.adherence import Adherence
from jasco_pl.controls.options import Option
from jasco_pl.notation.chord_text import ChordChange


@dataclass(frozen=True)
class FrameGrid:
    """The clip for which a request is read.

    Attributes:
        frames: its length T in latent frames.
        codec: on the device of the model.
        normalize: latents [..., C] in the codec's scale -> as the model sees them.
        learnt: frames of the clips that the model was trained on.
        levels: bring recordings to the loudness of the training set.
    """

    frames: int
    codec: Codec
    normalize: Callable[[Tensor], Tensor]
    learnt: int
    levels: bool = True

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.codec.frame_rate

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return self.frames / self.frame_rate


@dataclass
class Reading:
    """What a control was asked, in frames.

    Attributes:
        raw: raw condition, [T] or [T, C].
        notes: remarks for the user on how it was read.
        changes: the chords, if it was some.
        recording: audio [1, S] to lay over the clip where `raw` is not null.
    """

    raw: NDArray[np.generic]
    notes: list[str] = field(default_factory=list)
    changes: list[ChordChange] = field(default_factory=list)
    recording: Tensor | None = None


class Control(nn.Module, ABC):
    """One local control, concatenated to the latents along channels (paper, section 3).

    Attributes:
        name: how users, configs and guidance call it.
        field: the field of a stored sample that it reads.
        option: how a request asks for it; controls that follow the same thing share one.
        details: options that say more about it.
        heeds: options of others that it looks at, without following them.
        dtype: of a raw frame: torch.long for an index, torch.float32 for values.
        frame_shape: of a raw frame: () for one number, (C,) for a vector.
        null: raw value of a frame without this condition; NaN is one too.
        channels: width of its projection.
        takes_gain: whether its first weights are multiplied by the model's `control_gain`, as is right for few channels beside the latents.
        grows: constructor options in which a model may differ from the checkpoint that it starts from; channels that they add come last.
        adherence: how it is told whether music follows it; None where that is not measured.
    """

    name: str
    field: str
    option: Option
    details: tuple[Option, ...] = ()
    heeds: tuple[Option, ...] = ()
    dtype: torch.dtype
    frame_shape: tuple[int, ...] = ()
    null: float
    channels: int
    takes_gain: bool = True
    grows: ClassVar[frozenset[str]] = frozenset()
    adherence: ClassVar[Adherence | None] = None

    @classmethod
    def options(cls) -> tuple[Option, ...]:
        """All that a request may say to it, what asks for it first."""
        return (cls.option, *cls.details)

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
        return torch.full((batch, frames, *self.frame_shape), self.null, dtype=self.dtype, device=device)

    def given(self, raw: Tensor) -> Tensor:
        """Whether the items of raw [B, T, ...] say anything in any frame, [B]."""
        absent = raw.isnan() if self.null != self.null else raw == self.null
        return ~absent.flatten(1).all(dim=1)

    def drop(self, raw: Tensor, keep: Tensor) -> Tensor:
        """Replace the items of raw [B, T, ...] where keep [B], or the frames where keep [B, T], is false by the null condition."""
        return torch.where(keep.view(*keep.shape, *[1] * (raw.ndim - keep.ndim)), raw, torch.full_like(raw, self.null))

    def from_batch(self, batch: Mapping[str, Any], latents: Tensor) -> Tensor:
        """Raw condition of training samples.

        Args:
            batch: collated crops (`jasco_pl.data.schema.Batch`); what is drawn at random comes from each sample's own `key`.
            latents: the batch's latents as the model sees them, [B, T, C].
        """
        return batch[self.field]

    @classmethod
    def check(cls, asked: Mapping[str, Any]) -> None:
        """Raise UserError if values of its options, by name, do not go together; called whether or not it is asked for."""

    @abstractmethod
    def read(self, asked: Mapping[str, Any], grid: FrameGrid) -> Reading:
        """Take what a request says to frames.

        Args:
            asked: values of its options, and of those that it heeds, by name; that of `option` is not None.
            grid: the clip.

        Raises:
            UserError: a value that cannot be read or used.
        """

    @abstractmethod
    def forward(self, raw: Tensor) -> Tensor:
        """Raw condition [B, T, ...] -> projection [B, T, channels]."""
