from __future__ import annotations

import numpy as np
import pytest
import soundfile
from recordings import write_music

from jasco_pl.audio.long_audio import InMemory, LongAudio
from jasco_pl.prepare import rules as module
from jasco_pl.prepare.rules import Levels, Rules, clipped_samples, levels, refuse_length, refuse_levels


@pytest.mark.parametrize(
    ("magnitudes", "clipped"),
    [
        ([0.5] * 9, 0),
        ([0.5, 1.0, 1.0, 0.5], 0),  # two in a row: music does that
        ([0.5, 1.0, 1.0, 1.0, 0.5], 3),
        ([1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0], 7),  # runs at both ends
        ([], 0),
    ],
)
def test_only_runs_at_full_scale_count_as_clipped(magnitudes, clipped):
    assert clipped_samples(np.array(magnitudes, dtype=np.float32)) == clipped


def test_levels_do_not_depend_on_blocks(monkeypatch):
    wave = np.random.default_rng(0).standard_normal(5000).astype(np.float32) * 0.3
    wave[1700:1740] = -1.0
    whole = levels(InMemory(wave, 32000))
    assert whole.clipped == pytest.approx(40 / 5000)
    assert whole.peak == np.abs(wave).max()
    monkeypatch.setattr(module, "_BLOCK", 850)  # its edge lies in no run
    assert levels(InMemory(wave, 32000)) == whole


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        (Rules(), "too short"),
        (Rules(min_seconds=3.0), None),
        (Rules(min_seconds=None, max_seconds=3.5), "too long"),
        (Rules(min_seconds=None, min_rate=44100), "low rate"),
        (Rules(min_seconds=None, min_rate=None), None),
    ],
)
def test_length_and_rate(tmp_path, rules, reason):
    with LongAudio(write_music(tmp_path / "a.wav", 0, 4.0)) as audio:
        refusal = refuse_length(audio, rules)
    assert (refusal and refusal[0]) == reason


def test_a_cut_file_is_told_from_a_short_one(tmp_path):
    path = write_music(tmp_path / "a.wav", 0, 8.0)
    path.write_bytes(path.read_bytes()[:-100_000])
    with LongAudio(path) as audio:
        reason, sentence = refuse_length(audio, Rules())
    assert reason == "truncated"
    assert "6.4 of the 8.0 seconds" in sentence


def test_silence_and_clipping():
    assert refuse_levels(Levels(0.0, 0.0), Rules())[0] == "silent"
    assert "-inf dB" in refuse_levels(Levels(0.0, 0.0), Rules())[1]
    assert refuse_levels(Levels(0.001, 0.0), Rules())[0] == "silent"
    assert refuse_levels(Levels(0.001, 0.0), Rules(min_peak_db=None)) is None
    assert refuse_levels(Levels(1.0, 0.011), Rules())[0] == "clipped"
    assert refuse_levels(Levels(1.0, 0.009), Rules()) is None


def test_loud_masters_are_taken_and_distorted_ones_are_not(tmp_path):
    tone = np.sin(2 * np.pi * 220 * np.arange(32000) / 32000)
    for name, gain, expected in (("loud", 1.0, None), ("distorted", 3.0, "clipped")):
        soundfile.write(tmp_path / f"{name}.wav", np.clip(gain * tone, -1, 1), 32000)
        with LongAudio(tmp_path / f"{name}.wav") as audio:
            refusal = refuse_levels(levels(audio.samples(32000)), Rules())
        assert (refusal and refusal[0]) == expected
