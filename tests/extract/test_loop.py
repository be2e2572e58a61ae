from __future__ import annotations

import pytest
import torch

from jasco_pl.extract.classical import onset_times
from jasco_pl.extract.loop import Loop, at_tempo, find_loop, stretched

RATE = 32000


def groove(bpm: float, bars: int, beats: int = 4) -> torch.Tensor:
    """Kick on every beat, a softer snare on the even ones, hats between."""
    draw = torch.Generator().manual_seed(0)
    out = torch.zeros(round(bars * beats * 60 / bpm * RATE))
    for half in range(2 * bars * beats):
        level, decay = (0.1, 90.0) if half % 2 else ((0.6, 15.0) if half % 4 == 0 else (0.45, 30.0))
        start = round(half * 30 / bpm * RATE)
        length = min(RATE // 5, len(out) - start)
        out[start : start + length] += level * torch.randn(length, generator=draw) * torch.exp(-decay * torch.arange(length) / RATE)
    return out[None]


@pytest.mark.parametrize(("bpm", "bars", "meter", "beats"), [(96, 2, "4/4", 4), (128, 1, "4/4", 4), (110, 4, "4/4", 4), (104, 2, "3/4", 3)])
def test_the_tempo_of_a_loop(bpm: float, bars: int, meter: str, beats: int) -> None:
    found = find_loop(groove(bpm, bars, beats), RATE, meter)
    assert found is not None
    assert found.bars in (bars, 2 * bars, bars / 2)
    assert found.bpm / bpm == pytest.approx(found.bars / bars, rel=1e-3)


@pytest.mark.parametrize("wav", [torch.zeros(1, 64000), torch.ones(1, 20), torch.randn(1, 8000)])
def test_what_has_no_tempo(wav: torch.Tensor) -> None:
    assert find_loop(wav, RATE, "4/4") is None
    assert at_tempo(wav, RATE, 100, "4/4", fit=False)[1] == []
    assert "not fitted" in at_tempo(wav, RATE, 100, "4/4", fit=True)[1][0]


def test_two_tempi_are_named() -> None:
    loop = groove(120, 2)
    for bpm in (120, 60, 121):
        assert at_tempo(loop, RATE, bpm, "4/4", fit=False)[1] == []
    same, (note,) = at_tempo(loop, RATE, 96, "4/4", fit=False)
    assert same is loop
    assert "goes at 120 bpm (2 bars), not at the 96 bpm" in note


@pytest.mark.parametrize("bpm", [96, 140])
def test_a_fitted_loop_has_its_hits_at_the_tempo(bpm: float) -> None:
    loop = groove(120, 2)
    fitted, (note,) = at_tempo(loop, RATE, bpm, "4/4", fit=True)
    assert fitted.shape[-1] == pytest.approx(8 * 60 / bpm * RATE, abs=1)
    assert f"2 bars at {bpm} bpm" in note
    before, after = onset_times(loop, RATE), onset_times(fitted, RATE)
    beats = torch.arange(1, 8) * 60 / bpm
    assert all(abs(after - beat).min() < 0.04 for beat in beats.tolist())
    assert len(after) == pytest.approx(len(before), abs=3)


def test_a_loop_is_stretched_by_less_than_half() -> None:
    fitted, (note,) = at_tempo(groove(120, 2), RATE, 62, "4/4", fit=True)
    assert "1 bar at 62 bpm" in note
    assert fitted.shape[-1] == pytest.approx(4 * 60 / 62 * RATE, abs=1)


def test_stretching_keeps_the_pitch_and_the_level() -> None:
    tone = (0.3 * torch.sin(2 * torch.pi * 440 * torch.arange(64000) / RATE))[None]
    out = stretched(tone, 3.0, RATE)
    assert out.shape == (1, 96000)
    assert int(torch.fft.rfft(out[0]).abs().argmax()) / 3 == pytest.approx(440, abs=1)
    assert float(out[0, 8000:88000].std()) == pytest.approx(float(tone.std()), rel=0.1)
    assert stretched(tone, 2.0, RATE) is tone


def test_words() -> None:
    assert (str(Loop(97.25, 1)), str(Loop(120.0, 2))) == ("97.25 bpm (1 bar)", "120 bpm (2 bars)")
