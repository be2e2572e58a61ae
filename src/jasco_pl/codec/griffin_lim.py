"""Bands -> waveform without learning: Griffin-Lim in two resolutions, one below the split of the bands and one above.

What lies below the split ends at a tenth of the sample rate, so phases for the long window are sought at a quarter of the rate, at a
quarter of the cost.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from jasco_pl.codec.bands import FLOOR, LONG_WINDOW, LOW_BANDS, SHORT_WINDOW, BandAnalysis, Spectrum

MOMENTUM = 0.99  # of the fast Griffin-Lim algorithm (Perraudin et al. 2013)
SPREAD_ROUNDS = 40  # after 10 the peaks are blunter, which costs chords
DECIMATION = 4
NEIGHBOURS = 6  # bands across the split that still reach into a side's bins
SILENCE = 1.7e-5  # what a band at the floor holds, by the median over rendered music; FLOOR in every band would be an audible hiss


class GriffinLim(nn.Module):
    """Inverts `BandAnalysis`: spreads every band's power over its FFT bins, then finds phases by fast Griffin-Lim.

    The long window's signal gives everything below the split, the short window's everything above; they are added.

    Args:
        analysis: what made the bands.
        iterations: of Griffin-Lim.

    Attributes:
        low_bins: number of the long window's bins that are used, from 0 Hz on.
        high_bins: number of the short window's bins that are used, up to half of the sample rate.
    """

    low_filters: Tensor
    high_filters: Tensor
    low_share: Tensor
    high_share: Tensor

    def __init__(self, analysis: BandAnalysis, iterations: int = 16) -> None:
        super().__init__()
        self.analysis, self.iterations = analysis, iterations
        self.coarse = Spectrum(LONG_WINDOW // DECIMATION, analysis.low.hop // DECIMATION)
        low_share, high_share = 1 - analysis.high_share(LONG_WINDOW), analysis.high_share(SHORT_WINDOW)
        self.low_bins, self.high_bins = int((low_share > 0).sum()), int((high_share > 0).sum())
        low_filters = analysis.low_filters[: LOW_BANDS + NEIGHBOURS, : self.low_bins]
        high_filters = analysis.high_filters[LOW_BANDS - NEIGHBOURS :, -self.high_bins :]
        self.register_buffer("low_filters", low_filters.clone(), persistent=False)
        self.register_buffer("high_filters", high_filters.clone(), persistent=False)
        # the two sides' powers add up to the whole
        self.register_buffer("low_share", low_share[: self.low_bins, None].sqrt(), persistent=False)
        self.register_buffer("high_share", high_share[-self.high_bins :, None].sqrt(), persistent=False)

    def forward(self, latents: Tensor) -> Tensor:
        """Log bands [B, T, 128] -> [B, S]."""
        magnitudes = self.magnitudes(latents)
        return self.join(magnitudes, self.phases(magnitudes))

    def magnitudes(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Log bands [B, T, 128] -> magnitudes of the long window's bins [B, low_bins, T] and of the short one's [B, high_bins, T]."""
        power = (latents.float().exp().square() - FLOOR**2).clamp(min=SILENCE**2).transpose(1, 2)
        low = spread(power[:, : LOW_BANDS + NEIGHBOURS] / self.analysis.low_scale, self.low_filters)
        high = spread(power[:, LOW_BANDS - NEIGHBOURS :] / self.analysis.high_scale, self.high_filters)
        return low.sqrt() * self.low_share, high.sqrt() * self.high_share

    def measured(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        """What `magnitudes` would ideally give for [B, S]: the bins of the recording itself."""
        low = self.analysis.low(wav)[:, : self.low_bins].abs() * self.low_share
        return low, self.analysis.high(wav)[:, -self.high_bins :].abs() * self.high_share

    @torch.no_grad()
    def phases(self, magnitudes: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Complex numbers of size one for magnitudes as from `magnitudes`, such that the frames agree where they overlap."""
        low, high = magnitudes
        padded = functional.pad(low / DECIMATION, (0, 0, 0, self.coarse.n_fft // 2 + 1 - self.low_bins))
        found = self._search(padded, self.coarse)[:, : self.low_bins]
        short = self.analysis.high
        padded = functional.pad(high, (0, 0, short.n_fft // 2 + 1 - self.high_bins, 0))
        return found, self._search(padded, short)[:, -self.high_bins :]

    def join(self, magnitudes: tuple[Tensor, Tensor], phases: tuple[Tensor, Tensor]) -> Tensor:
        """Magnitudes and phases of both sides -> waveform [B, S]; gradients pass to the magnitudes."""
        low, high = (size * phase for size, phase in zip(magnitudes, phases, strict=True))
        below = self.analysis.low.inverse(functional.pad(low, (0, 0, 0, LONG_WINDOW // 2 + 1 - self.low_bins)))
        return below + self.analysis.high.inverse(functional.pad(high, (0, 0, SHORT_WINDOW // 2 + 1 - self.high_bins, 0)))

    def _search(self, magnitude: Tensor, spectrum: Spectrum) -> Tensor:
        angles = torch.rand(magnitude.shape[1:], generator=torch.Generator().manual_seed(0)).to(magnitude.device)
        phase = torch.polar(torch.ones_like(magnitude), (2 * math.pi * angles).expand_as(magnitude))
        previous = torch.zeros_like(phase)
        for _ in range(self.iterations):
            rebuilt = spectrum(spectrum.inverse(magnitude * phase))
            ahead = rebuilt - MOMENTUM / (1 + MOMENTUM) * previous
            previous = rebuilt
            phase = ahead / ahead.abs().clamp(min=1e-9)
        return phase


def spread(power: Tensor, filters: Tensor) -> Tensor:
    """Non-negative bin powers [B, F, T] whose bands are `power` [B, C, T] by filters [C, F]: multiplicative updates from a smooth start."""
    weight = filters.sum(0).clamp(min=1e-8)[:, None]
    bins = filters.t() @ power / weight
    for _ in range(SPREAD_ROUNDS):
        bins = bins * (filters.t() @ (power / (filters @ bins).clamp(min=1e-12))) / weight
    return bins
