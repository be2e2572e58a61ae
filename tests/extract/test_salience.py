from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from jasco_pl.audio.files import read_audio
from jasco_pl.audio.long_audio import LongAudio
from jasco_pl.extract import salience as module
from jasco_pl.extract import salience_network as hcqt
from jasco_pl.extract.salience import Salience, melody_bins
from jasco_pl.extract.salience_network import SalienceNetwork
from jasco_pl.system.errors import UserError
from jasco_pl.system.resources import CHECKOUT

REFERENCE = CHECKOUT.parent / "shared" / "reference"
WEIGHTS = REFERENCE / "deepsalience" / "multif0.h5"
needs_weights = pytest.mark.skipif(not WEIGHTS.is_file(), reason="the authors' weights are not in ../shared")


@pytest.fixture(scope="module")
def pretrained() -> Salience:
    return Salience(WEIGHTS)


@pytest.fixture(scope="module")
def random(random_salience_network: SalienceNetwork, tmp_path_factory: pytest.TempPathFactory) -> Salience:
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file(random_salience_network.state_dict(), path)
    return Salience(path)


def tones(line: list[tuple[int | None, float]], rate: int) -> torch.Tensor:
    """A plucked line (MIDI or None, seconds), eight harmonics a note."""
    parts = []
    for midi, seconds in line:
        time = np.arange(round(seconds * rate)) / rate
        frequency = 0.0 if midi is None else 440 * 2 ** ((midi - 69) / 12)
        tone = sum(np.sin(2 * np.pi * frequency * k * time) / k for k in range(1, 9))
        parts.append(tone * np.exp(-2 * time) * np.minimum(1, (seconds - time) / 0.02))
    return torch.from_numpy(np.concatenate(parts) * 0.2).float()[None]


@needs_weights
def test_agrees_with_the_melody_that_meta_prepared(pretrained: Salience) -> None:
    golden = torch.load(REFERENCE / "golden" / "salience_1.th", weights_only=True).numpy()
    asked = np.where(golden.max(axis=1) > 0, golden.argmax(axis=1), -1)
    heard = pretrained(read_audio(REFERENCE / "golden" / "salience_1.wav"), 32000)
    both = (heard >= 0) & (asked >= 0)
    assert (heard == asked).mean() >= 0.91
    assert (heard == asked)[both].mean() >= 0.96
    assert (heard.shape, heard.dtype) == ((500,), np.int8)


@needs_weights
@pytest.mark.parametrize("rate", [32000, 44100])
def test_a_line_over_chords_is_heard(pretrained: Salience, rate: int) -> None:
    line = [(72, 0.5), (76, 0.5), (79, 0.5), (None, 0.5), (77, 0.5), (74, 0.5)]
    wav = tones(line, rate)
    chord = torch.stack([tones([(midi, 3.0)], rate)[0] for midi in (48, 55)]).sum(0)
    heard = pretrained(wav + 0.1 * chord, rate)
    for number, (midi, _) in enumerate(line):
        middle = heard[25 * number + 6 : 25 * number + 20]
        if midi is not None:
            assert (middle == midi - 43).mean() > 0.9, (midi, middle)


def salience_of(random: Salience, wav: torch.Tensor, rate: int) -> np.ndarray:
    """Salience [T, 53] of audio that is not silent."""
    samples = module._samples(wav, rate)
    return np.concatenate([part for _, part in random._frames(samples, round(samples.seconds * 50), progress=False)])


