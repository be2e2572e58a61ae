"""Composed pieces as they lie in a folder: their descriptions, and stretches of them, placed by the hash of the id."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from jasco_pl.audio.files import read_audio
from jasco_pl.notation import harmony
from jasco_pl.notation.melody import melody_frames
from jasco_pl.system.errors import UserError
from jasco_pl.system.seeding import stable_hash


def read_note(path: Path) -> dict[str, Any]:
    """The description of a composed piece.

    Raises:
        UserError: the file is damaged or something else.
    """
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        if missing := [key for key in ("id", "chords", "melody", "captions") if key not in note]:
            raise ValueError(f"it lacks {missing[0]!r}")
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{str(path)!r} does not describe a composed piece: {error}.") from error
    return note


@dataclass
class Stretch:
    """Frames [first, first + frames) of a piece of `total` frames.

    Attributes:
        note: what was composed, see `read_note`.
        whole: the mix of the whole piece, [1, S].
        melody: bins of the stretch [T], -1 for none.
    """

    path: Path
    note: dict[str, Any]
    whole: Tensor
    sample_rate: int
    frame_rate: float
    first: int
    frames: int
    total: int
    melody: NDArray[np.int8]

    @property
    def mix(self) -> Tensor:
        """The mix of the stretch, [1, S]."""
        return self.cut(self.whole)

    def stem(self, name: str) -> Tensor:
        """Another stem of the stretch (drums, drumless), [1, S]; UserError where its file cannot be read."""
        return self.cut(read_audio(self.path.with_name(f"{self.note['id']}.{name}.flac"), self.sample_rate))

    def cut(self, wav: Tensor) -> Tensor:
        """The stretch of audio of the whole piece."""
        hop = round(self.sample_rate / self.frame_rate)
        return wav[:, self.first * hop : (self.first + self.frames) * hop]

    @property
    def start(self) -> float:
        """Where it begins, in seconds."""
        return self.first / self.frame_rate

    @property
    def chords(self) -> NDArray[np.int16]:
        """The composed chords of the stretch, vocabulary indices [T]."""
        return harmony.changes_to_frames(self.note["chords"], self.total, self.frame_rate)[self.first : self.first + self.frames]


def read_stretch(path: Path, seconds: float, sample_rate: int, frame_rate: float, purpose: str) -> Stretch:
    """A stretch of `seconds` of the piece described by a JSON; `purpose` is part of the hash that places it.

    Raises:
        UserError: the description or the mix cannot be read, or the piece is shorter than that.
    """
    note = read_note(path)
    whole = read_audio(path.with_name(f"{note['id']}.mix.flac"), sample_rate)
    frames, total = round(seconds * frame_rate), whole.shape[-1] // round(sample_rate / frame_rate)
    first = place(note["id"], total, frames, seconds, purpose)
    melody = melody_frames(note["melody"], total, frame_rate)[first : first + frames]
    return Stretch(path, note, whole, sample_rate, frame_rate, first, frames, total, melody)


def place(name: str, total: int, frames: int, seconds: float, purpose: str) -> int:
    """The first frame of a stretch of `frames` in a piece of `total`, by the hash of its name; UserError where it does not fit."""
    if total < frames:
        raise UserError(f"the piece {name!r} is shorter than {seconds:g} seconds.")
    return stable_hash(purpose, name) % (total - frames + 1)
