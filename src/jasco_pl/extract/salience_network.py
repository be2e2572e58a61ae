"""The harmonic constant-Q transform that deep salience hears (Bittner et al. 2017): one pitch grid at six multiples of its frequencies.

22,050 Hz, hop 256 (86.13 frames a second), 60 bins an octave, 6 octaves from 32.7 Hz (C1), harmonics 1/2, 1, 2, 3, 4, 5.

The deep salience network (Bittner, McFee, Salamon, Li, Bello: Deep Salience Representations for F0 Estimation, ISMIR 2017). Its weights
are found, fetched from the authors' repository by checksum, and converted to safetensors once; they are under MIT (Rachel Bittner,
github.com/rabitt/ismir2017-deepsalience), stored by Keras 2.0.6 as HDF5, and not part of this package.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from jasco_pl.system import librosa
from jasco_pl.system.files import atomic_path, user_cache
from jasco_pl.system.resources import fetch, load_weights, named_file

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
    from scipy.fft import next_fast_len  # here, as in `long_audio.bandpass`

    length = next_fast_len(bins + high - 1, real=True)
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


URL = "https://raw.githubusercontent.com/rabitt/ismir2017-deepsalience/d317a1409140f748da1b033347fd3d3219889cbb/predict/weights/multif0.h5"
SHA256 = "a426f89d098478249df02db401f812c33de82a5bd7006f22912a8f9146d4f19f"
VARIABLE = "JASCO_SALIENCE"
_NAMES = ("bendy1", "bendy2", "smoothy1", "smoothy2", "distribute", "squishy")  # the authors', in the order of LAYERS
_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def cached() -> Path:
    """Where converted weights are kept for this user."""
    return user_cache("salience") / "multif0.safetensors"


def find_weights(path: str | os.PathLike[str] | None = None, fetch: bool = True) -> Path | None:
    """The weights' file, `.safetensors` or the authors' `.h5`.

    Looked for in this order: `path`, the environment variable JASCO_SALIENCE, the user's cache; last it is fetched from the authors'
    repository, converted and kept in the cache.

    Returns:
        The file; None when it is nowhere and was not to be fetched.

    Raises:
        UserError: a named file does not exist, or nothing was found and nothing could be fetched.
    """
    if named := named_file("deep salience", path, VARIABLE, "a .safetensors or .h5 is accepted"):
        return named
    for place in (cached(), cached().with_suffix(".h5")):
        if place.is_file():
            return place
    return _fetch() if fetch else None


def load_network(path: str | os.PathLike[str] | None = None) -> SalienceNetwork:
    """The network with its weights, found by `find_weights`.

    Raises:
        UserError: as `find_weights`, or the file is damaged or holds something else.
    """
    found = find_weights(path)
    assert found is not None
    network = SalienceNetwork()
    load_weights(found, network, "deep salience", read_keras)
    return network


def read_keras(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The authors' HDF5 file as the state of `SalienceNetwork`.

    Layers are groups named after them; batch normalisations are numbered in the order of the network. Kernels are [frequency, time, in,
    out].

    Raises:
        OSError, KeyError, ValueError: no HDF5 file, or layers are missing.
    """
    import h5py  # here: needed once, and half a second is saved at every other start

    layers: dict[str, dict[str, Tensor]] = {}

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            first, *_, last = name.split("/")
            layers.setdefault(first, {})[last.partition(":")[0]] = torch.from_numpy(item[()]).float()

    with h5py.File(path) as file:
        file.visititems(collect)
    norms = sorted((name for name in layers if name.startswith("batch_normalization_")), key=lambda name: int(name.rpartition("_")[2]))
    if len(norms) != len(LAYERS):
        raise ValueError(f"it has {len(norms)} batch normalisations instead of {len(LAYERS)}")
    state = {}
    for number, (norm, convolution) in enumerate(zip(norms, _NAMES, strict=True)):
        state.update({f"norms.{number}.{ours}": layers[norm][theirs] for ours, theirs in _NORM.items()})
        state[f"norms.{number}.num_batches_tracked"] = torch.tensor(0)
        state[f"convolutions.{number}.weight"] = layers[convolution]["kernel"].permute(3, 2, 0, 1).contiguous()
        state[f"convolutions.{number}.bias"] = layers[convolution]["bias"]
    return state


def convert(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Write the authors' HDF5 file as safetensors, whole or not at all."""
    state = read_keras(source)
    with atomic_path(target) as temporary:
        save_file(state, temporary)


def _fetch() -> Path:
    target = cached()
    authors = target.with_suffix(".h5")
    remedy = f"save it as {str(authors)!r}, or name the file by {VARIABLE} or --weights"
    original = fetch(URL, authors, SHA256, "the weights of deep salience are not here", remedy)
    convert(original, target)
    original.unlink()
    return target
