"""Bands -> waveform with a learned part: a ConvNeXt says what the fine spectrum looks like, Griffin-Lim finds the phases for it.

Why magnitudes are learned and phases are not: on rendered music, Griffin-Lim with the recording's own magnitudes restores nearly all of
its chords and onsets and leaves a third of the mel distance, while the recording's own phases with the magnitudes spread from the bands
help far less (docs/decisions.md). So what the bands lack is where inside a band its power lies, and what lies under the floor. That is a
regression from bands to bins, learned in minutes where phases take days; and training starts at Griffin-Lim's quality, because the last
layer starts at zero. Griffin-Lim's frames overlap by two thirds and more and are made to agree, so nothing repeats at the frame rate.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from jasco_pl.codec.bands import BANDS, FLOOR, BandAnalysis
from jasco_pl.codec.griffin_lim import GriffinLim

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
        return x + self.contract(nn.functional.gelu(self.expand(hidden)))


class Vocoder(nn.Module):
    """A drop-in for `GriffinLim` whose magnitudes are corrected by a network.

    Args:
        analysis: what made the bands.
        iterations: of Griffin-Lim, after the network.
        width: channels of the network.
        layers: its blocks; each sees 3 frames further to both sides.
    """

    def __init__(self, analysis: BandAnalysis, iterations: int = 16, width: int = 256, layers: int = 6) -> None:
        super().__init__()
        self.griffin_lim = GriffinLim(analysis, iterations)
        self.inner = nn.Linear(2 * BANDS, width)
        self.blocks = nn.ModuleList(ConvNeXtBlock(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, self.griffin_lim.low_bins + self.griffin_lim.high_bins)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, latents: Tensor) -> Tensor:
        """Log bands [B, T, 128] -> [B, S]."""
        magnitudes = self.magnitudes(latents)
        return self.griffin_lim.join(magnitudes, self.griffin_lim.phases(magnitudes))

    def magnitudes(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Log bands [B, T, 128] -> magnitudes as `GriffinLim.magnitudes`, [B, low_bins, T] and [B, high_bins, T]."""
        coarse = self.griffin_lim
        with torch.no_grad():
            low, high = coarse.magnitudes(latents)
            low, high = torch.maximum(low, LEAST * coarse.low_share), torch.maximum(high, LEAST * coarse.high_share)
            height = latents.float() - math.log(FLOOR)
        x = self.inner(torch.cat([height / 4 - 1, (height > 0.01).float()], dim=-1))
        for block in self.blocks:
            x = block(x)
        change = self.head(self.norm(x)).float().clamp(-GREATEST_CHANGE, GREATEST_CHANGE).exp().transpose(1, 2)
        return low * change[:, : coarse.low_bins], high * change[:, coarse.low_bins :]
