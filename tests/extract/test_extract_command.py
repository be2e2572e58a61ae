from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.torch import load_file

from jasco_pl.audio.files import read_audio
from jasco_pl.cli import main
from jasco_pl.controls.melody import read_melody
from jasco_pl.extract.chordino import available
from jasco_pl.notation.chord_text import read_chords


@pytest.fixture
def song(tmp_path: Path) -> Path:
    time = np.arange(44100) / 22050
    wav = sum(np.sin(2 * np.pi * 440 * 2 ** ((midi - 69) / 12) * k * time) / k for midi in (60, 64, 67) for k in (1, 2, 3))
    soundfile.write(tmp_path / "song.flac", 0.1 * wav, 22050)
    return tmp_path / "song.flac"


def test_melody_as_midi_and_array_are_the_same(song: Path, authors_file: Path, tmp_path: Path) -> None:
    for name in ("out/melody.mid", "out/melody.npy"):
        assert main(["extract", "melody", str(song), "-o", str(tmp_path / name), "--weights", str(authors_file)]) == 0
    array = np.load(tmp_path / "out/melody.npy")
    assert array.shape == (100, 53)
    assert array.any()
    assert read_melody(tmp_path / "out/melody.mid", 100).bins.tolist() == read_melody(array, 100).bins.tolist()


@pytest.mark.skipif(not available(), reason="the Chordino plugin is not installed (make setup)")
def test_chords_read_back(song: Path, tmp_path: Path) -> None:
    assert main(["extract", "chords", str(song), "-o", str(tmp_path / "song.lab")]) == 0
    assert read_chords(tmp_path / "song.lab", duration=2.0).changes[-1].label == "C"
    assert (tmp_path / "song.lab").read_text().splitlines()[-1].split()[1:] == ["2.000000", "C:maj"]


@pytest.mark.skipif(not available(), reason="the Chordino plugin is not installed (make setup)")
def test_as_many_chords_are_told_as_are_written(song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(22050), 22050)
    for file in (song, tmp_path / "silence.wav"):
        assert main(["extract", "chords", str(file), "-o", str(tmp_path / "a.lab")]) == 0
        count = len((tmp_path / "a.lab").read_text().splitlines())
        assert f"{count} chord{'s' * (count > 1)}: " in capsys.readouterr().out


def test_latents(song: Path, tiny_codec_folder: Path, tmp_path: Path) -> None:
    assert main(["extract", "latents", str(song), "-o", str(tmp_path / "a.safetensors"), "--codec", str(tiny_codec_folder)]) == 0
    tensors = load_file(tmp_path / "a.safetensors")
    assert {name: list(tensor.shape) for name, tensor in tensors.items()} == {"latents": [100, 128], "codes": [100]}


@pytest.mark.parametrize(("what", "out"), [("melody", "a.wav"), ("chords", "a.txt"), ("latents", "a.npy"), ("drums", "a.mid")])
def test_wrong_endings_are_told_before_the_work(what: str, out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["extract", what, str(tmp_path / "missing.wav"), "-o", str(tmp_path / out)]) == 2
    assert "must end in" in capsys.readouterr().err


def test_drums_and_the_rest_are_the_mix(song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drums, rest = tmp_path / "out" / "drums.wav", tmp_path / "out" / "rest.flac"
    assert main(["extract", "drums", str(song), "-o", str(drums), "--drumless", str(rest), "--model", "hpss"]) == 0
    assert "2.0 s by hpss" in capsys.readouterr().out
    np.testing.assert_allclose(read_audio(drums) + read_audio(rest), read_audio(song), atol=1e-4)
    assert read_audio(rest).std() > 5 * read_audio(drums).std()


@pytest.mark.parametrize("what", ["chords", "melody", "drums", "latents"])
def test_the_recording_is_not_replaced(what: str, song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = song.read_bytes()
    (tmp_path / "link.flac").symlink_to(song)
    for file, out in ((song, song), (song, song.parent / "." / "song.flac"), (tmp_path / "link.flac", song)):
        assert main(["extract", what, str(file), "-o", str(out), *["--model", "hpss"] * (what == "drums")]) == 2
        assert "that is the recording itself" in capsys.readouterr().err
    assert song.read_bytes() == before


def test_drums_and_the_rest_are_two_files(song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "d.wav"
    command = ["extract", "drums", str(song), "--model", "hpss"]
    assert main([*command, "-o", str(out), "--drumless", str(tmp_path / "." / "d.wav")]) == 2
    assert "-o and --drumless take a file each" in capsys.readouterr().err
    assert main([*command, "-o", str(out), "--drumless", str(song)]) == 2
    assert "that is the recording itself" in capsys.readouterr().err
    assert not out.exists()


def test_missing_weights_of_demucs_are_told_and_leave_nothing(song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "drums.wav"
    assert main(["extract", "drums", str(song), "-o", str(out), "--demucs-repo", str(tmp_path)]) == 2
    assert "955717e8-8726e21a.th is missing there" in capsys.readouterr().err
    assert not out.exists()
