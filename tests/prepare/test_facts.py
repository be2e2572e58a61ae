from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from jasco_pl.audio.files import measure_loudness, read_audio
from jasco_pl.audio.long_audio import InMemory, Samples
from jasco_pl.extract.classical import onset_times
from jasco_pl.prepare.rules import MUSIC_SECONDS, facts, measure_key, measure_rhythm
from jasco_pl.system import librosa

PIECES = Path(__file__).parents[2] / "data" / "pieces" / "test"
MAJOR, MINOR = ((0, 4, 7), (5, 9, 0), (7, 11, 2), (0, 4, 7)), ((0, 3, 7), (5, 8, 0), (7, 10, 2), (0, 3, 7))


def cadence(root: int, triads: tuple[tuple[int, ...], ...], rate: int = 11025) -> np.ndarray:
    """I IV V I (or i iv v i) of decaying tones with overtones, a second each, float32 [S]."""
    time = np.arange(rate) / rate
    out = []
    for triad in triads:
        notes = [48 + (root + step) % 12 for step in triad]
        tones = [sum(0.5**k * np.sin(2 * np.pi * k * librosa.midi_to_hz(note) * time) for k in (1, 2, 3)) for note in notes]
        out.append(np.sum(tones, axis=0) * np.exp(-2 * time) * 0.1)
    return np.tile(np.concatenate(out), 2).astype(np.float32)


def clicks(bpm: float, seconds: float = 20.0, rate: int = 22050) -> np.ndarray:
    """Noise bursts on every beat, a soft noise below."""
    time = np.arange(round(seconds * rate)) / rate
    draw = np.random.default_rng(0)
    return (draw.standard_normal(len(time)) * (0.3 * np.exp(-60 * (time % (60 / bpm))) + 0.001)).astype(np.float32)


@pytest.mark.parametrize(("root", "name"), [(0, "C"), (1, "Db"), (6, "F#"), (9, "A")])
def test_a_cadence_has_its_key(root: int, name: str) -> None:
    assert measure_key(cadence(root, MAJOR)) == f"{name} major"


@pytest.mark.parametrize(("root", "name"), [(0, "C"), (1, "C#"), (8, "G#"), (10, "Bb")])
def test_a_minor_cadence_has_its_key(root: int, name: str) -> None:
    assert measure_key(cadence(root, MINOR)) == f"{name} minor"


def test_the_key_survives_an_orchestra_that_tunes_high() -> None:
    played = cadence(0, MAJOR, rate=11025)
    higher = np.interp(np.arange(0, len(played) - 1, 2 ** (0.3 / 12)), np.arange(len(played)), played).astype(np.float32)
    assert measure_key(higher) == "C major"


@pytest.mark.parametrize("bpm", [90.0, 120.0, 140.0])
def test_regular_beats_have_their_tempo_and_their_onsets(bpm: float) -> None:
    tempo, onsets = measure_rhythm(clicks(bpm))
    assert tempo == pytest.approx(bpm, rel=0.04)
    assert onsets == pytest.approx(bpm / 60, rel=0.1)


def test_onsets_are_the_extractors() -> None:
    samples = clicks(107.0)
    assert measure_rhythm(samples)[1] == len(onset_times(torch.from_numpy(samples)[None], 22050, start=False)) / 20.0


def test_what_has_no_tempo_and_no_key_gets_none() -> None:
    noise = np.random.default_rng(1).standard_normal(11025 * 10).astype(np.float32) * 0.1
    assert measure_key(noise) is None
    tone = np.sin(np.arange(22050 * 10) * 0.06).astype(np.float32) * 0.1
    assert measure_rhythm(tone)[0] is None
    nothing = {"loudness": None, "tempo": None, "key": None, "onsets_per_second": None}
    assert facts(InMemory(torch.zeros(0), 32000)) == nothing
    assert facts(InMemory(torch.zeros(100), 32000)) == nothing
    assert facts(InMemory(torch.zeros(32000 * 3), 32000)) == {**nothing, "onsets_per_second": 0.0}


def test_facts_are_json_and_agree_with_their_parts() -> None:
    wav = torch.from_numpy(np.concatenate([cadence(2, MAJOR, 32000)] * 2))[None]
    found = facts(InMemory(wav, 32000))
    assert json.loads(json.dumps(found)) == found
    assert found["key"] == "D major"
    assert found["loudness"] == pytest.approx(measure_loudness(wav, 32000), abs=0.01)


class Counted(Samples):
    """Two hours of silence with a cadence in the middle; remembers how much was read."""

    rate = 32000

    def __init__(self) -> None:
        self.most = 0
        self.music = np.tile(cadence(4, MINOR, self.rate), 40)

    def __len__(self) -> int:
        return 7200 * self.rate

    def _read(self, start: int, stop: int) -> np.ndarray:
        self.most = max(self.most, stop - start)
        out = np.zeros(stop - start, dtype=np.float32)
        begin = (len(self) - len(self.music)) // 2
        low, high = max(start, begin), min(stop, begin + len(self.music))
        out[low - start : high - start] = self.music[low - begin : high - begin]
        return out


def test_a_concert_is_judged_by_its_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jasco_pl.prepare.rules.LOUDNESS_SECONDS", 30.0)
    monkeypatch.setattr("jasco_pl.prepare.rules.MUSIC_SECONDS", 20.0)
    concert = Counted()
    assert facts(concert)["key"] == "E minor"
    assert concert.most == 30 * concert.rate
    assert MUSIC_SECONDS == 120.0


@pytest.mark.slow
@pytest.mark.skipif(not PIECES.is_dir(), reason="the composed pieces are not there: `make data` renders them")
def test_tempo_and_key_agree_with_composed_pieces() -> None:
    """Every third; docs/decisions.md has the figures of all seventy."""
    tempi, keys = [], []
    for path in sorted(PIECES.glob("*.json"))[::3]:
        note = json.loads(path.read_text())
        found = facts(InMemory(read_audio(path.with_suffix(".mix.flac")), 32000))
        if found["tempo"]:
            ratio = found["tempo"] / note["bpm"]
            tempi.append(any(abs(ratio / factor - 1) < 0.04 for factor in (0.5, 2 / 3, 1, 3 / 2, 2)))
        if found["key"] and note["has"]["chords"]:
            keys.append(found["key"] == note["key"])
    assert len(tempi) >= 20
    assert np.mean(tempi) > 0.85
    assert np.mean(keys) > 0.5
