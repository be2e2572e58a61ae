"""The harmonic constant-Q transform that deep salience hears (Bittner et al. 2017): one pitch grid at six multiples of its frequencies.

22,050 Hz, hop 256 (86.13 frames a second), 60 bins an octave, 6 octaves from 32.7 Hz (C1), harmonics 1/2, 1, 2, 3, 4, 5.

The deep salience network (Bittner, McFee, Salamon, Li, Bello: Deep Salience Representations for F0 Estimation, ISMIR 2017).
"""

from __future__ import annotations

import warnings
from typing import cast

import librosa
import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

SAMPLE_RATE = 22050
HOP = 256
BINS = 360
BINS_PER_OCTAVE = 60
LOWEST_HZ = 32.7
HARMONICS = (0.5, 1, 2, 3, 4, 5)
# Frames on either side that a frame's value depends on: half of the longest filter (5.3 s at 16 Hz), and the tails of eight halvings of
# the rate. So much context leaves no bin of a window 0.02 dB off the whole file's; half of it leaves some 4.6 dB off.
MARGIN = 256
_OCTAVES_SHARED = {0.5: 0, 1: 1, 2: 2, 4: 3}  # harmonics that are octaves of each other lie on one longer grid: 3 transforms for 6
_DYNAMIC_RANGE = 80.0  # dB
_SMALLEST = 1e-5  # amplitude that librosa's decibels start from


