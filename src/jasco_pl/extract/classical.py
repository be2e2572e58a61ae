"""Extractors that need no weights: onsets, pitch classes, and the melody of a single voice."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jasco_pl.audio.files import resample
from jasco_pl.notation.harmony import FRAME_RATE
from jasco_pl.notation.melody import BINS, LOWEST_MIDI, UNVOICED
from jasco_pl.system import librosa
from jasco_pl.system.errors import UserError

SAMPLE_RATE = 22050


_GRID = 512  # librosa's hop
_BLIND = 3  # frames at the beginning that have no strength: there is nothing before them to compare with
_QUIET = 10 ** (-30 / 20)  # of the loudest moment: noise that a recording begins with is no attack


def onset_times(wav: Tensor, sample_rate: int, start: bool = True) -> NDArray[np.float64]:
    """Onsets of one clip [1, S] in seconds, rising; empty when nothing begins.

    They lie on a grid of 23 ms (hop 512 at 22,050 Hz) at the peaks of the onset strength, not backtracked to where they start to rise.

    Args:
        wav: the clip.
        sample_rate: in Hz.
        start: with one at 0 where the clip is loud at once. The figures are defined without it: there librosa hears nothing in the first
            0.07 seconds.
    """
    samples = resample(wav, sample_rate, SAMPLE_RATE)[0].numpy()
    if not np.any(samples):
        return np.zeros(0)
    found = _detected(samples)
    if not start or not _begins_loud(samples):
        return found
    return np.concatenate([[0.0], found[found > (_BLIND + 0.5) * _GRID / SAMPLE_RATE]])  # an onset in the first frame heard is that one


def _detected(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(librosa.onset.onset_detect(y=samples, sr=SAMPLE_RATE, units="time"), dtype=np.float64)


def _begins_loud(samples: NDArray[np.float32]) -> bool:
    """Whether there is an attack at the very beginning: an onset of what silence is put before, which is not quiet."""
    peaks = np.abs(np.pad(samples, (0, -len(samples) % _GRID))).reshape(-1, _GRID).max(axis=1)
    if peaks[:2].max() < _QUIET * peaks.max():
        return False
    silence = 4 * _BLIND * _GRID
    onsets = _detected(np.pad(samples, (silence, 0))) - silence / SAMPLE_RATE
    return bool(np.any(np.abs(onsets) < 2.5 * _GRID / SAMPLE_RATE))  # that of a first sample is heard a frame late


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
    from scipy.signal import butter, lfilter  # here, as in `long_audio.bandpass`

    # One biquad, as in the paper. Through scipy, because torchaudio's without its C++ part takes longer than the music lasts.
    numerator, denominator = butter(2, MIDDLE_C, "highpass", fs=sample_rate)
    high = torch.from_numpy(lfilter(numerator, denominator, wav.double().cpu().numpy())).to(wav.device)
    # 128 ms: a semitone at middle C is 15.5 Hz, which shorter windows do not separate.
    found = quantised_chroma(high, sample_rate, n_fft=power_of_two(0.128 * sample_rate), hop=sample_rate // FRAME_RATE)[:frames]
    return torch.nn.functional.pad(found, (0, frames - found.shape[0]), value=-1)


def power_of_two(samples: float) -> int:
    """The one that is nearest by its logarithm."""
    return 2 ** round(torch.log2(torch.tensor(samples)).item())


SAMPLE_RATE = 22050
_HOP = 441  # 50 frames a second
# The search goes an octave below and nearly one above the range: a note outside it is then mostly heard as itself and dropped, instead
# of being taken for its octave (wrongly voiced frames fell from 34 % to 6 % on a synthetic line with such notes and vibrato).
_SEARCH = (30.5, 104.5)
_RESOLUTION = 0.25  # semitones; 0.1, librosa's default, was no more accurate at eight times the cost


def pyin_melody(wav: Tensor, sample_rate: int, frames: int) -> NDArray[np.int8]:
    """Melody of one clip, one semitone a frame.

    Args:
        wav: mono [1, S].
        sample_rate: in Hz.
        frames: how many frames T at 50 Hz; audio is cut or padded with silence to them.

    Returns:
        Bins [T]: 0..52 for MIDI 43..95, -1 where nothing periodic sounds or the note lies outside that range (it is not moved into it;
        a steady note well above it can be mistaken for a lower one).
    """
    samples = resample(wav, sample_rate, SAMPLE_RATE)[0].numpy()[: frames * _HOP]
    if not np.any(samples):
        return np.full(frames, UNVOICED, dtype=np.int8)
    padded = np.pad(samples, (0, frames * _HOP - len(samples)))
    low, high = (float(librosa.midi_to_hz(midi)) for midi in _SEARCH)
    frequency, voiced, _ = librosa.pyin(padded, sr=SAMPLE_RATE, fmin=low, fmax=high, hop_length=_HOP, resolution=_RESOLUTION)
    with np.errstate(invalid="ignore"):
        bins = np.round(librosa.hz_to_midi(frequency[:frames])) - LOWEST_MIDI
        inside = voiced[:frames] & (bins >= 0) & (bins < BINS)
    return np.where(inside, bins, UNVOICED).astype(np.int8)
