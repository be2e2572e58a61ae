"""Bands -> waveform without learning: Griffin-Lim in two resolutions, one below the split of the bands and one above."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from jasco_pl.codec.bands import BandAnalysis, Spectrum

MOMENTUM = 0.99  # of the fast Griffin-Lim algorithm (Perraudin et al. 2013)
SPREAD_ROUNDS = 10


class GriffinLim(nn.Module):
    """Inverts `BandAnalysis`: spreads every band's power over its FFT bins, then finds phases by fast Griffin-Lim.

    The long window's signal gives everything below the split, the short window's everything above; they are added.

    Args:
        analysis: what made the bands.
        iterations: of Griffin-Lim.
    """

    def __init__(self, analysis: BandAnalysis, iterations: int = 16) -> None:
        super().__init__()
        self.analysis, self.iterations = analysis, iterations

    def forward(self, latents: Tensor) -> Tensor:
        """Log bands [B, T, 128] -> [B, S]."""
        power = latents.float().exp().square().transpose(1, 2)
        low, high = self.analysis.low, self.analysis.high
        share = self.analysis.high_share
        below = self._invert(power, low, self.analysis.low_filters, self.analysis.low_scale, 1 - share(low.n_fft))
        above = self._invert(power, high, self.analysis.high_filters, self.analysis.high_scale, share(high.n_fft))
        return below + above

    def _invert(self, power: Tensor, spectrum: Spectrum, filters: Tensor, scale: float, share: Tensor) -> Tensor:
        magnitude = (spread(power / scale, filters) * share[:, None]).sqrt()
        phases = torch.rand(magnitude.shape[1:], generator=torch.Generator().manual_seed(0)).to(magnitude.device)
        guess = torch.polar(magnitude, (2 * math.pi * phases).expand_as(magnitude))
        previous = torch.zeros_like(guess)
        for _ in range(self.iterations):
            rebuilt = spectrum(spectrum.inverse(guess))
            ahead = rebuilt - MOMENTUM / (1 + MOMENTUM) * previous
            previous = rebuilt
            guess = magnitude * ahead / ahead.abs().clamp(min=1e-9)
        return spectrum.inverse(guess)


def spread(power: Tensor, filters: Tensor) -> Tensor:
    """Non-negative bin powers [B, F, T] whose bands are `power` [B, 128, T]: multiplicative updates from a smooth start."""
    weight = filters.sum(0).clamp(min=1e-8)[:, None]
    bins = filters.t() @ power / weight
    for _ in range(SPREAD_ROUNDS):
        bins = bins * (filters.t() @ (power / (filters @ bins).clamp(min=1e-12))) / weight
    return bins
