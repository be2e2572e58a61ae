from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from jasco_pl.audio.files import write_audio
from jasco_pl.audio.long_audio import InMemory, LongAudio
from jasco_pl.codec import load_codec
from jasco_pl.extract import beats
from jasco_pl.extract.beats import FRAME_RATE, SAMPLE_RATE, Beats, beats_of, spectra, track
from jasco_pl.metrics.beats import beat_f1, tempo
from jasco_pl.notation.beats import NOWHERE, beat_times
from jasco_pl.prepare.config import PrepareConfig
from jasco_pl.system.errors import UserError

installed = pytest.mark.skipif(beats.weights_file() is None, reason="the weights of BeatNet are not installed")


def waltz(seconds: float, bpm: float, first: float = 0.0, rate: int = SAMPLE_RATE) -> tuple[torch.Tensor, np.ndarray]:
    """A low drum on one, noise on two and three; and the beats."""
    draw, time = np.random.default_rng(0), np.arange(round(0.2 * rate)) / rate
    low, high = np.sin(2 * np.pi * 60 * time) * np.exp(-12 * time), draw.standard_normal(len(time)) * np.exp(-40 * time)
    times = np.arange(first, seconds - 0.25, 60 / bpm)
    wav = 1e-4 * draw.standard_normal(round(seconds * rate))
    for number, begin in enumerate(times):
        place = slice(round(begin * rate), round(begin * rate) + len(time))
        wav[place] += 0.8 * low + 0.1 * high if number % 3 == 0 else 0.3 * high
    return torch.from_numpy(wav).float()[None], times


@installed
@pytest.mark.parametrize("bpm", [84, 126])
def test_beats_of_drums_are_where_they_are(bpm: float) -> None:
    wav, times = waltz(12.0, bpm, 0.3, 32000)
    found = beats_of(wav, 32000)
    assert beat_f1(found[:, 0], times) > 0.9
    assert tempo(found[:, 0]) == pytest.approx(bpm, rel=0.02)
    assert set(np.diff(found[:, 1])) <= {1, 1 - found[:, 1].max()}  # it counts, and begins anew


@installed
def test_a_long_recording_is_heard_in_parts_that_join() -> None:
    wav, times = waltz(75.0, 96, 0.2)
    found = track(InMemory(wav, SAMPLE_RATE))
    assert beat_f1(found[:, 0], times) > 0.95
    assert (np.diff(found[:, 0]) > 0.3).all()  # no beat twice
    assert found[-1, 0] > 72


@installed
def test_silence_and_next_to_nothing_have_no_beat() -> None:
    for samples in (10 * SAMPLE_RATE, 100, 0):
        assert track(InMemory(torch.zeros(1, samples), SAMPLE_RATE)).shape == (0, 2)


@installed
def test_a_recording_gets_phases(tiny_codec_folder: Path, tmp_path: Path) -> None:
    wav, times = waltz(8.0, 120, 0.1, 32000)
    write_audio(tmp_path / "waltz.wav", wav, 32000)
    stage = Beats(load_codec(tiny_codec_folder), PrepareConfig())
    assert stage.fingerprint() == "beatnet-619091bc-ellis"
    with LongAudio(tmp_path / "waltz.wav") as audio:
        found = stage.of_recording(audio)["beats"]
    assert found.shape == (400, 2)
    assert found.dtype == torch.float16
    assert ((found == NOWHERE) | ((found >= 0) & (found <= 1))).all()
    assert beat_f1(beat_times(found[:, 0].numpy(), 50.0), times) > 0.9


def test_what_the_network_sees_does_not_depend_on_the_part_that_is_read() -> None:
    samples = InMemory(waltz(3.0, 100)[0], SAMPLE_RATE)
    whole = spectra(samples, 0, 3 * FRAME_RATE)
    assert whole.shape == (150, 272)
    torch.testing.assert_close(torch.cat([spectra(samples, 0, 70), spectra(samples, 70, 80)]), whole)
    assert (whole[0, 136:] == 0).all()  # nothing grows in the first frame


def test_a_tone_lies_in_its_band() -> None:
    """440 Hz is a tone of the bank: the filter whose middle it is gets most of it."""
    time = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
    seen = spectra(InMemory(torch.sin(2 * torch.pi * 440 * time)[None], SAMPLE_RATE), 20, 1)[0, :136]
    middles = beats._filters().argmax(dim=0).numpy()  # of every filter, in bins of 15.6 Hz
    assert abs(middles[int(seen.argmax())] * SAMPLE_RATE / 1411 - 440) < 16


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    beats.weights_file.cache_clear()
    beats._network.cache_clear()
    try:
        with pytest.raises(UserError, match="BeatNet, which is not installed: run `pip install --no-deps BeatNet"):
            beats_of(torch.ones(1, 32000), 32000)
    finally:
        beats.weights_file.cache_clear()
