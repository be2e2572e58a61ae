"""A melody estimated from audio by pYIN (Mauch & Dixon 2014): one voice, no salience network.

Good for a hummed, sung or played single line only. In a full mix it hears next to nothing (on eleven rendered pieces it was voiced in 2 %
of the melody's frames and right in none), so it can neither take a melody out of a song nor measure one in generated music.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from jasco_pl.audio.files import resample
from jasco_pl.notation.melody import BINS, LOWEST_MIDI, UNVOICED
from jasco_pl.system import librosa

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
