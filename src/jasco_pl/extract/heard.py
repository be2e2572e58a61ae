"""What the extractors hear in a clip: one record for evaluation, the codec report and the demo."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from jasco_pl.extract.beats import beats_of
from jasco_pl.extract.chordino import chordino_frames
from jasco_pl.extract.classical import onset_times, prominent_pitch_class
from jasco_pl.extract.dynamics import clip_levels
from jasco_pl.extract.key import key_of
from jasco_pl.notation import harmony
from jasco_pl.system.files import atomic_path

_ROUNDING = 1e-3  # of a frame


@dataclass(frozen=True, eq=False)
class Part:
    """Frames [first, last) of a clip that was heard whole, or some of them.

    Attributes:
        first, last: between which they lie.
        mask: which frames of the clip they are, [T]; None is all between the two.
    """

    first: int
    last: int
    mask: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> Part:
        """Those where a mask [T] is true."""
        true = np.flatnonzero(mask)
        return cls(int(true[0]), int(true[-1]) + 1, mask) if true.size else cls(0, 0, mask)

    @property
    def frames(self) -> slice | NDArray[np.int64]:
        """Of what is heard, at 50 Hz."""
        return slice(self.first, self.last) if self.mask is None else np.flatnonzero(self.mask)

    def samples(self, sample_rate: int) -> slice:
        """Of the audio, from the first to the last."""
        return slice(self.first * sample_rate // harmony.FRAME_RATE, self.last * sample_rate // harmony.FRAME_RATE)

    def times(self, onsets: NDArray[np.float64]) -> NDArray[np.float64]:
        """Those of the onset times that lie inside; a beat that falls on the first frame may be read a rounding error before it."""
        place = onsets * harmony.FRAME_RATE + _ROUNDING
        inside = (place >= self.first) & (place < self.last)
        if self.mask is not None:
            inside[inside] = self.mask[place[inside].astype(np.int64)]
        return onsets[inside]


class Heard:
    """Every figure is computed when it is first asked for, once; the extractors take seconds, and few readers want all of them.

    `melody` is what deep salience heard, bins [T], for those who let it listen; None otherwise.

    Args:
        audio: one clip [1, S].
        sample_rate: in Hz.
    """

    def __init__(self, audio: Tensor, sample_rate: int) -> None:
        self.audio, self.sample_rate = audio, sample_rate
        self.frames = round(audio.shape[-1] / sample_rate * harmony.FRAME_RATE)
        self.melody: NDArray[np.int8] | None = None

    @property
    def whole(self) -> Part:
        """All of its frames."""
        return Part(0, self.frames)

    @cached_property
    def chords(self) -> NDArray[np.int16]:
        """Chordino's chords, vocabulary indices at 50 Hz [T]; raises UserError where it is not installed."""
        return chordino_frames(self.audio, self.sample_rate, self.frames)

    @cached_property
    def onsets(self) -> NDArray[np.float64]:
        """Onset times in seconds as figures count them, [N]: without one at the very beginning."""
        return onset_times(self.audio, self.sample_rate, start=False)

    @cached_property
    def pitch_classes(self) -> NDArray[np.int64]:
        """Prominent pitch class of every frame at 50 Hz [T], -1 in silence."""
        return prominent_pitch_class(self.audio, self.sample_rate, self.frames).numpy()

    @cached_property
    def beats(self) -> NDArray[np.float64]:
        """Beats as BeatNet hears them: (seconds, number in the bar from 1) [N, 2]; raises UserError where it is not installed."""
        return beats_of(self.audio, self.sample_rate)

    @cached_property
    def levels(self) -> NDArray[np.float32]:
        """Level in dB below the clip's loudest moment, smoothed over about a beat, at 50 Hz [T]."""
        return clip_levels(self.audio, self.sample_rate, self.frames)

    @cached_property
    def key(self) -> str:
        """`C major`, `F# minor`; empty where none stands out."""
        return key_of(self.audio, self.sample_rate) or ""

    def save(self, path: str | Path, names: Iterable[str]) -> None:
        """Write some of what is heard as .npz, whole or not at all."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **{name: np.asarray(getattr(self, name)) for name in names})

    def recall(self, path: str | Path) -> Heard:
        """Take from a file what was heard in this audio before."""
        with np.load(path, allow_pickle=False) as stored:
            self.__dict__ |= dict(stored)  # where cached_property looks first
        return self
