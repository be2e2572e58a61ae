from __future__ import annotations

import hashlib
import io
import json
import os
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import soundfile
import torch
from demucs.apply import BagOfModels, apply_model
from demucs.htdemucs import HTDemucs
from safetensors.torch import save_file

from jasco_pl.audio import long_audio
from jasco_pl.audio.files import read_audio, resample
from jasco_pl.audio.long_audio import LongAudio
from jasco_pl.extract import demucs, separation
from jasco_pl.extract.demucs import load_demucs
from jasco_pl.extract.separation import Separator
from jasco_pl.system import librosa
from jasco_pl.system.errors import UserError

SIGNATURE = "955717e8"  # htdemucs
TINY = {
    "sources": ["drums", "bass", "other", "vocals"],
    "channels": 8,
    "nfft": 512,
    "depth": 2,
    "t_layers": 1,
    "t_heads": 2,
    "bottom_channels": 0,
    "segment": Fraction(1, 2),
}


def tiny_file(seed: int = 0) -> bytes:
    """A random HTDemucs with segments of half a second, in Demucs' layout."""
    torch.manual_seed(seed)
    network = HTDemucs(**TINY)
    package = {"klass": HTDemucs, "args": (), "kwargs": dict(TINY), "state": network.state_dict(), "training_args": {}}
    content = io.BytesIO()
    torch.save(package, content)
    return content.getvalue()


