from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from jasco_pl.audio import long_audio
from jasco_pl.audio.files import read_audio
from jasco_pl.audio.long_audio import InMemory, LongAudio, OnDisk, Spool, bandpass, bandpass_long
from jasco_pl.system.errors import UserError

Write = Callable[..., Path]


def noise(seconds: float, rate: int, channels: int) -> np.ndarray:
    """Faint noise over a tone whose loudness changes, another one in every channel."""
    time = np.arange(round(seconds * rate))[:, None] / rate
    tones = 0.2 * np.sin(2 * np.pi * (200 + 60 * np.arange(channels)) * time) * (1 + np.sin(5 * time))
    return (tones + 0.01 * np.random.default_rng(0).normal(size=tones.shape)).astype(np.float32)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(suffix: str, rate: int, channels: int, seconds: float = 3.0) -> Path:
        path = tmp_path / f"sound.{suffix}"
        kind = {"format": "OGG", "subtype": "OPUS"} if suffix == "opus" else {}
        data = noise(seconds, rate, channels)
        with soundfile.SoundFile(path, "w", rate, channels, **kind) as file:
            for start in range(0, len(data), 4096):
                file.write(data[start : start + 4096])
        return path

    return write


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_audio, "MEMORY_SECONDS", 1.0)


def open_files(folder: Path) -> list[str]:
    """What this process holds open in a folder, without a name or with one."""
    links = []
    for number in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:
            continue
    return [link for link in links if link.startswith(str(folder))]


@pytest.mark.usefixtures("on_disk")
@pytest.mark.parametrize(
    ("suffix", "rate", "channels"),
    [
        ("wav", 8000, 1),
        ("wav", 48000, 8),
        ("wav", 32000, 2),
        ("flac", 11025, 2),
        ("flac", 44100, 8),
        ("ogg", 22050, 2),
        ("ogg", 44100, 6),
        ("mp3", 44100, 2),
        ("mp3", 11025, 1),
        ("opus", 48000, 2),
        ("opus", 8000, 1),
    ],
)
def test_streams_equal_what_is_read_at_once(write: Write, tmp_path: Path, suffix: str, rate: int, channels: int) -> None:
    path = write(suffix, rate, channels)
    with LongAudio(path, tmp_path / "scratch") as audio:
        assert (audio.source_rate, audio.channels) == (rate, channels)
        for wanted in (32000, 22050):
            samples = audio.samples(wanted)
            assert isinstance(samples, OnDisk)
            whole = read_audio(path, wanted)[0].numpy()
            assert len(samples) == len(whole)
            np.testing.assert_allclose(samples[:], whole, atol=1e-5)
            np.testing.assert_array_equal(samples[1000:2000], samples[:][1000:2000])
        whole, _ = soundfile.read(path, dtype="float32", always_2d=True)
        np.testing.assert_allclose(read_audio(path, rate)[0], whole.mean(axis=1), atol=1e-6)
        assert audio.seconds == pytest.approx(audio.claimed_seconds) == pytest.approx(len(whole) / rate)


def test_both_channels_come_through(write: Write) -> None:
    with LongAudio(write("flac", 44100, 2)) as audio:
        both = np.concatenate(list(audio.stereo(22050)))
        assert both.shape == (66150, 2)
        np.testing.assert_allclose(both.mean(axis=1), audio.samples(22050)[:], atol=1e-5)
        assert np.abs(both[:, 0] - both[:, 1]).max() > 0.1
        np.testing.assert_allclose(np.concatenate(list(audio.stereo(44100))), soundfile.read(audio.path)[0], atol=1e-6)
    for channels in (1, 8):
        with LongAudio(write("wav", 44100, channels)) as audio:
            both = np.concatenate(list(audio.stereo(44100)))
            np.testing.assert_array_equal(both, np.repeat(audio.samples(44100)[:][:, None], 2, axis=1))


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_a_stretch_is_cut_out(write: Write, suffix: str) -> None:
    path = write(suffix, 44100, 2)
    whole, _ = soundfile.read(path, dtype="float32")
    with LongAudio(path, start=0.5, stop=1.75) as audio:
        assert audio.claimed_seconds == 1.25
        np.testing.assert_allclose(audio.samples(44100)[:], whole[22050:77175].mean(axis=1), atol=1e-5)
        assert audio.seconds == 1.25
    with LongAudio(path, start=2.0, stop=9.0) as audio:
        assert audio.seconds == pytest.approx(audio.claimed_seconds) == pytest.approx(len(whole) / 44100 - 2)
    with LongAudio(path, start=60.0) as audio, pytest.raises(UserError, match="no samples behind 60 s"):
        audio.samples(32000)


