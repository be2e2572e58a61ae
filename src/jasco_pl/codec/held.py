"""Bins that give bands back: where inside of a band its power lies is free, how much of it there is not."""

from __future__ import annotations

import torch
from torch import Tensor

SPREAD_ROUNDS = 40  # after 10 the peaks are blunter, which costs chords


class Held:
    """The filters of some bands [C, F] as what reads bins, and what gives bins their share in what bands lack.

    Sparse, as a bin is in two or three bands: a quarter of the time. Bins that no band reads stay as they are.
    """

    def __init__(self, filters: Tensor) -> None:
        weight = filters.sum(0)[:, None]
        self.unread = (weight == 0).to(filters)
        self.read, self.back = filters.to_sparse(), (filters.t() / (weight + self.unread)).to_sparse()

    def __call__(self, bins: Tensor, least: Tensor, rounds: int, most: Tensor | None = None) -> Tensor:
        """Powers of bins [B, F, T] rescaled so often: each by what the bands over it lack of `least` [B, C, T], averaged.

        With `most` [B, C, T] a band may hold anything from `least` to that.
        """
        clips, _, frames = bins.shape
        with torch.autocast(bins.device.type, enabled=False):  # there are no sparse products in half precision
            bins, least = _side_by_side(bins), _side_by_side(least)
            most = None if most is None else _side_by_side(most)
            for _ in range(rounds):
                heard = (self.read @ bins).clamp(min=1e-12)
                wanted = least if most is None else torch.minimum(torch.maximum(heard, least), most)
                bins = bins * (self.back @ (wanted / heard) + self.unread)
        return bins.reshape(-1, clips, frames).transpose(0, 1)

    def spread(self, power: Tensor, rounds: int = SPREAD_ROUNDS) -> Tensor:
        """Powers of bands [B, C, T] -> of bins [B, F, T] that have them, from a smooth start."""
        clips, _, frames = power.shape
        with torch.autocast(power.device.type, enabled=False):
            start = (self.back @ _side_by_side(power)).reshape(-1, clips, frames).transpose(0, 1)
        return self(start, power, rounds)


def _side_by_side(clips: Tensor) -> Tensor:
    """[B, C, T] -> [C, B T], as products with sparse matrices take it."""
    return clips.transpose(0, 1).flatten(1)