def save(folder: Path, signature: str, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{signature}-{hashlib.sha256(content).hexdigest()[:8]}.th"
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repo")
    save(folder, SIGNATURE, tiny_file())
    save(folder, "abcd1234", tiny_file(seed=1))
    (folder / "pair.yaml").write_text(f"models: ['{SIGNATURE}', 'abcd1234']\nweights: [[1., 0., 1., 1.], [0., 1., 1., 3.]]\n")
    return folder


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """1.3 s in stereo: a chord on the left, clicks in the middle, at 32 kHz and with an offset."""
    draw = np.random.default_rng(0)
    time = np.arange(41_601) / 32000
    chord = sum(0.1 * np.sin(2 * np.pi * hertz * time) for hertz in (220, 277, 330))
    clicks = 0.4 * draw.normal(size=len(time)) * np.exp(-60 * (time % 0.25))
    soundfile.write(tmp_path / "song.wav", np.stack([chord + clicks + 0.01, clicks + 0.01], axis=1), 32000, subtype="FLOAT")
    return tmp_path / "song.wav"


@pytest.fixture
def no_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches and a network that does not answer; the folder of PyTorch's cache."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    monkeypatch.setattr(demucs, "try_to_load_from_cache", lambda *_: None)
    return tmp_path / "hub" / "checkpoints"


@pytest.mark.parametrize("name", ["htdemucs", "pair"])
def test_segments_of_a_stream_give_what_demucs_gives_at_once(repo: Path, song: Path, name: str) -> None:
    model = load_demucs(name, repo)
    assert isinstance(model, BagOfModels)
    with LongAudio(song) as audio:
        mix = np.concatenate(list(audio.stereo(44100)))
        mean, std = separation._statistics(audio, 44100)
    wav = torch.from_numpy(mix).t()
    reference = wav.mean(0)
    assert mean == pytest.approx(float(reference.mean()), abs=1e-6)
    assert std == pytest.approx(float(reference.std()), rel=1e-5)
    wanted = apply_model(model, ((wav - mean) / std)[None], shifts=0)[0]
    for block in (1000, len(mix)):
        blocks = [mix[start : start + block] for start in range(0, len(mix), block)]
        heard = torch.cat(list(demucs.stems(model, blocks, mean, std, torch.device("cpu"))), dim=-1)
        assert heard.shape == wanted.shape
        torch.testing.assert_close(heard, wanted, atol=1e-4, rtol=1e-4)


def test_drums_and_the_sum_of_the_others_come_out(repo: Path, song: Path) -> None:
    separator = Separator("htdemucs", repo)
    model = load_demucs("htdemucs", repo)
    with LongAudio(song) as audio:
        drums, drumless = separator.separate(audio)
        assert len(drums) == len(drumless) == len(audio.samples(32000)) == 41_601
        wav = torch.from_numpy(np.concatenate(list(audio.stereo(44100)))).t()
        mean, std = wav.mean(), wav.mean(0).std()
        stems = apply_model(model, ((wav - mean) / std)[None], shifts=0)[0].mean(1) * std
        for found, wanted in ((drums, stems[0]), (drumless, stems[1:].sum(0) + mean)):
            whole = resample(wanted[None], 44100, 32000)[0][:41_400].numpy()
            np.testing.assert_allclose(found[:41_400], whole, atol=1e-4)


@pytest.mark.parametrize(("seconds", "rate"), [(0.003, 44100), (0.1, 7000), (0.51, 22050)])
def test_any_length_is_kept_to_the_sample(repo: Path, tmp_path: Path, seconds: float, rate: int) -> None:
    path = tmp_path / "short.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).normal(size=round(seconds * rate)), rate)
    for name in ("htdemucs", "hpss"):
        with LongAudio(path) as audio:
            drums, drumless = Separator(name, repo).separate(audio)
            assert len(drums) == len(drumless) == len(audio.samples(32000))
            assert np.isfinite(drums[:]).all()


def test_hpss_splits_the_mix_in_windows_as_in_one(song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wav = read_audio(song)[0].numpy()
    monkeypatch.setattr(separation, "_HPSS_WINDOW", 512 * 17)
    with LongAudio(song) as audio:
        drums, drumless = Separator("hpss").separate(audio)
        np.testing.assert_allclose(drums[:] + drumless[:], wav, atol=1e-6)
        np.testing.assert_allclose(drums[:], librosa.effects.percussive(wav), atol=1e-5)
        assert np.square(drums[:8000]).sum() > 0.5 * np.square(wav[:8000] - wav[:8000].mean()).sum()  # the click
        assert np.square(drumless[4000:8000]).sum() > 10 * np.square(drums[4000:8000]).sum()  # the chord behind it


def test_stems_on_disk_are_those_in_memory(repo: Path, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    separator = Separator("htdemucs", repo)
    with LongAudio(song) as audio:
        expected = [stem[:] for stem in separator.separate(audio)]
    monkeypatch.setattr(long_audio, "MEMORY_SECONDS", 0.5)
    with LongAudio(song, tmp_path / "scratch") as audio:
        for stem, wanted in zip(separator.separate(audio), expected, strict=True):
            assert isinstance(stem, long_audio.OnDisk)
            np.testing.assert_array_equal(stem[:], wanted)


def test_the_fingerprint_is_of_the_weights(repo: Path, tmp_path: Path) -> None:
    mark = Separator("htdemucs", repo).fingerprint
    assert mark.startswith("htdemucs-")
    save(tmp_path, SIGNATURE, tiny_file())
    assert Separator("htdemucs", tmp_path).fingerprint == mark
    assert Separator("abcd1234", repo).fingerprint.partition("-")[2] != mark.partition("-")[2]
    assert Separator("hpss").fingerprint == "hpss"


def test_caches_are_looked_at_before_the_network(no_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("requests.get", lambda *_, **__: pytest.fail("the network was asked"))
    save(no_caches, SIGNATURE, tiny_file())
    assert load_demucs("htdemucs").sources == TINY["sources"]


def test_weights_are_fetched_once_and_checked(no_caches: Path, published: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(published.folder, SIGNATURE, tiny_file())
    monkeypatch.setattr(demucs, "_urls", lambda: {SIGNATURE: f"{published.url}/{file.name}"})
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(UserError, match="is not the file of that name: its sha256"):
        load_demucs("htdemucs")
    assert not list(no_caches.iterdir())
    file.write_bytes(content)
    for _ in range(2):
        load_demucs("htdemucs")
    assert published.asked == [f"/{file.name}"] * 2


def test_without_weights_one_sentence_says_what_to_do(no_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(address: str, **_: Any) -> None:
        asked.append(address)
        raise requests.ConnectionError("Name or service not known")

    monkeypatch.setattr(requests, "get", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    began = time.monotonic()
    with pytest.raises(UserError) as error:
        Separator("hdemucs_mmi")
    assert time.monotonic() - began < 5
    assert len(asked) == 1
    for word in ("75fc33f5-1941ce65.th", str(no_caches), "Name or service not known", "https://dl.fbaipublicfiles.com", "--demucs-repo"):
        assert word in str(error.value)


def test_wrong_names_and_files_are_named(repo: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model 'demux': known are .*htdemucs.*hpss"):
        Separator("demux")
    with pytest.raises(UserError, match=r"75fc33f5-1941ce65\.th is missing there"):
        Separator("hdemucs_mmi", repo)
    with pytest.raises(UserError, match="is not a folder"):
        Separator("htdemucs", tmp_path / "nowhere")
    content = bytearray(tiny_file())
    path = save(tmp_path, SIGNATURE, bytes(content))
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"does not hold a model of Demucs: Invalid checksum"):
        Separator("htdemucs", tmp_path)
    path.unlink()
    (tmp_path / f"{SIGNATURE}.th").write_text("no weights")
    with pytest.raises(UserError, match="does not hold a model of Demucs"):
        Separator("htdemucs", tmp_path)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def test_a_pickle_may_hold_what_published_ones_do_and_nothing_that_runs(tmp_path: Path) -> None:
    """Names in htdemucs as published: OrderedDict, HTDemucs, Fraction, and NumPy's numbers in the options of its training."""
    for more, reason in (({"lr": np.float64(3e-4), "seed": np.int64(42)}, None), ({"lr": Bomb(tmp_path / "mark")}, "mkdir")):
        torch.manual_seed(0)
        package = {"klass": HTDemucs, "args": (), "kwargs": dict(TINY), "state": HTDemucs(**TINY).state_dict(), "training_args": more}
        torch.save(package, tmp_path / f"{SIGNATURE}.th")
        if reason is None:
            assert load_demucs("htdemucs", tmp_path).sources == TINY["sources"]
        else:
            with pytest.raises(UserError, match="does not hold a model of Demucs"):
                load_demucs("htdemucs", tmp_path)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("where", ["klass", "structure"])
def test_a_safetensors_file_names_no_class_that_is_not_demucs_own(tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    note = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": json.dumps({"sources": TINY["sources"]})}
    note |= {"klass": "os.mkdir", "args": json.dumps([str(tmp_path / "mark")]), "kwargs": "{}"} if where == "klass" else {}
    note |= {"structure": json.dumps({"_list": [{"_class": "os.mkdir"}]})} if where == "structure" else {}
    save_file({"weight": torch.zeros(2)}, tmp_path / "some.safetensors", note)
    monkeypatch.setattr(demucs, "try_to_load_from_cache", lambda *_: str(tmp_path / "some.safetensors"))
    with pytest.raises(UserError, match=r"it names the class 'os\.mkdir'"):
        load_demucs("htdemucs")
    assert not (tmp_path / "mark").exists()
