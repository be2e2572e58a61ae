"""Pitch-resolved log-frequency bands: the latents of the embedded codec.

128 bands at 50 Hz. Below `LOW_BANDS` the centres stand a semitone apart and are read with a long window, so that chords survive; above,
they widen towards 14.5 kHz and are read with a short window, so that drum hits stay sharp. The split is measured in docs/decisions.md.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BANDS = 128
LOW_BANDS = 76
LOWEST_MIDI = 27.0  # 38.9 Hz; one band a semitone up to MIDI 102
HIGHEST_HZ = 14500.0
LONG_WINDOW, SHORT_WINDOW = 4096, 2048
FLOOR = 1e-4  # band magnitudes under this (about -80 dB of a full-scale sine) are silence


def centre_frequencies() -> Tensor:
    """Centres of the bands in Hz, [BANDS]."""
    low = 440.0 * 2.0 ** ((LOWEST_MIDI + torch.arange(LOW_BANDS, dtype=torch.float64) - 69.0) / 12.0)
    ratio = (HIGHEST_HZ / low[-1]) ** (1.0 / (BANDS - LOW_BANDS))
    high = low[-1] * ratio ** torch.arange(1, BANDS - LOW_BANDS + 1, dtype=torch.float64)
    return torch.cat([low, high])


def filterbank(n_fft: int, sample_rate: int) -> Tensor:
    """Triangles on a log-frequency axis, [BANDS, n_fft // 2 + 1], each row summing to one.

    Where the FFT's bins are wider than a band (the bass), the triangle is widened to one bin, so that no row is empty.
    """
    centres = centre_frequencies()
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * sample_rate / n_fft
    lower = torch.cat([centres[:1] ** 2 / centres[1:2], centres[:-1]])
    upper = torch.cat([centres[1:], centres[-1:] ** 2 / centres[-2:-1]])
    width = sample_rate / n_fft
    lower = torch.minimum(lower, centres - width)
    upper = torch.maximum(upper, centres + width)
    rising = (bins - lower[:, None]) / (centres - lower)[:, None]
    falling = (upper[:, None] - bins) / (upper - centres)[:, None]
    weights = torch.minimum(rising, falling).clamp(min=0.0)
    return (weights / weights.sum(1, keepdim=True)).float()


class Spectrum(nn.Module):
    """Short-time Fourier transform with exactly samples / hop frames; frame k is centred on sample (k + 1/2) hop."""

    window: Tensor

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self._kept: tuple[int, Tensor] | None = None

    def forward(self, wav: Tensor) -> Tensor:
        """[B, S] -> complex [B, n_fft // 2 + 1, S / hop]; S must be a multiple of hop."""
        margin = self.n_fft - self.hop
        padded = nn.functional.pad(wav, (margin // 2, margin - margin // 2))
        return torch.stft(padded, self.n_fft, self.hop, window=self.window, center=False, return_complex=True)

    def inverse(self, spectrum: Tensor) -> Tensor:
        """Weighted overlap-add, complex [B, F, T] -> [B, T * hop]."""
        frames = torch.fft.irfft(spectrum, self.n_fft, dim=1).transpose(1, 2) * self.window
        start, length = (self.n_fft - self.hop) // 2, frames.shape[1] * self.hop
        return (self._added(frames) * self._weight(frames.shape[1]))[:, start : start + length]

    def _weight(self, steps: int) -> Tensor:
        """One over what the windows of so many frames add up to, [(T + n - 1) * hop]; that of the last length is kept."""
        kept = self._kept  # at once: another thread may put that of another length in its place
        if kept is None or kept[0] != steps or kept[1].device != self.window.device:
            with torch.inference_mode(False):  # what is kept from an evaluation may serve a training
                added = self._added(self.window.square().expand(1, steps, -1))[0]
                kept = self._kept = steps, 1 / added.clamp(min=1e-3)
        return kept[1]

    def _added(self, frames: Tensor) -> Tensor:
        """Frames [B, T, n_fft] laid over each other a hop apart -> [B, (T + n - 1) * hop], each in n parts of a hop (fold is slower)."""
        steps, starts = frames.shape[1], range(0, self.n_fft, self.hop)
        out = frames.new_zeros(frames.shape[0], steps + len(starts) - 1, self.hop)
        for part, start in enumerate(starts):
            piece = frames[:, :, start : start + self.hop]
            out[:, part : part + steps, : piece.shape[2]] += piece
        return out.flatten(1)


class BandAnalysis(nn.Module):
    """Waveform -> log-magnitude bands: the first `LOW_BANDS` through the long window, the others through the short one.

    Magnitudes are scaled so that a sine of amplitude a reads about a in both windows; the latents are their natural logarithm.
    """

    low_filters: Tensor
    high_filters: Tensor

    def __init__(self, sample_rate: int, hop: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.low, self.high = Spectrum(LONG_WINDOW, hop), Spectrum(SHORT_WINDOW, hop)
        self.context = -((hop - LONG_WINDOW) // (2 * hop))  # frames that the long window reaches into on either side, exactly
        self.register_buffer("low_filters", filterbank(LONG_WINDOW, sample_rate), persistent=False)
        self.register_buffer("high_filters", filterbank(SHORT_WINDOW, sample_rate), persistent=False)
        self.low_scale = 4.0 / float(self.low.window.sum()) ** 2
        # noise, not sines, fills the wide upper bands: equal noise must read equal through both windows
        self.high_scale = self.low_scale * float(self.low.window.square().sum() / self.high.window.square().sum())

    def forward(self, wav: Tensor) -> Tensor:
        """[B, S] float32, S a multiple of hop -> natural log of the band magnitudes, [B, S / hop, 128]; float32 under autocast too."""
        with torch.autocast(wav.device.type, enabled=False):
            low = self.low_filters[:LOW_BANDS] @ self.low(wav).abs().square() * self.low_scale
            high = self.high_filters[LOW_BANDS:] @ self.high(wav).abs().square() * self.high_scale
        return torch.cat([low, high], dim=1).sqrt().clamp(min=FLOOR).log().transpose(1, 2)

    def high_share(self, n_fft: int) -> Tensor:
        """Share of every bin's power that belongs to the short window's side: 0 below the split, 1 above, [n_fft // 2 + 1]."""
        split = float(centre_frequencies()[LOW_BANDS])
        bins = torch.arange(n_fft // 2 + 1, device=self.low_filters.device) * self.sample_rate / n_fft
        return ((bins / split - 0.94) / 0.12).clamp(0.0, 1.0)
