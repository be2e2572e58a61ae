"""Multi-scale log-mel distance of a reconstruction. It is blind to pitch errors and frame-rate hum: read it beside chord IoU."""

from __future__ import annotations

from functools import lru_cache

import torch
import torchaudio
from torch import Tensor

from jasco_pl.errors import UserError
from jasco_pl.metrics.clip_mean import ClipMean

SCALES = ((2048, 128), (1024, 80), (512, 40), (256, 20))  # FFT size, mel bands; the hop is a quarter
FLOOR = 1e-3


def mel_distance(reconstruction: Tensor, original: Tensor, sample_rate: int = 32000) -> float:
    """Mean absolute difference of natural-log mel magnitudes, averaged over four scales.

    Args:
        reconstruction: audio [1, S].
        original: audio [1, S], the same length.
        sample_rate: in Hz; figures compare only at the same rate (the scales are in samples).

    Returns:
        0 for identical audio; 1 is a factor of e (8.7 dB) on average.

    Raises:
        UserError: the shapes differ or are not [1, S].
    """
    if reconstruction.shape != original.shape or original.ndim != 2 or original.shape[0] != 1:
        shapes = f"{tuple(reconstruction.shape)} and {tuple(original.shape)}"
        raise UserError(f"audio of shapes {shapes} cannot be compared: both must be [1, S] of one length.")
    total = 0.0
    for n_fft, n_mels in SCALES:
        mel = _mel(sample_rate, n_fft, n_mels).to(original.device)
        logs = [mel(wav.float()).clamp_min(FLOOR).log() for wav in (reconstruction, original)]
        total += float((logs[0] - logs[1]).abs().mean())
    return total / len(SCALES)


@lru_cache(maxsize=16)
def _mel(sample_rate: int, n_fft: int, n_mels: int) -> torch.nn.Module:
    return torchaudio.transforms.MelSpectrogram(sample_rate, n_fft, hop_length=n_fft // 4, n_mels=n_mels, power=1.0)


class MelDistance(ClipMean):
    """Mean over clips of `mel_distance`."""

    higher_is_better = False

    def __init__(self, sample_rate: int = 32000) -> None:
        super().__init__()
        self.sample_rate = sample_rate

    def update(self, reconstruction: Tensor, original: Tensor) -> None:
        """Add one clip [1, S] or a batch [B, 1, S] of each."""
        samples = original.shape[-1]
        for one, other in zip(reconstruction.reshape(-1, 1, samples), original.reshape(-1, 1, samples), strict=True):
            self.add(mel_distance(one, other, self.sample_rate))
