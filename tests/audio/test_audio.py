from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from jasco_pl.audio import files as audio
from jasco_pl.system.errors import UserError


def tone(seconds: float, rate: int = 32000, frequency: float = 440.0, amplitude: float = 0.3) -> torch.Tensor:
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return (amplitude * torch.sin(2 * torch.pi * frequency * time))[None].float()


@pytest.mark.parametrize(("suffix", "rate", "channels"), [("wav", 44100, 2), ("flac", 48000, 1), ("ogg", 22050, 6), ("mp3", 44100, 2)])
def test_any_format_rate_and_channel_count_becomes_mono_32k(tmp_path: Path, suffix: str, rate: int, channels: int) -> None:
    path = tmp_path / f"tone.{suffix}"
    weights = np.arange(channels) + 1.0
    soundfile.write(path, tone(1.0, rate).numpy().T * weights / weights.mean(), rate)
    wav = audio.read_audio(path)
    assert wav.dtype == torch.float32
    assert wav.shape == (1, 32000)
    middle = slice(4000, 28000)
    difference = wav[0, middle] - tone(1.0)[0, middle]
    assert difference.abs().max() < (0.02 if suffix in ("ogg", "mp3") else 2e-3)


@pytest.mark.parametrize("rate", [44101, 7919])
def test_odd_rates_keep_length_and_pitch(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "odd.wav", tone(2.0, rate).numpy().T, rate)
    wav = audio.read_audio(tmp_path / "odd.wav")
    assert wav.shape == (1, 64000)
    assert int(torch.fft.rfft(wav[0]).abs().argmax()) == 880


def test_resampling_removes_what_would_fold_back() -> None:
    faded = torch.hann_window(48000)[None]  # a sharp start would itself hold low frequencies
    folded = audio.resample(tone(1.0, 48000, 23000.0) * faded, 48000, 32000)
    assert folded.shape == (1, 32000)
    assert folded.abs().max() < 1e-4


def test_max_seconds_reads_only_the_beginning(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", torch.cat([tone(1.0), torch.zeros(1, 32000)], dim=1).numpy().T, 32000)
    wav = audio.read_audio(tmp_path / "long.wav", max_seconds=0.5)
    assert wav.shape == (1, 16000)
    assert wav.abs().max() > 0.29


def test_bad_files_are_one_sentence_each(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("I am not a sound.\n" * 40)
    (tmp_path / "nothing.wav").write_bytes(b"")
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 1)), 32000)
    broken = tone(0.5).numpy().T.copy()
    broken[8000] = np.nan
    soundfile.write(tmp_path / "nan.wav", broken, 32000, subtype="FLOAT")
    soundfile.write(tmp_path / "slow.wav", np.ones((10, 1)) * 0.1, 2)
    for name, words in {
        "missing.wav": "does not exist",
        "text.wav": "not an audio file",
        "nothing.wav": "not an audio file",
        "empty.wav": "no samples",
        "nan.wav": "NaN or infinity, first at 0.250 s",
        "slow.wav": "2 samples a second",
        "": "is a folder",
    }.items():
        with pytest.raises(UserError, match=words) as error:
            audio.read_audio(tmp_path / name)
        assert str(error.value).count("\n") == 0


@pytest.fixture
def no_permission(tmp_path: Path) -> Iterator[Path]:
    """A folder with a sound in it, both closed to the current user (root drops its rights for the test)."""
    folder = tmp_path / "closed"
    folder.mkdir()
    soundfile.write(folder / "a.wav", tone(0.1).numpy().T, 32000)
    (folder / "a.wav").chmod(0)
    folder.chmod(0o555)
    for parent in [tmp_path, *tmp_path.parents][:3]:
        if parent.owner() == "root" and os.geteuid() == 0:
            parent.chmod(0o755)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    if user == 0:
        os.seteuid(0)
    folder.chmod(0o755)


