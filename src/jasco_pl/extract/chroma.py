"""Pitch classes of audio: the prominent one a frame, as Music ControlNet reads a melody, and quantised chroma, as MusicGen does.

Both take the strongest of twelve pitch classes in each STFT frame by librosa's chroma filter bank (A4 = 440 Hz, no tuning estimate).
A frame more than 60 dB under the clip's loudest is silent and has no pitch class, rather than an arbitrary one.
"""

from __future__ import annotations

from functools import lru_cache

import scipy.signal
import torch
from torch import Tensor

from jasco_pl.system import librosa
from jasco_pl.system.errors import UserError

FRAME_RATE = 50
MIDDLE_C = 261.2  # Hz, Music ControlNet's cut-off
SILENCE = 1e-6  # of the loudest frame's power: -60 dB


def quantised_chroma(wav: Tensor, sample_rate: int, n_fft: int, hop: int) -> Tensor:
    """The strongest pitch class of each frame.

    Args:
        wav: audio [1, S]; frame k is centred on sample k * hop.
        sample_rate: in Hz.
        n_fft: window in samples.
        hop: step in samples.

    Returns:
        Pitch classes [S // hop + 1], 0 = C .. 11 = B, -1 = silence.
    """
    if wav.ndim != 2 or wav.shape[0] != 1 or wav.shape[1] == 0:
        raise UserError(f"audio of shape {tuple(wav.shape)} has no chroma: one mono clip [1, S] is needed.")
    window = torch.hann_window(n_fft, device=wav.device)
    spectrum = torch.stft(wav[0].float(), n_fft, hop, window=window, center=True, pad_mode="constant", return_complex=True)
    chroma = _filters(sample_rate, n_fft).to(wav.device) @ spectrum.abs().square()
    power = chroma.sum(dim=0)
    loudest = power.max()
    silent = power <= max(float(loudest) * SILENCE, 1e-10)
    return chroma.argmax(dim=0).masked_fill(silent, -1)


@lru_cache(maxsize=8)
def _filters(sample_rate: int, n_fft: int) -> Tensor:
    return torch.from_numpy(librosa.filters.chroma(sr=sample_rate, n_fft=n_fft, tuning=0.0))


def prominent_pitch_class(wav: Tensor, sample_rate: int, frames: int) -> Tensor:
    """The heard melody as Music ControlNet reads it: high-pass at middle C against the bass, then the strongest pitch class.

    Args:
        wav: audio [1, S].
        sample_rate: in Hz, a multiple of 50.
        frames: how many frames T at 50 Hz to return; frame k is centred on k / 50 s.

    Returns:
        Pitch classes [T], 0 = C .. 11 = B; -1 in silence and beyond the end of the audio.

    Raises:
        UserError: the audio is not [1, S], or the rate is not a multiple of 50.
    """
    if sample_rate % FRAME_RATE:
        raise UserError(f"a sample rate of {sample_rate} Hz has no whole number of samples in a frame of 1/50 s: resample to 32000 Hz.")
    # One biquad, as in the paper. Through scipy, because torchaudio's without its C++ part takes longer than the music lasts.
    numerator, denominator = scipy.signal.butter(2, MIDDLE_C, "highpass", fs=sample_rate)
    high = torch.from_numpy(scipy.signal.lfilter(numerator, denominator, wav.double().cpu().numpy())).to(wav.device)
    # 128 ms: a semitone at middle C is 15.5 Hz, which shorter windows do not separate.
    found = quantised_chroma(high, sample_rate, n_fft=power_of_two(0.128 * sample_rate), hop=sample_rate // FRAME_RATE)[:frames]
    return torch.nn.functional.pad(found, (0, frames - found.shape[0]), value=-1)


def power_of_two(samples: float) -> int:
    """The one that is nearest by its logarithm."""
    return 2 ** round(torch.log2(torch.tensor(samples)).item())
