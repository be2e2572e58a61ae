"""What a stage of the extraction is: the fields that it adds to a stored sample, and how it hears or reads them.

A new field is one `Stage`, in the file of its extractor or of its control, and one line in `data.schema.STAGES`. What samples may hold,
what crops are padded with, the stages of `jasco prepare`, what `jasco shards build` reads and what messages advise follow from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from jasco_pl.audio.long_audio import LongAudio
from jasco_pl.codec.base import Codec


@dataclass(frozen=True)
class Field:
    """A field of stored samples, a tensor [T] or [T, C]; T is the number of the codec's latent frames.

    Attributes:
        name: under which it is stored.
        dtype: of the stored tensor.
        null: "nothing here", as the control that reads the field has it: fills what of a crop lies beyond the end of its sample.
        stands_in_for: the field in whose place it is read where a sample lacks that one.
    """

    name: str
    dtype: torch.dtype
    null: float
    stands_in_for: str | None = None


class Options(Protocol):
    """Which extractors are to be used; `prepare.config.PrepareConfig` has them with what they mean."""

    codec: str
    salience: str | None
    separator: str
    demucs_repo: str | None
    device: str


@dataclass(frozen=True)
class Piece:
    """A composed piece.

    Attributes:
        note: its description, the JSON that `jasco compose` wrote (`compose.pieces.describe`): times in seconds.
        stems: `mix`, `drums` and `drumless`, [1, S] each at the codec's rate.
        frames: T of its fields.
    """

    note: Mapping[str, Any]
    stems: Mapping[str, Tensor]
    frames: int


class Stage:
    """Fills some fields, of recordings by ear (`of_recording`), of composed pieces by what is known of them (`of_piece`), or of both.

    An instance belongs to one process and loads its extractor when that is first needed.

    Attributes:
        name: how options and messages call it.
        fields: what it adds to a sample.
        annotations: what the description of a piece has to say for `of_piece`; pieces without it go without the fields.
        from_mix: whether `of_piece` takes no longer than reading the mix, which is then all that it needs.

    Args:
        codec: in whose frames everything is told, on the device.
        options: names weights and device.
    """

    name: ClassVar[str]
    fields: ClassVar[tuple[Field, ...]]
    annotations: ClassVar[tuple[str, ...]] = ()
    from_mix: ClassVar[bool] = False

    def __init__(self, codec: Codec, options: Options) -> None:
        self.codec, self.options = codec, options

    @classmethod
    def names(cls) -> set[str]:
        """Of the fields."""
        return {field.name for field in cls.fields}

    @classmethod
    def hears_recordings(cls) -> bool:
        """Whether the fields can be had of any audio."""
        return cls.of_recording is not Stage.of_recording

    @classmethod
    def reads_pieces(cls) -> bool:
        """Whether the fields can be had of composed pieces."""
        return cls.of_piece is not Stage.of_piece

    @classmethod
    def require(cls) -> None:
        """Raise the UserError that says how to install the extractor, where it is not installed."""

    def fingerprint(self) -> str:
        """Changes with whatever the fields of a recording depend on besides the audio: a set holds results of one alone.

        Raises:
            UserError: the weights or the plugin are not to be had.
        """
        raise NotImplementedError

    def of_recording(self, audio: LongAudio) -> dict[str, Tensor]:
        """The fields of a recording.

        Raises:
            UserError: the audio or the extractor cannot be used.
        """
        raise NotImplementedError

    def of_piece(self, piece: Piece) -> dict[str, Tensor]:
        """The fields of a composed piece; raises as `of_recording`."""
        raise NotImplementedError

    def frames(self, audio: LongAudio) -> int:
        """T of a recording's fields."""
        return -(-len(audio.samples(self.codec.sample_rate)) // self.codec.hop)
