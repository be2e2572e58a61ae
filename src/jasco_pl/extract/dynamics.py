"""How loud music is from moment to moment, smoothed over about a beat, in decibels below its own loudest moment."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jasco_pl.audio.long_audio import InMemory, LongAudio, Samples
from jasco_pl.extract.stage import Field, Piece, Stage
from jasco_pl.notation.harmony import FRAME_RATE
from jasco_pl.notation.level_curve import FLOOR

WINDOW_SECONDS = 1.5  # of a Hann window, half as wide at half its height
NOTHING = 100.0
"""In place of a level, which is at most 0."""
_BLOCK = 60  # seconds that are read at once


def levels(samples: Samples, frames: int, frame_rate: float = FRAME_RATE) -> NDArray[np.float32]:
    """Level of every frame in dB: 0 at the loudest moment of these samples, `FLOOR` in silence.

    The mean square of each frame, averaged with the weights of a Hann window around it (fewer where the music begins and ends), as
    energy in decibels smoothed over about a second is the dynamics of Music ControlNet (Wu et al. 2023).

    Args:
        samples: of any length.
        frames: T; frame k is centred on (k + 1/2) / frame_rate seconds.
        frame_rate: frames a second, which divides the rate of the samples.

    Returns:
        [T] in FLOOR..0; all of it FLOOR where there is only silence.
    """
    hop = round(samples.rate / frame_rate)
    power = np.zeros(frames)
    for first in range(0, frames, step := round(_BLOCK * frame_rate)):
        block = np.square(samples[first * hop : min(frames, first + step) * hop], dtype=np.float64)
        block = np.pad(block, (0, -len(block) % hop)).reshape(-1, hop)
        power[first : first + len(block)] = block.mean(axis=1)
    from scipy.ndimage import convolve1d  # here, as in `long_audio.bandpass`

    window = np.hanning(2 * round(WINDOW_SECONDS * frame_rate / 2) + 3)[1:-1]
    smooth, weight = (convolve1d(values, window, mode="constant") for values in (power, np.ones(frames)))
    loudest = float(smooth.max(initial=0.0))
    if loudest < 1e-10:  # -100 dB of full scale: nothing
        return np.full(frames, FLOOR, dtype=np.float32)
    mean = smooth / weight
    with np.errstate(divide="ignore"):
        return np.maximum(10 * np.log10(mean / mean.max()), FLOOR).astype(np.float32)


def clip_levels(wav: Tensor, sample_rate: int, frames: int) -> NDArray[np.float32]:
    """The same of one clip [1, S], whose rate is a multiple of 50, as [T] at 50 Hz."""
    return levels(InMemory(wav, sample_rate), frames)


class Dynamics(Stage):
    """Levels of the mix in dB below the loudest moment of the piece or recording; 100 for nothing known."""

    name = "dynamics"
    fields = (Field("dynamics", torch.float16, NOTHING),)
    from_mix = True

    def fingerprint(self) -> str:
        return f"rms-hann{WINDOW_SECONDS:g}s"

    def of_recording(self, audio: LongAudio) -> dict[str, Tensor]:
        found = levels(audio.samples(self.codec.sample_rate), self.frames(audio), self.codec.frame_rate)
        return {"dynamics": torch.from_numpy(found).half()}

    def of_piece(self, piece: Piece) -> dict[str, Tensor]:
        samples = InMemory(piece.stems["mix"], self.codec.sample_rate)
        return {"dynamics": torch.from_numpy(levels(samples, piece.frames, self.codec.frame_rate)).half()}
