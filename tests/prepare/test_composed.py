from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from jasco_pl.audio.long_audio import bandpass
from jasco_pl.cli import main
from jasco_pl.codec import BandCodec, load_codec
from jasco_pl.data.crops import CropDataset, crop
from jasco_pl.data.schema import FIELDS, STAGES, Sample
from jasco_pl.data.shards import ShardReader
from jasco_pl.data.summary import field_counts
from jasco_pl.extract import chordino
from jasco_pl.extract.stage import Field, Piece, Stage
from jasco_pl.notation import harmony
from jasco_pl.notation.melody import melody_frames
from jasco_pl.prepare.composed import build_shards, encode_piece, usable_stages
from jasco_pl.prepare.config import PrepareConfig
from jasco_pl.prepare.jobs import Stages
from jasco_pl.system.errors import UserError

RATE = 32000


def write_piece(folder: Path, number: int, seconds: float = 1.5) -> Path:
    """A chord of sines and a noise burst a half second, as `jasco compose` lays pieces out."""
    draw = np.random.default_rng(number)
    time_ = np.arange(round(seconds * RATE)) / RATE
    drumless = sum(0.1 * np.sin(2 * np.pi * pitch * time_) for pitch in (220.0, 277.2 + number, 329.6))
    drums = 0.3 * draw.standard_normal(len(time_)) * np.exp(-20 * (time_ % 0.5))
    folder.mkdir(parents=True, exist_ok=True)
    for stem, samples in (("mix", drumless + drums), ("drums", drums), ("drumless", drumless)):
        soundfile.write(folder / f"piece-{number:03d}.{stem}.flac", samples, RATE, subtype="PCM_16")
    note = {
        "id": f"piece-{number:03d}",
        "chords": [["A", 0.0], ["Dm7", 0.75]],
        "melody": [[69, 0.1, 0.5], [71, 0.5, 0.9]],
        "beats": [[0.0, 1], [0.5, 2], [1.0, 1]],
        "captions": [f"piece {number}", "a sine and noise"],
    }
    path = folder / f"piece-{number:03d}.json"
    path.write_text(json.dumps(note))
    return path


@pytest.fixture
def pieces(tmp_path):
    for number in range(5):
        write_piece(tmp_path / "pieces", number)
    return tmp_path / "pieces"


def encoded(path: Path, codec: Path) -> Sample:
    return encode_piece(path, Stages(PrepareConfig(codec=str(codec))), usable_stages())


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_sections_of_a_piece_are_stored_from_their_first_frame(pieces, tmp_path, tiny_codec_folder):
    path = pieces / "piece-001.json"
    note = json.loads(path.read_text())
    parts = [
        {"start": 0.0, "name": "A", "captions": ["piano"]},
        {"start": 0.51, "captions": ["full band", "all"]},
        {"start": 9, "captions": []},
    ]
    path.write_text(json.dumps({**note, "sections": parts}))
    assert encoded(path, tiny_codec_folder).sections == [(0, ["piano"]), (26, ["full band", "all"])]  # the last begins after the end
    assert encoded(pieces / "piece-002.json", tiny_codec_folder).sections == []
    build_shards(pieces, tmp_path / "shards", str(tiny_codec_folder))
    assert ShardReader(tmp_path / "shards").read(1).sections == [(0, ["piano"]), (26, ["full band", "all"])]
    for broken, sentence in (
        ([{"captions": []}], "'piece-001' cannot be read.*'start'"),
        (parts[::-1], "'piece-001' do not begin one after"),
    ):
        path.write_text(json.dumps({**note, "sections": broken}))
        with pytest.raises(UserError, match=sentence):
            encoded(path, tiny_codec_folder)


