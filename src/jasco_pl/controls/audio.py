"""Audio controls: the first codebook's vectors, blurred in time and squeezed through a bottleneck (paper, section 3.1)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.signal import butter, sosfilt
from torch import Tensor, nn
from torch.nn import functional

from jasco_pl.audio.long_audio import Filtered, Samples
from jasco_pl.controls.adherence import ONSETS
from jasco_pl.controls.base import Control

DRUM_BAND = (200.0, 800.0)  # Hz, paper section 5: drums of the multi-condition models
_RINGING = 0.5  # seconds, at the end of which the filter's answer has died away to less than float32 holds


def bandpass(wav: Tensor, sample_rate: int) -> Tensor:
    """Keep 200-800 Hz (Butterworth, fourth order a side); [1, S] -> [1, S]."""
    sections = butter(4, DRUM_BAND, btype="bandpass", fs=sample_rate, output="sos")
    return torch.from_numpy(sosfilt(sections, wav.numpy()).astype(np.float32))


def bandpass_long(samples: Samples) -> Samples:
    """The same of samples of any length, filtered when they are read."""
    return Filtered(samples, lambda part: bandpass(torch.from_numpy(part)[None], samples.rate)[0].numpy(), _RINGING)


def blur(vectors: Tensor, window: int) -> Tensor:
    """Mean over non-overlapping windows of time, then broadcast back: [B, T, C] -> [B, T, C].

    The last window, if it is not full, is filled by reflection, as the released code does.
    """
    frames = vectors.shape[1]
    if spare := -frames % window:
        mirrored = frames - 2 - torch.arange(spare, device=vectors.device)
        mirrored = mirrored.clamp(min=0)  # a clip shorter than that repeats its first frame
        vectors = torch.cat([vectors, vectors[:, mirrored]], dim=1)
    pooled = functional.avg_pool1d(vectors.transpose(1, 2), window)
    return pooled.repeat_interleave(window, dim=2).transpose(1, 2)[:, :frames]


class AudioControl(Control):
    """First-codebook entry of every frame (-1 = none) -> its vector -> blur -> linear bottleneck.

    The codebook belongs to the codec; the model keeps a copy, so that its checkpoint is complete.

    Args:
        codebook_size: entries of the codec's first codebook.
        codebook_dim: dimension of its vectors.
        dim: output dimension (paper: 2 for drums, 1 for general audio).
        window: blur window in frames (paper: 3 for drums, 5 for general audio).
    """

    null = -1
    adherence = ONSETS
    codebook: Tensor

    def __init__(self, codebook_size: int, codebook_dim: int, dim: int, window: int) -> None:
        super().__init__()
        self.channels, self.window = dim, window
        self.register_buffer("codebook", torch.zeros(codebook_size, codebook_dim))
        self.projection = nn.Linear(codebook_dim, dim)

    @classmethod
    def sizes(cls, latent_dim: int, codebook_size: int) -> dict[str, int]:
        return {"codebook_size": codebook_size, "codebook_dim": latent_dim}

    def take_codec(self, codebook: Tensor | None, silence: Tensor | None) -> None:
        if codebook is not None:
            self.codebook.copy_(codebook)

    @staticmethod
    def filtered(wav: Tensor, sample_rate: int) -> Tensor:
        """What is done to a waveform [1, S] before the codec sees it: nothing, unless a control says otherwise."""
        return wav

    def forward(self, raw: Tensor) -> Tensor:
        vectors = self.codebook[raw.clamp(min=0)] * (raw >= 0)[..., None]
        return self.projection(blur(vectors, self.window))


class Drums(AudioControl):
    """The drum stem: window 3, dimension 2."""

    name = "drums"
    field = "codes_drums"
    asked_by = "drums"

    def __init__(self, codebook_size: int, codebook_dim: int, dim: int = 2, window: int = 3) -> None:
        super().__init__(codebook_size, codebook_dim, dim, window)


class BandpassedDrums(Drums):
    """The drum stem between 200 and 800 Hz, which says less of the rest of the mix (section 5: the multi-condition models)."""

    name = "drums_bandpass"
    field = "codes_drums_bandpass"

    @staticmethod
    def filtered(wav: Tensor, sample_rate: int) -> Tensor:
        return bandpass(wav, sample_rate)


class Mix(AudioControl):
    """General audio, the whole mix: window 5, dimension 1."""

    name = "mix"
    field = "codes_mix"
    asked_by = "mix"

    def __init__(self, codebook_size: int, codebook_dim: int, dim: int = 1, window: int = 5) -> None:
        super().__init__(codebook_size, codebook_dim, dim, window)


class Drumless(Mix):
    """The mix without its drums ("no drm" in table 2), so that a user may give other drums beside it."""

    name = "drumless"
    field = "codes_drumless"
    asked_by = "drumless"
