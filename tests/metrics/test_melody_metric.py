from __future__ import annotations

import math

import pytest
import torch

from jasco_pl.metrics.following import bins_to_pitch_class, melody_accuracy, pitch_class_accuracy
from jasco_pl.system.errors import UserError

G2, C3, C4, C5 = 0, 5, 17, 29


def test_bins_to_pitch_classes() -> None:
    assert bins_to_pitch_class([G2, C3, C4, 52, -1]).tolist() == [7, 0, 0, 11, -1]  # 52 is MIDI 95, a B


def test_only_frames_with_an_asked_melody_count() -> None:
    assert melody_accuracy([C4, C4, 3, -1, 8], [C4, C4, C4, C4, -1]) == 0.5


def test_octave_errors_count_only_when_octaves_are_asked_for() -> None:
    assert melody_accuracy([C4, C5], [C4, C4]) == 1.0
    assert melody_accuracy([C4, C5], [C4, C4], octave=True) == 0.5


def test_clips_without_a_melody_are_left_out() -> None:
    silent = torch.full((4,), -1)
    assert math.isnan(melody_accuracy(torch.zeros(4), silent))


def test_lengths_must_agree() -> None:
    with pytest.raises(UserError, match="same T"):
        pitch_class_accuracy([1, 2], [1])
