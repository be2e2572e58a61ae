from __future__ import annotations

import itertools
import multiprocessing
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from jasco_pl.audio.long_audio import InMemory
from jasco_pl.extract import chordino as module
from jasco_pl.extract.chordino import available, chordino, chordino_frames, chordino_long
from jasco_pl.notation import harmony
from jasco_pl.system.errors import UserError

needs_plugin = pytest.mark.skipif(not available(), reason="the Chordino plugin is not installed (make setup)")
PROGRESSION = (("C", (36, 60, 64, 67)), ("F", (41, 60, 65, 69)), ("G", (43, 59, 62, 67)), ("Am", (45, 60, 64, 69)))


def harmonics(midi: int, seconds: float, rate: int) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    frequency = 440 * 2 ** ((midi - 69) / 12)
    return sum(np.sin(2 * np.pi * frequency * k * time) / k**1.5 for k in range(1, 9)) * np.exp(-time) * 0.05


def progression(rate: int) -> torch.Tensor:
    chords = [sum(harmonics(midi, 2.5, rate) for midi in notes) for _, notes in PROGRESSION]
    return torch.from_numpy(np.concatenate(chords)).float()[None]


def heard(rate: int) -> list[tuple[str, float]]:
    return chordino(progression(rate), rate)


@needs_plugin
@pytest.mark.parametrize("rate", [22050, 32000])
def test_a_progression_is_heard_in_time(rate: int) -> None:
    changes = [change for change in heard(rate) if change[0] != "N"]
    assert [label for label, _ in changes] == ["C", "F", "G", "Am"]
    assert [start for _, start in changes[1:]] == pytest.approx([2.5, 5.0, 7.5], abs=0.25)


@needs_plugin
def test_frames_hold_the_chords() -> None:
    frames = chordino_frames(progression(32000), 32000, 500)
    assert frames.shape == (500,)
    assert frames.dtype == np.int16
    wanted = np.repeat([harmony.index(label) for label, _ in PROGRESSION], 125)
    assert (frames == wanted).mean() > 0.85
    assert chordino_frames(progression(32000), 32000, 700)[520:].tolist() == [harmony.N] * 180


@needs_plugin
@pytest.mark.parametrize("samples", [0, 100, 5000])
def test_clips_too_short_to_hear_anything_have_no_chord(samples: int) -> None:
    assert set(chordino_frames(torch.ones(1, samples) * 0.1, 32000, 10).tolist()) == {harmony.N}


@needs_plugin
def test_nan_is_refused_before_it_reaches_the_plugin() -> None:
    with pytest.raises(UserError, match="NaN"):
        chordino(torch.full((1, 32000), float("nan")), 32000)


@needs_plugin
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_hear_the_same(method: str) -> None:
    expected = heard(22050)
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(heard, [22050]) == [expected]


@needs_plugin
def test_a_vamp_path_of_the_user_is_kept() -> None:
    code = "import os; from jasco_pl.extract.chordino import available; assert available(); print(os.environ['VAMP_PATH'])"
    environment = {**os.environ, "VAMP_PATH": "/somewhere/else"}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    assert out.startswith("/somewhere/else" + os.pathsep)


def test_without_the_plugin_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available", lambda: False)
    with pytest.raises(UserError, match=r"pip install 'jasco-pl\[chords\]'"):
        chordino(torch.zeros(1, 32000), 32000)


@pytest.mark.parametrize(("written", "label"), [("C", "C"), ("Db:maj", "C#"), ("A#m7", "Bbm7"), ("what", "UNK")])
def test_labels_outside_the_vocabulary_are_brought_into_it(written: str, label: str) -> None:
    assert module._in_vocabulary(written) == label


@needs_plugin
def test_windows_are_joined_where_they_overlap() -> None:
    roots = np.random.default_rng(0).integers(0, 12, 24)
    chords = [sum(harmonics(48 + int(root) + step, 2.5, 22050) for step in (-12, 0, 4, 7)) for root in roots]
    samples = InMemory(torch.from_numpy(np.concatenate(chords)), 22050)
    whole = chordino_long(samples)
    assert whole == chordino(torch.from_numpy(samples[:])[None], 22050)
    joined = chordino_long(samples, window_seconds=20.0, overlap_seconds=8.0)
    times = [time for _, time in joined]
    assert times == sorted(times)
    assert all(first[0] != second[0] for first, second in itertools.pairwise(joined))
    frames = [harmony.changes_to_frames(changes, 3000) for changes in (whole, joined)]
    assert (frames[0] == frames[1]).mean() > 0.97
    wanted = np.repeat([harmony.index(harmony.ROOTS[root]) for root in roots], 125)
    assert (frames[1] == wanted).mean() > 0.85


def test_a_joint_carries_on_what_sounds() -> None:
    first = [("N", 0.0), ("C", 1.0), ("F", 4.9), ("G", 6.0)]
    assert module._joined(first, [("N", 3.0), ("F", 4.8), ("G", 6.1)], 5.0) == [("N", 0.0), ("C", 1.0), ("F", 4.9), ("G", 6.1)]
    assert module._joined(first, [("N", 3.0), ("C", 3.4), ("G", 6.1)], 5.0) == [*first[:3], ("C", 5.0), ("G", 6.1)]
    assert module._joined([], [("N", 3.0)], 5.0) == [("N", 5.0)]


def test_long_audio_without_the_plugin_tells_the_remedy_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available", lambda: False)
    with pytest.raises(UserError, match=r"pip install 'jasco-pl\[chords\]'"):
        chordino_long(InMemory(torch.zeros(1, 22050), 22050))
