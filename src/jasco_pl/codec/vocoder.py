"""Bands -> waveform with a network before Griffin-Lim that says what the fine spectrum looks like.

Why magnitudes are learned and phases are not: on rendered music, Griffin-Lim with the recording's own magnitudes restores nearly all of
its chords and onsets and leaves a third of the mel distance, while the recording's own phases with the magnitudes spread from the bands
help far less (docs/decisions.md). So what the bands lack is where inside a band its power lies, and what lies under the floor. That is a
regression from bands to bins, learned in minutes where phases take days; and training starts at Griffin-Lim's quality, because the last
layer starts at zero. Griffin-Lim's frames overlap by two thirds and more and are made to agree, so nothing repeats at the frame rate.

The network may place power inside a band, not give a band more or less of it: after it the bins are rescaled to give the bands back.
Without that it follows a recording's latents better and a model's worse, whose guesses it takes for something else.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from jasco_pl.codec.bands import BANDS, FLOOR, BandAnalysis
from jasco_pl.codec.griffin_lim import HELD_ROUNDS, GriffinLim, above_floor, held_power
from jasco_pl.codec.held import SPREAD_ROUNDS, Held

KERNEL = 7  # frames of 20 ms
EXPANSION = 3
LEAST = 1e-3  # magnitude under the rounding of 16-bit audio in both windows
GREATEST_CHANGE = 8.0  # natural log


class ConvNeXtBlock(nn.Module):
    """Depth-wise convolution over time, then a two-layer perceptron on every frame (Liu et al. 2022, in one dimension as in Vocos)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, EXPANSION * width)
        self.contract = nn.Linear(EXPANSION * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, width] -> the same."""
        hidden = self.norm(self.convolution(x.transpose(1, 2)).transpose(1, 2))
        return x + self.contract(functional.gelu(self.expand(hidden)))


class Vocoder(nn.Module):
    """A drop-in for `GriffinLim` whose magnitudes are corrected by a network.

    It has the last word where the bands say nothing: on how far below the floor a band lies, and on the bins above the highest band.

    Args:
        analysis: what made the bands.
        iterations: of Griffin-Lim, after the network.
        width: channels of the network.
        layers: its blocks; each sees 3 frames further to both sides.
    """

    low_read: Tensor  # every bin; for those above the highest band the highest that it reads
    high_read: Tensor

    def __init__(self, analysis: BandAnalysis, iterations: int = 32, width: int = 256, layers: int = 6) -> None:
        super().__init__()
        self.griffin_lim = GriffinLim(analysis, iterations)
        self.inner = nn.Linear(2 * BANDS, width)
        self.blocks = nn.ModuleList(ConvNeXtBlock(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for name, filters in (("low", self.griffin_lim.low_filters), ("high", self.griffin_lim.high_filters)):
            highest = int(filters.sum(0).nonzero()[-1])
            self.register_buffer(f"{name}_read", torch.arange(filters.shape[1]).clamp(max=highest), persistent=False)
        self.head = nn.Linear(width, self.griffin_lim.low_bins + self.griffin_lim.high_bins)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, latents: Tensor, around: int = 0, first: int = 0) -> Tensor:
        """Log bands [B, T, 128] -> [B, S]; `around` as for `Codec.decode`; or they are the frames from `first` on of a clip."""
        magnitudes = self.magnitudes(latents)
        return self.griffin_lim.join(magnitudes, self.griffin_lim.gains(magnitudes, latents, around, first))

    def magnitudes(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Log bands [B, T, 128] -> magnitudes as `GriffinLim.magnitudes`, [B, low_bins, T] and [B, high_bins, T]."""
        coarse = self.griffin_lim
        sides = Held(coarse.low_filters), Held(coarse.high_filters)
        with torch.no_grad():
            limits = coarse.limits(latents)
            start = [
                side.spread(power, SPREAD_ROUNDS - HELD_ROUNDS)[:, read].clamp(min=LEAST**2)
                for side, power, read in zip(sides, coarse.sides(held_power(latents)), (self.low_read, self.high_read), strict=True)
            ]
        x = self.inner(torch.cat([(latents.float() - math.log(FLOOR)) / 4 - 1, above_floor(latents).float()], dim=-1))
        for block in self.blocks:
            x = block(x)
        change = self.head(self.norm(x)).float().clamp(-GREATEST_CHANGE, GREATEST_CHANGE).transpose(1, 2)
        changes = change.split([coarse.low_bins, coarse.high_bins], dim=1)
        moved = (bins * (2 * by).exp() for bins, by in zip(start, changes, strict=True))
        kept = (side(bins, limit.least, HELD_ROUNDS, limit.most) for side, bins, limit in zip(sides, moved, limits, strict=True))
        return coarse.shared(*(bins.clamp(min=LEAST**4) for bins in kept))  # a root has no slope at zero