def test_missing_permission_is_named(no_permission: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: Permission denied"):
        audio.read_audio(no_permission / "a.wav")
    with pytest.raises(UserError, match="no permission to write"):
        audio.write_audio(no_permission / "b.wav", tone(0.1), 32000)


@pytest.mark.parametrize(("suffix", "accuracy"), [("wav", 1e-4), ("flac", 1e-4), ("ogg", 0.03), ("mp3", 0.03)])
def test_written_files_read_back(tmp_path: Path, suffix: str, accuracy: float) -> None:
    path = tmp_path / "new" / f"out.{suffix}"
    audio.write_audio(path, tone(3.0)[0], 32000)
    audio.write_audio(path, tone(3.0), 32000)
    assert (audio.read_audio(path) - tone(3.0)).abs().max() < accuracy
    assert [child.name for child in path.parent.iterdir()] == [path.name]


def test_overloads_are_clipped_not_wrapped(tmp_path: Path) -> None:
    audio.write_audio(tmp_path / "loud.wav", tone(0.1, amplitude=1.7), 32000)
    wav = audio.read_audio(tmp_path / "loud.wav")
    assert torch.equal(wav.sign()[wav.abs() > 0.1], tone(0.1).sign()[wav.abs() > 0.1])


def test_refused_writing_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"\.wav, \.flac, \.ogg"):
        audio.write_audio(tmp_path / "out.xyz", tone(0.1), 32000)
    with pytest.raises(UserError, match="mp3 cannot hold 1 channel at 96000 Hz"):
        audio.write_audio(tmp_path / "out.mp3", tone(0.1), 96000)
    with pytest.raises(UserError, match="NaN or infinity"):
        audio.write_audio(tmp_path / "out.wav", torch.full((1, 10), float("nan")), 32000)

    def full(self: Path, data: bytes) -> int:
        with open(self, "wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="the disk is full"):
        audio.write_audio(tmp_path / "out.wav", tone(0.1), 32000)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_blocks_are_written_as_the_whole_is(tmp_path: Path, suffix: str) -> None:
    wav = 1.5 * tone(3.0, amplitude=0.8)
    audio.write_audio(tmp_path / f"whole.{suffix}", wav, 32000)
    audio.write_blocks(tmp_path / f"blocks.{suffix}", (block.numpy() for block in wav[0].split(70_000)), 32000)
    whole, blocks = (audio.read_audio(tmp_path / f"{name}.{suffix}") for name in ("whole", "blocks"))
    assert (whole - blocks).abs().max() < 1e-3


def test_blocks_that_end_in_an_error_leave_nothing(tmp_path: Path) -> None:
    def blocks() -> Iterator[np.ndarray]:
        yield np.zeros(100, dtype=np.float32)
        raise UserError("no more")

    with pytest.raises(UserError, match="no more"):
        audio.write_blocks(tmp_path / "out.wav", blocks(), 32000)
    assert not list(tmp_path.iterdir())


def plucks(crest: float) -> torch.Tensor:
    """Ten seconds of a quiet chord with short loud attacks four times a second."""
    time = torch.arange(320000) / 32000
    envelope = 1 + crest * torch.exp(-((time % 0.25) / 0.004))
    return sum(0.02 * torch.sin(2 * torch.pi * f * time) for f in (130.8, 164.8, 196.0))[None] * envelope  # type: ignore[index]


@pytest.mark.parametrize("amplitude", [0.005, 0.1, 0.9])
def test_even_material_reaches_the_target_by_one_gain(amplitude: float) -> None:
    wav = tone(3.0, frequency=997.0, amplitude=amplitude)
    out, loudness = audio.loudness_normalize(wav, 32000)
    assert loudness == pytest.approx(-14.0, abs=0.05)
    ratio = (out / wav)[wav.abs() > amplitude / 10]
    assert ratio.std() / ratio.mean() < 1e-4


def test_a_997_hz_tone_measures_as_the_standard_says() -> None:
    # BS.1770: a full-scale 997 Hz sine in one front channel reads -3.01 LUFS.
    assert audio.measure_loudness(tone(3.0, 48000, 997.0, 1.0), 48000) == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize("crest", [2.0, 3.0, 8.0, 400.0])
def test_peaky_material_never_passes_the_ceiling(crest: float) -> None:
    wav = plucks(crest)
    out, loudness = audio.loudness_normalize(wav, 32000)
    assert audio.true_peak_db(out, 32000) <= -0.99
    assert loudness is not None
    assert loudness <= -13.9
    if crest <= 3.0:  # within the 6 dB that the limiter may take
        assert loudness == pytest.approx(-14.0, abs=0.1)


def test_peaks_between_samples_count() -> None:
    time = torch.arange(32000)
    # Samples at +-0.70 of a wave that itself reaches 0.99.
    wav = (0.99 * torch.sin(torch.pi / 2 * time + torch.pi / 4) * torch.hann_window(32000))[None]
    assert wav.max() < 0.71
    assert audio.true_peak_db(wav, 32000) == pytest.approx(-0.09, abs=0.05)


@pytest.mark.parametrize("wav", [torch.zeros(1, 32000), tone(0.3), torch.zeros(1, 0)])
def test_what_cannot_be_measured_comes_back_unchanged(wav: torch.Tensor) -> None:
    out, loudness = audio.loudness_normalize(wav, 32000)
    assert loudness is None
    assert torch.equal(out, wav)


def test_mixes_of_composed_pieces_stand_for_the_folder(tmp_path: Path) -> None:
    audio.write_audio(tmp_path / "a.wav", torch.zeros(1, audio.SAMPLE_RATE), audio.SAMPLE_RATE)
    assert [path.name for path in audio.audio_files(tmp_path)] == ["a.wav"]
    for stem in ("mix", "drums"):
        audio.write_audio(tmp_path / f"x.{stem}.flac", torch.zeros(1, audio.SAMPLE_RATE), audio.SAMPLE_RATE)
    assert [path.name for path in audio.audio_files(tmp_path)] == ["x.mix.flac"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds audio"):
        audio.audio_files(tmp_path / "empty")