def harmonic_cqt(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Magnitudes [6, 360, 1 + S // 256] of mono samples [S] at 22,050 Hz; frames are centred at multiples of the hop."""
    shared = _cqt(samples, 0.5 * LOWEST_HZ, BINS + 3 * BINS_PER_OCTAVE)
    others = {harmonic: _cqt(samples, harmonic * LOWEST_HZ, BINS) for harmonic in HARMONICS if harmonic not in _OCTAVES_SHARED}
    parts = []
    for harmonic in HARMONICS:
        start = BINS_PER_OCTAVE * _OCTAVES_SHARED.get(harmonic, 0)
        parts.append(others.get(harmonic, shared)[start : start + BINS])
    return np.stack(parts)


def _cqt(samples: NDArray[np.float32], lowest: float, bins: int) -> NDArray[np.float32]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_fft=")  # clips shorter than the longest filter: they are padded with silence
        transform = librosa.cqt(samples, sr=SAMPLE_RATE, hop_length=HOP, fmin=lowest, n_bins=bins, bins_per_octave=BINS_PER_OCTAVE)
    return np.abs(transform).astype(np.float32)


def to_decibels(magnitudes: NDArray[np.float32], reference: float) -> NDArray[np.float32]:
    """Magnitudes [...] as the network wants them: 1 at `reference`, 0 at 80 dB below it and less."""
    level = 20 * np.log10(np.maximum(magnitudes, _SMALLEST)) - 20 * np.log10(max(reference, _SMALLEST))
    return (np.maximum(level, -_DYNAMIC_RANGE) / _DYNAMIC_RANGE + 1).astype(np.float32)


# (channels, frequency x time kernel) of every convolution; the last one's sigmoid gives the salience.
LAYERS = ((128, (5, 5)), (64, (5, 5)), (64, (3, 3)), (64, (3, 3)), (8, (70, 3)), (1, (1, 1)))
CONTEXT = 7
"""Frames on either side that a frame's salience depends on."""
BELOW = 40
"""Bins below one that its salience depends on."""


class SalienceNetwork(nn.Module):
    """Harmonic CQT [B, 6, F, T] in 0..1 -> salience [B, F, T] in 0..1, with the authors' zero padding at all four edges.

    Batch normalisation stands before every convolution, behind the rectifier of the one before it. 406,253 parameters at inference.
    """

    norms: nn.ModuleList
    convolutions: nn.ModuleList

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList()
        self.convolutions = nn.ModuleList()
        inside = len(HARMONICS)
        for channels, kernel in LAYERS:
            self.norms.append(nn.BatchNorm2d(inside, eps=1e-3))
            self.convolutions.append(nn.Conv2d(inside, channels, kernel))
            inside = channels
        self.eval()

    def _layers(self) -> list[tuple[nn.BatchNorm2d, nn.Conv2d]]:
        return cast(list[tuple[nn.BatchNorm2d, nn.Conv2d]], list(zip(self.norms, self.convolutions, strict=True)))

    def forward(self, hcqt: Tensor) -> Tensor:
        """The same as `straightforward` up to rounding, in about half of its time on one CPU thread (see `jasco bench salience`)."""
        if hcqt.device.type != "cpu":
            return self.straightforward(hcqt)
        x = hcqt.contiguous(memory_format=torch.channels_last)
        for norm, convolution in self._layers():
            x = norm(x) if norm is self.norms[0] else _normalize_(functional.relu_(x), norm)
            high, wide = convolution.weight.shape[2:]
            bias = convolution.bias
            assert bias is not None
            if high % 2:
                x = functional.conv2d(x, convolution.weight, bias, padding=(high // 2, wide // 2))
            else:
                x = _tall_convolution(x, convolution.weight, bias)
        return torch.sigmoid(x[:, 0])

    def straightforward(self, hcqt: Tensor) -> Tensor:
        """Layer by layer as published."""
        x = hcqt
        for norm, convolution in self._layers():
            x = functional.relu(x) if norm is not self.norms[0] else x
            high, wide = convolution.weight.shape[2:]
            # as TensorFlow pads: of an even kernel's rows the extra one goes above
            x = convolution(functional.pad(norm(x), ((wide - 1) // 2, wide // 2, (high - 1) // 2, high // 2)))
        return torch.sigmoid(x[:, 0])


def _normalize_(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """`norm` in place: the layers' outputs are large, and fresh memory costs more than the arithmetic."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    shift = norm.bias - norm.running_mean * scale
    return torch.addcmul(shift[:, None, None], x, scale[:, None, None], out=x)


def _tall_convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The padded convolution of [B, C, F, T] with [D, C, high, wide] -> [B, D, F, T], over frequency by FFT.

    Over frequency the convolution is a product in the Fourier domain, a small matrix product a coefficient; the few taps in time are
    computed side by side and added up shifted. For 70 x 3 that is a seventh of the time of oneDNN's direct convolution.
    """
    batch, _, bins, frames = x.shape
    outside, inside, high, wide = weight.shape
    length = scipy.fft.next_fast_len(bins + high - 1, real=True)
    # shifted in time by the padding, so that one product serves every tap
    padded = functional.pad(x.permute(0, 3, 1, 2), (0, 0, 0, 0, wide // 2, wide // 2))  # B, T + wide - 1, C, F
    spectrum = torch.fft.rfft(padded, n=length).permute(3, 0, 1, 2).reshape(length // 2 + 1, -1, inside)
    kernel = torch.fft.rfft(weight, n=length, dim=2).conj().permute(2, 1, 3, 0).reshape(length // 2 + 1, inside, wide * outside)
    # as a real product of interleaved parts: PyTorch hands a complex one to its library matrix after matrix, each with its own round of
    # waiting for threads, which on a busy machine costs more than everything else together
    turned = torch.view_as_real(torch.stack([kernel, 1j * kernel], 2)).reshape(length // 2 + 1, 2 * inside, -1)
    real = torch.bmm(torch.view_as_real(spectrum).flatten(2), turned)
    product = torch.view_as_complex(real.view(length // 2 + 1, batch, frames + wide - 1, wide, outside, 2))
    total = product[:, :, :frames, 0]  # K, B, T, D
    for tap in range(1, wide):
        total = total + product[:, :, tap : tap + frames, tap]
    out = torch.fft.irfft(total.permute(1, 3, 2, 0), n=length).roll((high - 1) // 2, -1)[..., :bins]
    return out.permute(0, 1, 3, 2) + bias[:, None, None]
