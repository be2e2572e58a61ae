from __future__ import annotations

import math

import numpy as np
import pytest

from jasco_pl.metrics.beats import beat_f1, key_score, tempo, tempo_error

BEATS = np.arange(0.3, 10, 0.5)


def test_beats_within_seventy_milliseconds_are_right() -> None:
    assert beat_f1(BEATS + 0.06, BEATS) == 1
    assert beat_f1(BEATS + 0.08, BEATS) == 0
    assert beat_f1(BEATS[::2], BEATS) == pytest.approx(2 / 3)
    assert beat_f1(BEATS[:10], BEATS[:10]) == 1  # of the first seconds too
    assert beat_f1([], BEATS) == 0
    assert math.isnan(beat_f1(BEATS, []))


def test_a_tempo_is_that_of_most_beats() -> None:
    assert tempo(BEATS) == pytest.approx(120)
    assert tempo(np.delete(BEATS, [4, 9])) == pytest.approx(120)  # two were not heard
    assert tempo(np.arange(20) * 0.34 // 0.02 * 0.02) == pytest.approx(60 / 0.34, rel=0.01)  # on a grid of 20 ms
    assert math.isnan(tempo([0.0, 0.5]))


def test_octaves_apart_half_and_double_are_the_same_tempo() -> None:
    assert tempo_error(81, 80) == pytest.approx(1 / 80)
    assert tempo_error(160, 80) == 1
    assert tempo_error(160, 80, octaves=True) == tempo_error(40, 80, octaves=True) == 0
    assert tempo_error(120, 80, octaves=True) == pytest.approx(0.25)  # off from 160
    assert math.isnan(tempo_error(math.nan, 80, octaves=True))


@pytest.mark.parametrize(
    ("heard", "score"), [("C major", 1), ("G major", 0.5), ("A minor", 0.3), ("C minor", 0.2), ("F# major", 0), ("", 0)]
)
def test_keys_have_mirex_scores(heard: str, score: float) -> None:
    assert key_score(heard, "C major") == score


def test_flat_and_sharp_names_of_keys_are_known() -> None:
    assert key_score("Bb minor", "Db major") == 0.3
    assert key_score("G# minor", "B major") == 0.3
    assert math.isnan(key_score("C major", ""))
