from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from jasco_pl.extract import chordino
from jasco_pl.extract import heard as module
from jasco_pl.extract.heard import Heard, Part

RATE = 32000


def struck(seconds: float = 2.0) -> Tensor:
    """C major, struck every half second, [1, S]."""
    time = torch.arange(round(seconds * RATE)) / RATE
    tones = sum(torch.sin(2 * torch.pi * 440 * 2 ** ((note - 69) / 12) * time) for note in (48, 60, 64, 67))
    return (0.1 * tones * torch.exp(-4 * (time % 0.5)))[None]


def test_a_clip_is_heard_frame_by_frame() -> None:
    heard = Heard(struck(), RATE)
    assert heard.frames == 100
    assert heard.pitch_classes.shape == (100,)
    assert set(heard.pitch_classes[5:90]) <= {0, 4, 7}
    assert len(heard.onsets) in (3, 4)


@pytest.mark.skipif(not chordino.available(), reason="Chordino is not installed")
def test_chords_are_heard_at_fifty_frames_a_second() -> None:
    assert Heard(struck(), RATE).chords.shape == (100,)


def test_every_extractor_runs_when_asked_and_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[str] = []
    monkeypatch.setattr(module, "onset_times", lambda wav, rate, start: calls.append("onsets") or np.array([0.5]))
    monkeypatch.setattr(module, "chordino_frames", lambda wav, rate, frames: calls.append("chords") or np.full(frames, 7, np.int16))
    heard = Heard(struck(), RATE)
    assert calls == []
    assert heard.onsets is heard.onsets
    assert calls == ["onsets"]
    heard.save(tmp_path / "kept" / "a.npz", ["chords", "onsets"])
    assert calls == ["onsets", "chords"]
    again = Heard(struck(), RATE).recall(tmp_path / "kept" / "a.npz")
    assert again.chords.dtype == np.int16
    assert (again.chords.tolist(), again.onsets.tolist()) == ([7] * 100, [0.5])
    assert calls == ["onsets", "chords"]
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["a.npz"]


def test_parts_of_a_clip() -> None:
    part, mask = Part(50, 100), np.zeros(200, dtype=bool)
    times = np.array([0.5, 1.0, 1.5, 2.5, 3.5])
    assert part.times(times).tolist() == [1.0, 1.5]
    assert part.times(times - 2e-8).tolist() == (times - 2e-8)[1:3].tolist()  # a rounding error early
    assert np.arange(200)[part.frames].tolist() == list(range(50, 100))
    mask[50:100] = mask[160:190] = True
    parts = Part.of(mask)
    assert parts.times(times).tolist() == [1.0, 1.5, 3.5]
    assert np.arange(200)[parts.frames].tolist() == [*range(50, 100), *range(160, 190)]
    assert parts.samples(32000) == slice(32000, 190 * 640)
    nothing = Part.of(np.zeros(200, dtype=bool))
    assert not len(nothing.times(times))
    assert not len(np.arange(200)[nothing.frames])
