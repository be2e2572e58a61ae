"""Several channels -> one: their mean, unless the mean loses what can be heard in one of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_LOST_DB = 12.0
"""What the mean may lose of the loudest channel: sound on one side of a stereo file loses 6 dB, on one of four 12."""
_NOTHING = 1e-10  # mean square of silence, -100 dB of full scale


class Downmix:
    """The mean of blocks [n, channels] one after another, and in the end whether it was fit to stand for them.

    Sides in opposite phase (a cable wired the wrong way, one half of a balanced line) cancel out in the mean; a single microphone on one of
    eight channels sinks in it.
    """

    def __init__(self) -> None:
        self._count = 0
        self._sums: NDArray[np.float64] | None = None  # of the samples of each channel and of the mean, and of their squares

    def __call__(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """[n, channels] -> [n]."""
        mean: NDArray[np.float32] = block.mean(axis=1)
        if block.shape[1] > 1:
            both = np.concatenate([block, mean[:, None]], axis=1, dtype=np.float64)
            sums = np.stack([both.sum(axis=0), np.square(both).sum(axis=0)])
            self._sums = sums if self._sums is None else self._sums + sums
            self._count += len(block)
        return mean

    @property
    def louder(self) -> int | None:
        """The channel to take in place of the mean of what came by, None where the mean will do. A constant offset is no sound."""
        if self._sums is None or not self._count:
            return None
        means, squares = self._sums / self._count
        *channels, mean = (squares - means**2).tolist()
        loudest = max(channels)
        return channels.index(loudest) if loudest > _NOTHING and mean < loudest * 10 ** (-MOST_LOST_DB / 10) else None


def said(channel: int, channels: int) -> str:
    """In words, which channel was taken."""
    side = ("left", "right")[channel] if channels == 2 else f"{channel + 1} of {channels}"
    return f"its channels cancel out in their mean: the louder one ({side}) was taken"
