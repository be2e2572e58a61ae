"""Bands -> waveform without learning: their power is spread over bins, then phases are sought by which the frames agree.

In two resolutions, one below the split of the bands and one above. What lies below the split ends at a tenth of the sample rate, so phases
for the long window are sought at a quarter of the rate, at a quarter of the cost.

Frames that overlap by five sixths can agree about few magnitudes, and those that were spread or predicted are not among them: sought for as
they are, a sound comes out whose bands are a tenth off, with peaks blunter than an instrument's. So below the split, where chords are,
every second round moves the magnitudes half of the way to what the frames agree on, and then back to what the bands say, which is known
(docs/decisions.md). Above it frames overlap less, bands are wide, and a quarter of the rounds sounds the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from jasco_pl.codec.bands import FLOOR, LONG_WINDOW, LOW_BANDS, SHORT_WINDOW, BandAnalysis, Spectrum
from jasco_pl.codec.held import Held

MOMENTUM = 0.99  # of the fast Griffin-Lim algorithm (Perraudin et al. 2013)
DECIMATION = 4
HIGH_SHARE = 4  # rounds below the split for one above
UNMOVED = 2  # rounds from chance phases before what frames agree on says anything
HELD_ROUNDS = 3
DRAWN = 64  # frames whose beginnings are drawn at once
EVERY = 2  # rounds; moving in every one costs more and sounds the same
NEIGHBOURS = 6  # bands across the split that still reach into a side's bins
SILENCE = 1.7e-5  # what a band at the floor holds, by the median over rendered music; FLOOR in every band would be an audible hiss
AT_FLOOR = 0.05  # natural log over the floor up to which a band is only known to be no louder


class Limits(NamedTuple):
    """Power that the bands of one side may hold, [B, C, T] each: one and the same, but for those at the floor, known to be no louder."""

    least: Tensor
    most: Tensor


class GriffinLim(nn.Module):
    """Inverts `BandAnalysis`: the long window's signal gives everything below the split, the short window's everything above.

    Args:
        analysis: what made the bands.
        iterations: rounds of the search below the split; above it a quarter of them.

    Attributes:
        low_bins: number of the long window's bins that are used, from 0 Hz on.
        high_bins: number of the short window's bins that are used, up to half of the sample rate.
    """

    low_filters: Tensor
    high_filters: Tensor
    low_share: Tensor
    high_share: Tensor

    def __init__(self, analysis: BandAnalysis, iterations: int = 32) -> None:
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

    def forward(self, latents: Tensor, around: int = 0, first: int = 0) -> Tensor:
        """Log bands [B, T, 128] -> [B, S]; `around` as for `Codec.decode`; or they are the frames from `first` on of a clip."""
        magnitudes = self.magnitudes(latents)
        return self.join(magnitudes, self.gains(magnitudes, latents, around, first))

    def magnitudes(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Log bands [B, T, 128] -> magnitudes of the long window's bins [B, low_bins, T] and of the short one's [B, high_bins, T]."""
        low, high = self.sides(held_power(latents))
        return self.shared(Held(self.low_filters).spread(low), Held(self.high_filters).spread(high))

    def sides(self, power: Tensor) -> tuple[Tensor, Tensor]:
        """Powers of bands [B, T, 128] in the latents' scale -> those that reach into each side's bins, in its window's scale, [B, C, T]."""
        power = power.transpose(1, 2)
        return power[:, : LOW_BANDS + NEIGHBOURS] / self.analysis.low_scale, power[:, LOW_BANDS - NEIGHBOURS :] / self.analysis.high_scale

    def limits(self, latents: Tensor) -> tuple[Limits, Limits]:
        """What each side is held to."""
        power, above = held_power(latents), above_floor(latents)
        low, high = zip(self.sides(power * above), self.sides(torch.where(above, power, FLOOR**2)), strict=True)
        return Limits(*low), Limits(*high)

    def shared(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Powers of all bins -> magnitudes of each side's part in them."""
        return low.sqrt() * self.low_share, high.sqrt() * self.high_share

    def measured(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        """What `magnitudes` would ideally give for [B, S]: the bins of the recording itself."""
        low = self.analysis.low(wav)[:, : self.low_bins].abs() * self.low_share
        return low, self.analysis.high(wav)[:, -self.high_bins :].abs() * self.high_share

    @torch.no_grad()
    def gains(self, magnitudes: tuple[Tensor, Tensor], latents: Tensor, around: int = 0, first: int = 0) -> tuple[Tensor, Tensor]:
        """Complex numbers by which magnitudes as from `magnitudes` become spectra whose frames agree where they overlap.

        Above the split they are of size one; below it as large as the magnitudes had to move.
        Those `around` a loop are taken from its other end in every round, so that they agree over its joint too.
        The search begins at chance phases, which for a part of a clip, frames from `first` on, are those of the whole.
        """
        low, high = (size.detach() for size in magnitudes)
        asked = low / DECIMATION
        moved = self._moved(asked, self.limits(latents)[0])
        found = self._search(asked, slice(self.low_bins), self.coarse, self.iterations, around, first, moved)
        rounds = -(-self.iterations // HIGH_SHARE)
        spectrum = self._search(high, slice(-self.high_bins, None), self.analysis.high, rounds, around, first)
        return found * asked.clamp(min=1e-12).reciprocal(), torch.sgn(spectrum)

    def join(self, magnitudes: tuple[Tensor, Tensor], gains: tuple[Tensor, Tensor]) -> Tensor:
        """Magnitudes and complex gains of both sides -> waveform [B, S]; gradients pass to the magnitudes."""
        low, high = (size * gain for size, gain in zip(magnitudes, gains, strict=True))
        below = self.analysis.low.inverse(functional.pad(low, (0, 0, 0, LONG_WINDOW // 2 + 1 - self.low_bins)))
        return below + self.analysis.high.inverse(functional.pad(high, (0, 0, SHORT_WINDOW // 2 + 1 - self.high_bins, 0)))

    def _moved(self, asked: Tensor, limits: Limits) -> Callable[[Tensor], Tensor]:
        """Takes the magnitudes that are agreed on, at the decimated rate [B, F, T]; gives half of the way to them, as the bands allow."""
        held, scale = Held(self.low_filters), self.low_share.clamp(min=1e-3) / DECIMATION
        asked = asked / scale.square()

        def moved(agreed: Tensor) -> Tensor:
            return held((asked * agreed).contiguous(), limits.least, HELD_ROUNDS, limits.most).sqrt() * scale

        return moved

    def _search(
        self,
        magnitude: Tensor,
        bins: slice,
        spectrum: Spectrum,
        rounds: int,
        around: int,
        first: int,
        moved: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        clips, used, frames = magnitude.shape
        last = frames - around
        turn = torch.arange(-around, last, device=magnitude.device) % (last - around) + around
        whole = torch.zeros(clips, frames, spectrum.n_fft // 2 + 1, dtype=torch.complex64, device=magnitude.device).mT
        guess = whole[:, bins].copy_(magnitude * chances(used, first, frames).to(magnitude.device))
        magnitude = frame_after_frame(magnitude)
        previous, ahead = (torch.view_as_real(torch.zeros_like(guess)) for _ in range(2))
        for round_ in range(rounds):
            rebuilt = torch.view_as_real(spectrum(spectrum.inverse(whole))[:, bins])
            rebuilt = rebuilt[:, :, turn] if around else rebuilt
            if moved and round_ >= UNMOVED and (round_ - UNMOVED) % EVERY == 0:
                magnitude = frame_after_frame(moved(_squares(rebuilt).sqrt_()))
            torch.sub(rebuilt, previous, alpha=MOMENTUM / (1 + MOMENTUM), out=ahead)
            torch.mul(torch.view_as_complex(ahead), _squares(ahead).clamp_(min=1e-18).rsqrt_().mul_(magnitude), out=guess)
            previous = rebuilt
        return guess


def frame_after_frame(bins: Tensor) -> Tensor:
    """[B, F, T] as it is, but in memory as Fourier transforms have it, which is twice as fast."""
    return bins.mT.contiguous().mT


def _squares(pairs: Tensor) -> Tensor:
    """|x|^2 of complex numbers as pairs; a sixth of the time that `abs` takes."""
    squares = pairs * pairs
    return squares[..., 0] + squares[..., 1]


def chances(bins: int, first: int, frames: int) -> Tensor:
    """Complex numbers of size one by chance, for so many frames from `first` on, [bins, frames]: the same for every clip and part."""
    blocks = [_drawn(bins, block) for block in range(first // DRAWN, -(-(first + frames) // DRAWN))]
    return torch.cat(blocks)[first % DRAWN :][:frames].T


@lru_cache(maxsize=64)  # of both sides, 41 seconds; a block of the wider side has 400 KB
def _drawn(bins: int, block: int) -> Tensor:
    with torch.inference_mode(False):  # what is kept from an evaluation may serve a training
        turns = torch.rand((DRAWN, bins), generator=torch.Generator().manual_seed(block))
        return torch.polar(torch.ones_like(turns), 2 * math.pi * turns)


def held_power(latents: Tensor) -> Tensor:
    """Log bands -> what they hold, of the same shape; those at the floor what music has there."""
    return torch.where(above_floor(latents), latents.float().exp().square(), SILENCE**2)


def above_floor(latents: Tensor) -> Tensor:
    """Whether a band says how loud it is, of the latents' shape."""
    return latents.float() > math.log(FLOOR) + AT_FLOOR
