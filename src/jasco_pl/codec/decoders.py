"""Bands -> waveform: without learning by Griffin-Lim, or with a network before it that says what the fine spectrum looks like.

Griffin-Lim runs in two resolutions, one below the split of the bands and one above. What lies below the split ends at a tenth of the sample
rate, so phases for the long window are sought at a quarter of the rate, at a quarter of the cost.

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
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from jasco_pl.codec.bands import BANDS, FLOOR, LONG_WINDOW, LOW_BANDS, SHORT_WINDOW, BandAnalysis, Spectrum

MOMENTUM = 0.99  # of the fast Griffin-Lim algorithm (Perraudin et al. 2013)
SPREAD_ROUNDS = 40  # after 10 the peaks are blunter, which costs chords
HELD_ROUNDS = 3
DECIMATION = 4
NEIGHBOURS = 6  # bands across the split that still reach into a side's bins
SILENCE = 1.7e-5  # what a band at the floor holds, by the median over rendered music; FLOOR in every band would be an audible hiss
KERNEL = 7  # frames of 20 ms
EXPANSION = 3
AT_FLOOR = 0.05  # natural log over the floor up to which a band is only known to be no louder
LEAST = 1e-3  # magnitude under the rounding of 16-bit audio in both windows
GREATEST_CHANGE = 8.0  # natural log


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

    def forward(self, latents: Tensor, around: int = 0, first: int = 0, total: int | None = None) -> Tensor:
        """Log bands [B, T, 128] -> [B, S]; `around` as for `Codec.decode`; or they are the frames from `first` on of a clip of `total`."""
        magnitudes = self.magnitudes(latents)
        return self.join(magnitudes, self.phases(magnitudes, around, first, total))

    def magnitudes(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Log bands [B, T, 128] -> magnitudes of the long window's bins [B, low_bins, T] and of the short one's [B, high_bins, T]."""
        low, high = self.band_powers(latents)
        return self.shared(spread(low, self.low_filters), spread(high, self.high_filters))

    def band_powers(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Log bands [B, T, 128] -> power of the bands that reach into each side's bins, in the scale of the windows' own spectra."""
        return self.sides(held_power(latents))

    def sides(self, power: Tensor) -> tuple[Tensor, Tensor]:
        """The same for powers of bands [B, T, 128] in the latents' scale -> [B, C, T] of each side."""
        power = power.transpose(1, 2)
        return power[:, : LOW_BANDS + NEIGHBOURS] / self.analysis.low_scale, power[:, LOW_BANDS - NEIGHBOURS :] / self.analysis.high_scale

    def shared(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Powers of all bins -> magnitudes of each side's part in them."""
        return low.sqrt() * self.low_share, high.sqrt() * self.high_share

    def measured(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        """What `magnitudes` would ideally give for [B, S]: the bins of the recording itself."""
        low = self.analysis.low(wav)[:, : self.low_bins].abs() * self.low_share
        return low, self.analysis.high(wav)[:, -self.high_bins :].abs() * self.high_share

    @torch.no_grad()
    def phases(self, magnitudes: tuple[Tensor, Tensor], around: int = 0, first: int = 0, total: int | None = None) -> tuple[Tensor, Tensor]:
        """Complex numbers of size one for magnitudes as from `magnitudes`, such that the frames agree where they overlap.

        Those `around` a loop are taken from its other end in every round, so that they agree over its joint too.
        The search begins at chance phases, which are those of the whole clip for a part of one: frames from `first` on, of `total`.
        """
        low, high = magnitudes
        padded = functional.pad(low / DECIMATION, (0, 0, 0, self.coarse.n_fft // 2 + 1 - self.low_bins))
        found = self._search(padded, self.coarse, around, first, total)[:, : self.low_bins]
        short = self.analysis.high
        padded = functional.pad(high, (0, 0, short.n_fft // 2 + 1 - self.high_bins, 0))
        return found, self._search(padded, short, around, first, total)[:, -self.high_bins :]

    def join(self, magnitudes: tuple[Tensor, Tensor], phases: tuple[Tensor, Tensor]) -> Tensor:
        """Magnitudes and phases of both sides -> waveform [B, S]; gradients pass to the magnitudes."""
        low, high = (size * phase for size, phase in zip(magnitudes, phases, strict=True))
        below = self.analysis.low.inverse(functional.pad(low, (0, 0, 0, LONG_WINDOW // 2 + 1 - self.low_bins)))
        return below + self.analysis.high.inverse(functional.pad(high, (0, 0, SHORT_WINDOW // 2 + 1 - self.high_bins, 0)))

    def _search(self, magnitude: Tensor, spectrum: Spectrum, around: int, first: int, total: int | None) -> Tensor:
        last = magnitude.shape[-1] - around
        turn = torch.arange(-around, last, device=magnitude.device) % (last - around) + around
        bins, frames = magnitude.shape[1:]
        drawn = _chances(bins, frames) if total is None or total == frames else _kept_chances(bins, total)
        angles = drawn[:, first : first + frames].to(magnitude.device)
        magnitude = magnitude.mT.contiguous().mT  # frame after frame in memory, as transforms have it: twice as fast
        phase = torch.polar(torch.ones_like(magnitude), (2 * math.pi * angles).expand_as(magnitude))
        previous, guess = torch.zeros_like(phase), magnitude * phase
        for _ in range(self.iterations):
            rebuilt = spectrum(spectrum.inverse(guess))
            ahead = torch.sub(rebuilt, previous, alpha=MOMENTUM / (1 + MOMENTUM))
            ahead = ahead[..., turn] if around else ahead
            power = ahead.real.square().addcmul_(ahead.imag, ahead.imag)  # faster than abs, as pairs are than complex numbers
            scaled = torch.view_as_real(ahead) * (magnitude * power.clamp_(min=1e-18).rsqrt_()).unsqueeze(-1)
            previous, guess = rebuilt, torch.view_as_complex(scaled)
        return torch.sgn(ahead) if self.iterations else phase


def _chances(bins: int, frames: int) -> Tensor:
    """The same numbers from 0 to 1 for every clip of a length, [bins, frames]."""
    return torch.rand((bins, frames), generator=torch.Generator().manual_seed(0))


_kept_chances = lru_cache(maxsize=2)(_chances)  # both sides of the long clip whose parts are decoded one after the other


def held_power(latents: Tensor) -> Tensor:
    """Log bands -> what they hold, of the same shape; those at the floor what music has there."""
    return (latents.float().exp().square() - FLOOR**2).clamp(min=SILENCE**2)


def spread(power: Tensor, filters: Tensor, rounds: int = SPREAD_ROUNDS) -> Tensor:
    """Non-negative bin powers [B, F, T] whose bands are `power` [B, C, T] by filters [C, F]: multiplicative updates from a smooth start."""
    return held(filters.t() @ power / filters.sum(0).clamp(min=1e-8)[:, None], power, filters, rounds)


def held(bins: Tensor, power: Tensor, filters: Tensor, rounds: int, most: Tensor | None = None) -> Tensor:
    """Bin powers [B, F, T] rescaled towards the bands `power` [B, C, T]: every bin by what the bands over it lack, averaged; so often.

    With `most` [B, C, T] a band may hold anything from `power` to that. Bins that no band reads stay as they are.
    """
    clips, _, frames = bins.shape
    weight = filters.sum(0)[:, None]
    unread = (weight == 0).to(bins)
    with torch.autocast(bins.device.type, enabled=False):  # there are no sparse products in half precision
        read, back = filters.to_sparse(), (filters.t() / (weight + unread)).to_sparse()  # a bin is in three bands: a quarter of the time
        bins, power = side_by_side(bins), side_by_side(power)
        most = None if most is None else side_by_side(most)
        for _ in range(rounds):
            heard = (read @ bins).clamp(min=1e-12)
            wanted = power if most is None else torch.minimum(torch.maximum(heard, power), most)
            bins = bins * (back @ (wanted / heard) + unread)
    return bins.reshape(-1, clips, frames).transpose(0, 1)


def side_by_side(clips: Tensor) -> Tensor:
    """[B, C, T] -> [C, B T], as products with sparse matrices take it."""
    return clips.transpose(0, 1).flatten(1)


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
        below: share of the correction that decoding takes below the split, see `BandCodecConfig`.
    """

    low_read: Tensor  # every bin; for those above the highest band the highest that it reads
    high_read: Tensor

    def __init__(self, analysis: BandAnalysis, iterations: int = 16, width: int = 256, layers: int = 6, below: float = 1.0) -> None:
        super().__init__()
        self.griffin_lim, self.below = GriffinLim(analysis, iterations), below
        self.inner = nn.Linear(2 * BANDS, width)
        self.blocks = nn.ModuleList(ConvNeXtBlock(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for name, filters in (("low", self.griffin_lim.low_filters), ("high", self.griffin_lim.high_filters)):
            highest = int(filters.sum(0).nonzero()[-1])
            self.register_buffer(f"{name}_read", torch.arange(filters.shape[1]).clamp(max=highest), persistent=False)
        self.head = nn.Linear(width, self.griffin_lim.low_bins + self.griffin_lim.high_bins)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, latents: Tensor, around: int = 0, first: int = 0, total: int | None = None) -> Tensor:
        """Log bands [B, T, 128] -> [B, S]; `around` as for `Codec.decode`; or they are the frames from `first` on of a clip of `total`."""
        magnitudes = self.magnitudes(latents, self.below)
        return self.griffin_lim.join(magnitudes, self.griffin_lim.phases(magnitudes, around, first, total))

    def magnitudes(self, latents: Tensor, below: float = 1.0) -> tuple[Tensor, Tensor]:
        """Log bands [B, T, 128] -> magnitudes as `GriffinLim.magnitudes`, [B, low_bins, T] and [B, high_bins, T]."""
        coarse = self.griffin_lim
        filters = coarse.low_filters, coarse.high_filters
        with torch.no_grad():
            height = latents.float() - math.log(FLOOR)
            above = height > AT_FLOOR
            power = held_power(latents)
            least, most = coarse.sides(power * above), coarse.sides(torch.where(above, power, FLOOR**2))
            start = [
                spread(band, those, SPREAD_ROUNDS - HELD_ROUNDS)[:, read].clamp(min=LEAST**2)
                for band, those, read in zip(coarse.sides(power), filters, (self.low_read, self.high_read), strict=True)
            ]
        x = self.inner(torch.cat([height / 4 - 1, above.float()], dim=-1))
        for block in self.blocks:
            x = block(x)
        change = self.head(self.norm(x)).float().clamp(-GREATEST_CHANGE, GREATEST_CHANGE).transpose(1, 2)
        low, high = change.split([coarse.low_bins, coarse.high_bins], dim=1)
        moved = (bins * (2 * by).exp() for bins, by in zip(start, (below * low, high), strict=True))
        kept = (held(*parts[:3], HELD_ROUNDS, parts[3]) for parts in zip(moved, least, filters, most, strict=True))
        return coarse.shared(*(bins.clamp(min=LEAST**4) for bins in kept))  # a root has no slope at zero
