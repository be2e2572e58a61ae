from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from jasco_pl.metrics.following import chroma_similarity, melody_accuracy, melody_similarity
from jasco_pl.system.errors import UserError

RATE = 16000
LOWEST = 43
MELODY = (60, 64, 67, 65, 62, 60)


def play(notes: tuple[int, ...], transposed: int = 0) -> Tensor:
    """Half a second of a decaying harmonic tone for every MIDI note."""
    time = torch.arange(RATE // 2) / RATE
    tones = []
    for note in notes:
        frequency = 440 * 2 ** ((note + transposed - 69) / 12)
        tones.append(sum(0.3**k * torch.sin(2 * math.pi * frequency * (k + 1) * time) for k in range(3)) * torch.exp(-2 * time))
    return torch.cat(tones)[None] * 0.4


def strongest_pitch(wav: Tensor, sample_rate: int) -> NDArray[np.int64]:
    """A stand-in for a multi-F0 classifier that is right about single tones: the loudest bin as a melody bin, -1 in silence."""
    spectrum = torch.stft(wav[0], 4096, sample_rate // 50, window=torch.hann_window(4096), return_complex=True).abs()
    frequency = spectrum.argmax(dim=0).clamp_min(1) * sample_rate / 4096
    bins = (69 + 12 * torch.log2(frequency / 440)).round().long() - LOWEST
    return torch.where((spectrum.amax(dim=0) > 1) & (bins >= 0) & (bins < 53), bins, -1).numpy()


def test_of_hand_made_melodies() -> None:
    asked = [5, 5, 7, -1, -1, 9]
    assert melody_similarity(asked, asked) == 1
    assert melody_similarity([5, 5, 8, -1, 3, -1], asked) == pytest.approx(2 / 5)  # the frame silent in both is left out
    assert math.isnan(melody_similarity([-1, -1], [-1, -1]))


def test_an_octave_keeps_the_chroma_and_loses_the_classifier_similarity() -> None:
    original, octave = play(MELODY), play(MELODY, 12)
    assert chroma_similarity(octave, original, RATE) > 0.95
    assert melody_similarity(strongest_pitch(octave, RATE), strongest_pitch(original, RATE)) < 0.05
    assert melody_accuracy(strongest_pitch(octave, RATE), strongest_pitch(original, RATE)) > 0.95
    assert melody_accuracy(strongest_pitch(octave, RATE), strongest_pitch(original, RATE), octave=True) < 0.05


def test_another_key_loses_both() -> None:
    original, other = play(MELODY), play(MELODY, 6)
    assert chroma_similarity(other, original, RATE) < 0.1
    assert melody_similarity(strongest_pitch(other, RATE), strongest_pitch(original, RATE)) < 0.05


def test_lengths_must_agree() -> None:
    with pytest.raises(UserError, match="same T"):
        melody_similarity([1, 2], [1, 2, 3])