def test_the_drum_band_is_kept_and_the_rest_is_not():
    time_ = torch.arange(RATE) / RATE
    for frequency, least, most in ((400.0, -1.0, 0.5), (80.0, -100.0, -25.0), (2000.0, -100.0, -25.0)):
        tone = torch.sin(2 * torch.pi * frequency * time_)[None]
        filtered = bandpass(tone, RATE)
        assert filtered.shape == tone.shape
        assert filtered.dtype == torch.float32
        gain = 20 * torch.log10(filtered[:, RATE // 2 :].square().mean().sqrt() / tone.square().mean().sqrt())
        assert least < gain < most, frequency


def test_a_note_holds_from_its_first_frame_to_the_one_before_its_end():
    """A change at time s holds from the first frame k with k / 50 >= s."""
    bins = melody_frames([[43, 0.02, 0.06], [95, 0.061, 0.1], [42, 0.0, 1.0], [96, 0.0, 1.0], [60, 0.18, 9.0]], 12, 50.0)
    assert bins.dtype == np.int8
    assert bins.tolist() == [-1, 0, 0, -1, 52, -1, -1, -1, -1, 17, 17, 17]


def test_a_piece_becomes_all_fields_of_one_length(pieces, tiny_codec_folder):
    codec = load_codec(tiny_codec_folder)
    sample = encoded(pieces / "piece-002.json", tiny_codec_folder)
    sample.check()
    assert sample.id == "piece-002"
    assert sample.frames == 75
    assert set(sample.tensors) >= set(FIELDS) - {"chords_heard"}
    assert harmony.LABELS[sample.tensors["chords"][0]] == "A"
    assert harmony.LABELS[sample.tensors["chords"][37]] == "A"
    assert harmony.LABELS[sample.tensors["chords"][38]] == "Dm7"  # 0.76 s is the first frame at or after 0.75 s
    assert sample.tensors["melody"][5] == 69 - 43
    mix, _ = soundfile.read(pieces / "piece-002.mix.flac", dtype="float32")
    with torch.inference_mode():
        latents = codec.encode(torch.from_numpy(mix)[None, None])
    assert torch.equal(sample.tensors["latents"], latents[0].half())
    assert torch.equal(sample.tensors["codes_mix"], codec.codes(latents)[0].short())
    assert not torch.equal(sample.tensors["codes_drums"], sample.tensors["codes_drums_bandpass"])


def test_without_the_chord_recogniser_the_exact_chords_are_stored_alone(pieces, tiny_codec_folder, monkeypatch, capsys):
    monkeypatch.setattr(chordino, "available", lambda: False)
    assert set(encoded(pieces / "piece-000.json", tiny_codec_folder).tensors) == set(FIELDS) - {"chords_heard"}
    assert "left out: chords_heard, for chord recognition needs the Chordino plugin" in capsys.readouterr().err


@pytest.mark.skipif(not chordino.available(), reason="the Chordino plugin is not installed")
def test_a_field_that_could_not_be_had_is_added_later(pieces, tiny_codec_folder, tmp_path, monkeypatch, capsys):
    """And nothing else is made again."""
    build_shards(pieces, tmp_path / "at once", str(tiny_codec_folder), pieces_per_shard=2)
    with monkeypatch.context() as patch:
        patch.setattr(chordino, "available", lambda: False)
        build_shards(pieces, tmp_path / "later", str(tiny_codec_folder), pieces_per_shard=2)
    command = f"`jasco shards build --pieces DIR --out DIR --codec {tiny_codec_folder}` adds it"
    with pytest.raises(UserError, match=f"lack the field 'chords_heard'.*{re.escape(command)}"):
        CropDataset(tmp_path / "later", 50, 0, ["latents", "chords"], {"chords": ("chords_heard", 0.5)})
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr("jasco_pl.extract.latents.Latents.of_piece", lambda *_: pytest.fail("it is there"))
        build_shards(pieces, tmp_path / "later", str(tiny_codec_folder), pieces_per_shard=2)
    said = capsys.readouterr().err
    assert f"added: chords_heard, without which shards in {tmp_path / 'later'} were made" in said
    assert content(tmp_path / "later") == content(tmp_path / "at once")
    CropDataset(tmp_path / "later", 50, 0, ["latents", "chords"], {"chords": ("chords_heard", 0.5)})
    build_shards(pieces, tmp_path / "later", str(tiny_codec_folder), pieces_per_shard=2)
    assert "added" not in capsys.readouterr().err


class Accents(Stage):
    """What a new control would bring: accent and strong accent of composed pieces, 0.25 for nothing said."""

    name = "accents"
    fields = (Field("accents", torch.float32, 0.25),)
    annotations = ("accents",)

    def of_piece(self, piece: Piece) -> dict[str, torch.Tensor]:
        out = torch.zeros(piece.frames, 2)
        for time_, number in piece.note["accents"]:
            out[harmony.first_frame(time_, self.codec.frame_rate)] = torch.tensor([1.0, float(number == 1)])
        return {"accents": out}


@pytest.fixture
def accents(monkeypatch):
    """`Accents` in the registry, as one line would put it there."""
    monkeypatch.setitem(STAGES, Accents.name, Accents)
    monkeypatch.setitem(FIELDS, "accents", Accents.fields[0])


def test_one_stage_is_all_that_a_new_field_takes(pieces, tiny_codec_folder, tmp_path, accents, capsys):
    """It comes into shards that are there, is padded, checked, shown; pieces whose description lacks it go without."""
    out = tmp_path / "out"
    build_shards(pieces, out, str(tiny_codec_folder), pieces_per_shard=3)
    assert "left out: accents of 5 pieces, whose descriptions lack accents" in capsys.readouterr().err
    assert not any("accents" in entry["crc32"] for entry in ShardReader(out).entries)
    for number in range(3):
        path = pieces / f"piece-{number:03d}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "accents": [[0.0, 1], [0.5, 2], [1.0, 3]]}))
    kept = content(out)["shard-00001.safetensors"]
    build_shards(pieces, out, str(tiny_codec_folder), pieces_per_shard=3)
    said = capsys.readouterr().err
    assert "added: accents" in said
    assert "accents of 2 pieces" in said
    assert content(out)["shard-00001.safetensors"] == kept
    reader = ShardReader(out)
    assert ["accents" in entry["crc32"] for entry in reader.entries] == [True] * 3 + [False] * 2
    assert all(error is None for _, error in reader.verify())
    assert reader.read(0).tensors["accents"][[0, 24, 25, 50]].tolist() == [[1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0]]
    padded = crop(reader.read(0), 70, 10)
    assert padded["accents"][:5].eq(0).all()
    assert padded["accents"][5:].eq(0.25).all()
    assert field_counts(reader)["accents"] == 3
    with pytest.raises(UserError, match=r"lack the field 'accents': sample 'piece-003' .*`jasco shards build "):
        CropDataset(out, 50, 0, ["latents", "accents"])


def test_a_damaged_shard_that_lacks_a_field_is_made_anew(pieces, tiny_codec_folder, tmp_path, accents, capsys):
    out, path = tmp_path / "out", pieces / "piece-000.json"
    build_shards(pieces, out, str(tiny_codec_folder))
    whole = content(out)["shard-00000.safetensors"]
    (out / "shard-00000.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    path.write_text(json.dumps({**json.loads(path.read_text()), "accents": [[0.0, 1]]}))
    build_shards(pieces, out, str(tiny_codec_folder))
    assert "fails its checksum. It is made anew." in capsys.readouterr().err
    assert all(error is None for _, error in ShardReader(out).verify())


def killed_in_the_second_shard(pieces: Path, out: Path, codec: Path) -> None:
    """SIGKILL while half of the second shard is in the file."""
    from jasco_pl.data import shards

    save = shards.save_file

    def save_half(tensors: dict[str, torch.Tensor], path: Path) -> None:
        save(tensors, path)
        if (out / "shard-00000.json").exists():
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    shards.save_file = save_half  # type: ignore[assignment]
    build_shards(pieces, out, str(codec), pieces_per_shard=2)


def test_a_build_that_was_killed_goes_on_to_the_same_bytes(pieces, tiny_codec_folder, tmp_path):
    build_shards(pieces, tmp_path / "whole", str(tiny_codec_folder), pieces_per_shard=2)
    process = multiprocessing.get_context("fork").Process(
        target=killed_in_the_second_shard, args=(pieces, tmp_path / "killed", tiny_codec_folder)
    )
    process.start()
    process.join(100)
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "index.json").exists()
    finished = (tmp_path / "killed" / "shard-00000.safetensors").stat().st_mtime_ns
    build_shards(pieces, tmp_path / "killed", str(tiny_codec_folder), pieces_per_shard=2)
    assert (tmp_path / "killed" / "shard-00000.safetensors").stat().st_mtime_ns == finished  # kept, not made again
    assert content(tmp_path / "killed") == content(tmp_path / "whole")  # and the half-written file is gone
    assert len(ShardReader(tmp_path / "whole")) == 5


def test_a_grown_set_and_a_refitted_codec_are_noticed(pieces, tiny_codec_folder, tmp_path):
    out, codec_folder = tmp_path / "out", tmp_path / "codec"
    codec = BandCodec.from_pretrained(tiny_codec_folder)
    codec.save_pretrained(codec_folder)
    build_shards(pieces, out, str(codec_folder), pieces_per_shard=2)
    first = content(out)
    write_piece(pieces, 5)  # fills the last shard
    write_piece(pieces, 6)
    build_shards(pieces, out, str(codec_folder), pieces_per_shard=2)
    assert [entry["id"] for entry in ShardReader(out).entries] == [f"piece-{number:03d}" for number in range(7)]
    assert content(out)["shard-00001.safetensors"] == first["shard-00001.safetensors"]

    codec.latent_mean += 1.0
    codec.save_pretrained(codec_folder)
    build_shards(pieces, out, str(codec_folder), pieces_per_shard=4)
    reader = ShardReader(out)
    assert [entry["id"] for entry in reader.entries] == [f"piece-{number:03d}" for number in range(7)]
    assert set(reader.files) == {"shard-00000.safetensors", "shard-00001.safetensors"}
    assert reader.codec["mean"] == codec.latent_mean.tolist()
    assert all(error is None for _, error in reader.verify())


def test_pieces_composed_anew_under_the_same_names_are_encoded_anew(pieces, tiny_codec_folder, tmp_path):
    build_shards(pieces, tmp_path / "out", str(tiny_codec_folder), pieces_per_shard=2)
    first = content(tmp_path / "out")
    path = pieces / "piece-002.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "captions": ["by another band"]}))
    build_shards(pieces, tmp_path / "out", str(tiny_codec_folder), pieces_per_shard=2)
    assert next(entry for entry in ShardReader(tmp_path / "out").entries if entry["id"] == "piece-002")["captions"] == ["by another band"]
    assert content(tmp_path / "out")["shard-00000.safetensors"] == first["shard-00000.safetensors"]


def test_the_command_says_what_it_made(pieces, tiny_codec_folder, tmp_path, capsys):
    assert main(["shards", "build", "--pieces", str(pieces), "--out", str(tmp_path / "out"), "--codec", str(tiny_codec_folder)]) == 0
    assert "5 samples in 1 shards" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["stem", "text", "keys", "samples"])
def test_a_damaged_piece_is_named(pieces, tiny_codec_folder, tmp_path, damage):
    path = pieces / "piece-001.json"
    if damage == "stem":
        path = pieces / "piece-001.drums.flac"
        path.unlink()
    elif damage == "text":
        path.write_text("no JSON")
    elif damage == "keys":
        path.write_text('{"id": "piece-001", "chords": []}')
    else:
        path = pieces / "piece-001.mix.flac"
        path.write_text("no audio")
    with pytest.raises(UserError, match=path.name.replace(".", r"\.")) as caught:
        build_shards(pieces, tmp_path / "out", str(tiny_codec_folder))
    assert "\n" not in str(caught.value)
    assert not any((tmp_path / "out").glob("*"))


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_workers_change_no_byte_and_end_with_a_killed_parent(tiny_codec_folder, tmp_path):
    pieces, codec = tmp_path / "pieces", str(tiny_codec_folder)
    for number in range(40):
        write_piece(pieces, number, seconds=3.0)
    build_shards(pieces, tmp_path / "alone", codec, pieces_per_shard=1)
    command = [sys.executable, "-m", "jasco_pl.cli", "shards", "build", "--pieces", str(pieces), "--out", str(tmp_path / "shared")]
    command += ["--codec", codec, "--workers", "2", "--pieces-per-shard", "1"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not (tmp_path / "shared" / "shard-00003.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    workers = children(process.pid)
    process.kill()
    process.wait()
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.1)
    assert len(workers) >= 2
    assert not (tmp_path / "shared" / "index.json").exists()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    assert content(tmp_path / "shared") == content(tmp_path / "alone")