def test_windows_change_nothing(random: Salience, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    rate = hcqt.SAMPLE_RATE
    wav = tones([(int(draw.integers(40, 96)), 0.4) for _ in range(20)], rate) * torch.linspace(1, 0.1, 20 * round(0.4 * rate))
    wav = wav + 0.003 * torch.from_numpy(draw.normal(size=wav.shape)).float()
    monkeypatch.setattr(module, "EXCERPT_SECONDS", 0.0)
    monkeypatch.setattr(module, "WINDOW", 10_000)
    whole = salience_of(random, wav, rate)
    monkeypatch.setattr(module, "WINDOW", 250)
    monkeypatch.setattr(module, "CHUNK", 171)
    windows = salience_of(random, wav, rate)
    assert whole.shape == windows.shape == (400, 53)
    assert (whole > 0).mean() > 0.01
    np.testing.assert_allclose(windows, whole, atol=2e-3)
    path = tmp_path / "line.wav"
    soundfile.write(path, wav[0].numpy(), rate, subtype="FLOAT")
    with LongAudio(path) as audio:
        np.testing.assert_array_equal(random.of(audio, 410), np.append(melody_bins(windows), [-1] * 10))
    assert (melody_bins(whole) == melody_bins(windows)).mean() > 0.995


def test_context_is_enough_for_every_bin() -> None:
    samples = np.random.default_rng(0).normal(size=20 * hcqt.SAMPLE_RATE).astype(np.float32)
    whole = hcqt.harmonic_cqt(samples)
    window = module._hcqt_window(samples, 700, 720, 7)
    levels = [hcqt.to_decibels(part, float(whole.max())) for part in (whole[:, :, 693:727], window)]
    assert np.abs(levels[0] - levels[1]).max() * 80 < 0.02


def test_harmonics_share_one_grid() -> None:
    """A tone of 440 Hz stands in harmonic h at the bin of 440 / h Hz."""
    samples = np.sin(2 * np.pi * 440 * np.arange(4 * hcqt.SAMPLE_RATE) / hcqt.SAMPLE_RATE).astype(np.float32)
    middle = hcqt.harmonic_cqt(samples)[:, :, 172]
    for harmonic, levels in zip(hcqt.HARMONICS, middle, strict=True):
        wanted = 60 * np.log2(440 / harmonic / hcqt.LOWEST_HZ)
        assert abs(int(levels.argmax()) - wanted) < 1, harmonic


def test_the_quick_network_computes_the_published_one(random_salience_network: SalienceNetwork) -> None:
    hcqt_like = torch.rand(2, 6, 90, 19, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(
            random_salience_network(hcqt_like), random_salience_network.straightforward(hcqt_like), atol=1e-4, rtol=0
        )


def test_what_is_left_out_below_changes_nothing(random: Salience) -> None:
    levels = np.random.default_rng(0).random((6, 360, 20), dtype=np.float32)
    with torch.inference_mode():
        bins = random.network.straightforward(torch.from_numpy(levels)[None])[0, 93:358].numpy()
    np.testing.assert_allclose(random._semitones(levels), bins.reshape(53, 5, 20).max(axis=1), atol=1e-4)


def test_levels_matter_only_relative_to_the_loudest_moment(random: Salience) -> None:
    wav = tones([(60, 0.2), (67, 0.2)], 22050)
    np.testing.assert_allclose(salience_of(random, wav, 22050), salience_of(random, wav * 0.125, 22050), atol=1e-4)


def test_lengths(random: Salience) -> None:
    wav = tones([(60, 0.21)], 32000)
    heard = random(wav, 32000)
    assert heard.shape == (10,)
    longer = random(wav, 32000, frames=30)
    assert longer.tolist() == [*heard.tolist(), *[-1] * 20]
    assert random(wav, 32000, frames=4).tolist() == heard.tolist()[:4]
    assert random(wav[:, :96], 32000).shape == (0,)
    assert random(torch.zeros(1, 0), 32000).shape == (0,)


def test_silence_has_no_melody_whatever_the_weights(random: Salience) -> None:
    assert (random(torch.zeros(1, 32000), 32000) == -1).all()


def test_audio_with_gaps_in_its_numbers_is_refused(random: Salience) -> None:
    with pytest.raises(UserError, match="NaN or infinity"):
        random(torch.tensor([[0.0, float("nan")]]), 32000)
