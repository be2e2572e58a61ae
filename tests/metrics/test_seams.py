from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from jasco_pl.extract import beats
from jasco_pl.metrics.seams import beats_go_on, chroma_distances, continued, flux_peaks, loudness_steps

RATE = 32000
SEAM, ELSEWHERE = 10.0, 5.0


def chord(seconds: float, *pitches: int) -> Tensor:
    """A held chord that shimmers, as music does."""
    t = torch.arange(round(seconds * RATE)) / RATE
    notes = sum(torch.sin(2 * torch.pi * 440 * 2 ** ((pitch - 69) / 12) * t) for pitch in pitches)
    return 0.05 * torch.as_tensor(notes)[None] + 0.002 * torch.randn(1, len(t), generator=torch.Generator().manual_seed(0))


def joined(before: Tensor, after: Tensor) -> Tensor:
    at = round(SEAM * RATE)
    return torch.cat([before[:, :at], after[:, at:]], dim=1)


C, F_SHARP = (60, 64, 67), (66, 70, 73)


def test_a_cut_is_found_and_where_nothing_happens_there_is_none() -> None:
    same, other = (flux_peaks(wav, RATE, [ELSEWHERE, SEAM]) for wav in (chord(16, *C), joined(chord(16, *C), chord(16, *F_SHARP))))
    assert (same < 1.3).all()
    assert other[0] < 1.3
    assert other[1] > 3


def test_a_click_that_was_put_in_is_found_within_sixty_milliseconds() -> None:
    wav = chord(16, *C)
    wav[:, round((SEAM + 0.04) * RATE)] += 0.5
    assert flux_peaks(wav, RATE, [SEAM])[0] > 3
    assert flux_peaks(wav, RATE, [SEAM - 0.2])[0] < 1.3


def test_a_step_in_loudness_has_its_size_and_sign() -> None:
    wav = joined(chord(16, *C), 2 * chord(16, *C))
    assert loudness_steps(wav, RATE, [ELSEWHERE, SEAM, 13.0]) == pytest.approx([0, 6.02, 0], abs=0.1)
    assert loudness_steps(wav.flip(1), RATE, [6.0])[0] == pytest.approx(-6.02, abs=0.1)


def test_another_harmony_is_further_away_than_the_same() -> None:
    wav = joined(chord(16, *C), chord(16, *F_SHARP))
    same, other = chroma_distances(wav, RATE, [ELSEWHERE, SEAM])
    assert same < 0.02
    assert other > 0.5


def test_silence_has_no_seam_and_no_figure() -> None:
    wav = torch.zeros(1, 16 * RATE)
    for found in (flux_peaks, loudness_steps, chroma_distances):
        assert np.isnan(found(wav, RATE, [SEAM])).all(), found


def test_a_moment_at_an_end_has_nothing_on_one_side() -> None:
    assert np.isnan(loudness_steps(chord(4, *C), RATE, [0.0, 4.0])).all()


def drums(times: np.ndarray, seconds: float) -> Tensor:
    """Hits of noise with a thump, every fourth one louder."""
    wav = 1e-4 * torch.randn(1, round(seconds * RATE), generator=torch.Generator().manual_seed(1))
    t = torch.arange(round(0.15 * RATE)) / RATE
    hit = (torch.sin(2 * torch.pi * 60 * t) + 0.5 * torch.randn(len(t), generator=torch.Generator().manual_seed(2))) * torch.exp(-t / 0.03)
    for number, time in enumerate(times):
        at = round(time * RATE)
        part = wav[:, at : at + len(hit)]
        part += (0.6 if number % 4 == 0 else 0.35) * hit[: part.shape[1]]
    return wav


needs_beatnet = pytest.mark.skipif(beats.weights_file() is None, reason="the weights of BeatNet are not installed")


@needs_beatnet
def test_a_beat_goes_on_where_it_does_and_not_where_it_stumbles_or_changes() -> None:
    steady = np.arange(0, 20, 0.5)
    stumbling = np.concatenate([np.arange(0, 10, 0.5), np.arange(10.25, 20, 0.5)])
    faster = np.concatenate([np.arange(0, 10, 0.5), np.arange(10, 20, 0.4)])
    found = {name: beats_go_on(drums(times, 20), RATE, [SEAM]) for name, times in locals().items()}
    assert found["steady"] == (1.0, 1.0)
    assert found["stumbling"][0] == 1.0  # the tempo is the same
    assert found["stumbling"][1] < 0.2
    assert found["faster"][0] == 0.0
    assert found["faster"][1] < 0.7


def test_a_beat_goes_on_evenly_over_one_that_was_missed() -> None:
    assert continued(np.array([1.0, 1.5, 2.0, 3.0, 3.5]), 4.0, 6.0) == pytest.approx([4.0, 4.5, 5.0, 5.5])
    assert not continued(np.array([1.0, 1.5]), 2.0, 4.0).size