@pytest.mark.parametrize(("suffix", "there"), [("wav", 0.6), ("aiff", 0.6), ("mp3", 0.6)])
def test_a_truncated_file_is_shorter_than_it_claims(write: Write, suffix: str, there: float) -> None:
    path = write(suffix, 44100, 2, seconds=20.0)
    content = path.read_bytes()
    whole, _ = soundfile.read(path, dtype="float32")
    path.write_bytes(content[: round(there * len(content))])
    with LongAudio(path) as audio:
        assert audio.claimed_seconds == pytest.approx(len(whole) / 44100, rel=1e-3)
        heard = audio.samples(44100)[:]
        assert audio.seconds == pytest.approx(there * 20, rel=0.02)
        np.testing.assert_allclose(heard[: 11 * 44100], whole[: 11 * 44100].mean(axis=1), atol=1e-4)
        assert len(heard) == round(audio.seconds * 44100)  # not padded, and nothing of it twice


def test_a_wav_file_of_unknown_length_claims_what_it_holds(write: Write) -> None:
    path = write("wav", 8000, 1)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    with LongAudio(path) as audio:
        assert audio.claimed_seconds == pytest.approx(3.0)


@pytest.mark.usefixtures("on_disk")
@pytest.mark.parametrize("kind", ["nan", "cut flac", "text", "nothing"])
def test_what_cannot_be_decoded_is_refused_and_leaves_nothing(write: Write, tmp_path: Path, kind: str) -> None:
    path = write("flac", 22050, 1, seconds=20.0)
    words = {"nan": "NaN or infinity, first at 12.000 s", "cut flac": r"breaks off at \d+\.\d s of 20\.0 s"}.get(kind, "not an audio file")
    if kind == "nan":
        path = path.with_suffix(".wav")
        data = noise(20.0, 22050, 2)
        data[12 * 22050, 1] = np.nan
        soundfile.write(path, data, 22050, subtype="FLOAT")
    else:
        content = path.read_bytes()
        path.write_bytes({"cut flac": content[: 2 * len(content) // 3], "text": b"I am not a sound.\n" * 40, "nothing": b""}[kind])
    scratch = tmp_path / "scratch"
    with pytest.raises(UserError, match=words) as error, LongAudio(path, scratch) as audio:
        audio.samples(32000)
    assert str(error.value).count("\n") == 0
    assert not scratch.exists() or not list(scratch.iterdir())
    assert not open_files(scratch)


@pytest.mark.usefixtures("on_disk")
def test_closing_removes_the_temporary_file(write: Write, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    with LongAudio(write("wav", 32000, 1), scratch) as audio:
        samples = audio.samples(32000)
        assert open_files(scratch)
        assert not [path for path in scratch.iterdir() if not path.name.startswith("#")]  # no name: a killed process leaves nothing
    assert not open_files(scratch)
    with pytest.raises(ValueError, match="closed"):
        samples[:10]


def test_a_scratch_folder_that_cannot_be_written_is_the_machines_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    spool = Spool(10, tmp_path / "file" / "folder")
    with pytest.raises(OSError, match="folder"):
        spool.append(np.zeros(4000, dtype=np.float32))


@pytest.mark.parametrize("length", [1, 7, 500, 1000, 5000])
def test_windows_cover_everything_once(length: int) -> None:
    array = np.arange(1000, dtype=np.float32)
    samples = InMemory(torch.from_numpy(array)[None], 100)
    assert samples.seconds == 10.0
    own = []
    for window, before, count in samples.windows(length, 30):
        own.append(window[before : before + count])
        first = int(window[0])
        np.testing.assert_array_equal(window, array[first : first + len(window)])
        assert before == min(30, int(own[-1][0]))
        assert len(window) - before - count == min(30, 999 - int(own[-1][-1]))
    np.testing.assert_array_equal(np.concatenate(own), array)


def test_a_filter_over_windows_is_the_filter_over_the_whole() -> None:
    wav = torch.from_numpy(noise(6.0, 32000, 1)).T
    samples = bandpass_long(InMemory(wav, 32000))
    assert len(samples) == 192000
    whole = bandpass(wav, 32000)[0].numpy()
    for start, stop in ((0, 192000), (0, 10), (100_000, 130_000), (191_990, 192_000)):
        np.testing.assert_allclose(samples[start:stop], whole[start:stop], atol=1e-7)
