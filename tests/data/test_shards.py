from __future__ import annotations

import json
import os
import pickle
import re
import resource
import struct
from pathlib import Path

import pytest
import torch

from jasco_pl.cli import main
from jasco_pl.data import shards
from jasco_pl.data.columns import Columns, Source
from jasco_pl.data.schema import FIELDS, Sample
from jasco_pl.data.shards import CorruptShardError, ShardReader, finished, read_side, write_index, write_shard
from jasco_pl.system.errors import UserError


@pytest.fixture
def prepared(tmp_path, write_tiny_shards):
    folder = tmp_path / "train"
    return folder, write_tiny_shards(folder)


def tensor_offset(path: Path, name: str) -> int:
    """Where a tensor's bytes begin in a safetensors file."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    return 8 + length + json.loads(data[8 : 8 + length])[name]["data_offsets"][0]


def flip(path: Path, offset: int, bits: int = 3) -> None:
    data = bytearray(path.read_bytes())
    for bit in range(bits):
        data[offset + bit] ^= 1 << bit
    path.write_bytes(data)


def test_what_is_written_is_read_back(prepared):
    folder, samples = prepared
    reader = ShardReader(folder)
    assert len(reader) == len(samples) == 20
    for position, expected in enumerate(samples):
        sample = reader.read(position)
        assert (sample.id, sample.captions, sample.frames) == (expected.id, expected.captions, expected.frames)
        assert set(sample.tensors) == set(FIELDS)
        for name, tensor in expected.tensors.items():
            assert sample.tensors[name].dtype == tensor.dtype
            assert torch.equal(sample.tensors[name], tensor)


def test_sections_are_read_back_and_checked(tmp_path, write_tiny_shards):
    samples = write_tiny_shards(tmp_path / "train", sections=True)
    reader = ShardReader(tmp_path / "train")
    assert [reader.read(position).sections for position in range(20)] == [sample.sections for sample in samples]
    assert ["sections" in entry for entry in reader.entries] == [bool(number % 4) for number in range(20)]
    for sections in ([(0, []), (0, [])], [(5, []), (3, [])], [(-1, [])], [(samples[0].frames, [])]):
        with pytest.raises(ValueError, match="sections do not begin one after another within its 60 frames"):
            Sample("a", samples[0].tensors, [], sections).check()


def test_only_the_fields_that_are_asked_for_are_read(prepared):
    sample = ShardReader(prepared[0]).read(3, ["latents", "melody"])
    assert set(sample.tensors) == {"latents", "melody"}


def test_no_more_shards_are_kept_open_than_there_are_descriptors_for(tmp_path, write_tiny_shards, monkeypatch):
    monkeypatch.setattr(shards, "_KEPT_OPEN", 2)
    samples = write_tiny_shards(tmp_path / "set")
    names = []
    for number, sample in enumerate(samples[:6]):
        write_shard(tmp_path / "many", f"shard-{number}", [sample])
        names.append(f"shard-{number}")
    write_index(tmp_path / "many", ShardReader(tmp_path / "set").codec, names)
    reader, before = ShardReader(tmp_path / "many"), len(os.listdir("/proc/self/fd"))
    for position in (0, 1, 2, 3, 4, 5, 4, 0):
        assert torch.equal(reader.read(position).tensors["latents"], samples[position].tensors["latents"])
        assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_a_shard_that_there_is_no_descriptor_for_is_not_called_damaged(prepared):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reader, free = ShardReader(prepared[0]), os.dup(0)
    os.close(free)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        with pytest.raises(UserError, match="cannot be opened") as raised:
            reader.read(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not isinstance(raised.value, CorruptShardError)
    assert reader.read(0).tensors


def test_a_reader_travels_to_a_worker_process_after_use(prepared):
    reader = ShardReader(prepared[0])
    before = reader.read(11)
    after = pickle.loads(pickle.dumps(reader)).read(11)
    assert torch.equal(before.tensors["latents"], after.tensors["latents"])


def test_three_flipped_bits_are_named_by_file_sample_and_field(prepared):
    folder, samples = prepared
    path = folder / "shard-00001.safetensors"
    flip(path, tensor_offset(path, "train-009/chords"))
    reader = ShardReader(folder)
    with pytest.raises(CorruptShardError, match=r"shard-00001\.safetensors.*'train-009'.*'chords'"):
        reader.read(9)
    assert torch.equal(reader.read(9, ["latents"]).tensors["latents"], samples[9].tensors["latents"])  # only what is damaged is refused
    assert reader.read(8).id == "train-008"


def test_a_damaged_header_is_an_error_of_that_file(prepared):
    folder, _ = prepared
    flip(folder / "shard-00000.safetensors", 5)  # the header's length
    with pytest.raises(CorruptShardError, match=r"shard-00000\.safetensors"):
        ShardReader(folder).read(0)


def test_truncated_and_missing_shards_are_noticed_at_opening(prepared):
    folder, _ = prepared
    path = folder / "shard-00002.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(CorruptShardError, match=rf"shard-00002\.safetensors' has {len(whole) - 10} bytes.*{len(whole)}"):
        ShardReader(folder)
    path.unlink()
    with pytest.raises(CorruptShardError, match=r"shard-00002\.safetensors' is missing"):
        ShardReader(folder)


def test_verify_lists_all_damage_and_exits_with_1(prepared, capsys):
    folder, _ = prepared
    assert main(["shards", "verify", str(folder)]) == 0
    assert "20 of 20 samples are sound" in capsys.readouterr().out
    side = folder / "shard-00001.json"
    flip(side, side.stat().st_size // 2)
    assert main(["shards", "verify", str(folder)]) == 1
    told = capsys.readouterr()
    assert "20 of 20 samples are sound, 1 of the files beside shards are not." in told.out
    assert "shard-00001.json' " in told.err
    path = folder / "shard-00000.safetensors"
    flip(path, tensor_offset(path, "train-002/melody"))
    flip(path, tensor_offset(path, "train-005/latents") + 100)
    truncated = folder / "shard-00001.safetensors"
    truncated.write_bytes(truncated.read_bytes()[:-1])
    (folder / "shard-00002.safetensors").unlink()
    assert main(["shards", "verify", str(folder)]) == 1
    out = capsys.readouterr().out
    for words in (("train-002", "melody"), ("train-005", "latents"), ("shard-00001", "bytes"), ("shard-00002", "missing")):
        assert any(all(word in line for word in words) for line in out.splitlines()), words
    assert "6 of 20 samples are sound" in out


def test_info_says_what_is_there(prepared, capsys):
    assert main(["shards", "info", str(prepared[0])]) == 0
    out = capsys.readouterr().out
    for words in ("samples   20", "shards    3", "codec-tiny", "chords_heard", "captions  60"):
        assert words in out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no prepared data"),
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[" * 100_000, "expected 'object', got 'array'"),
        (b"\xff\xfe{}", "codec can't decode"),
        ("null", "expected 'object', got 'null'"),
        ("[]", "expected 'object', got 'array'"),
        ({"codec": ...}, "missing required field 'codec'"),
        ({"format": "jasco-pl-shards/9"}, "its format is 'jasco-pl-shards/9'"),
        ({"format": None}, "expected 'str', got 'null' at 'format'"),
        ({"crc32": None}, "expected 'str', got 'null' at 'crc32'"),
        ({"more": 1}, "unknown field 'more'"),
        ({"codec": {}}, "missing required field 'name' at 'codec'"),
        ({"codec.frame_rate": 0}, "> 0.0 at 'codec.frame_rate'"),
        ({"codec.frame_rate": "50"}, "expected 'float', got 'str'"),
        ({"codec.frame_rate": float("nan")}, "codec.frame_rate"),
        ({"codec.dim": 2.5}, "expected 'int', got 'float' at 'codec.dim'"),
        ({"codec.mean": [None]}, "expected 'float', got 'null' at 'codec.mean"),
        ({"shards": {}}, "expected 'array', got 'object' at 'shards'"),
        ({"shards": []}, "no samples"),
        ({"shards.0": []}, "expected 'object', got 'array' at 'shards"),
        ({"shards.0.file": 3}, "expected 'str', got 'int'"),
        ({"shards.0.bytes": -1}, ">= 0"),
        ({"shards.0.bytes": 10**30}, "bytes"),
        ({"shards.0.bytes": True}, "expected 'int', got 'bool'"),
        ({"shards.0.samples": None}, "expected 'array', got 'null'"),
        ({"shards.0.samples.0.frames": 2**31}, "< 2147483648|<= 2147483647"),
        ({"shards.0.samples.0.captions": "one"}, "expected 'array', got 'str'"),
        ({"shards.0.samples.0.captions": [["one"]]}, "expected 'str', got 'array'"),
        ({"shards.0.samples.0.crc32": []}, "expected 'object', got 'array'"),
        ({"shards.0.samples.0.crc32": {}}, "no checksum of its latents"),
        ({"shards.0.samples.0.crc32.latents": None}, "expected 'int', got 'null'"),
        ({"shards.0.samples.0.crc32.latents": 2**32}, "4294967295"),
        ({"shards.0.samples.1.id": "train-000"}, "'train-000' is listed twice"),
        ({"shards.1.samples.0.id": "train-000"}, "'train-000' is listed twice"),
        ({"shards.1.file": "shard-00000.safetensors"}, "'shard-00000.safetensors' is listed twice"),
        *[
            ({"shards.0.file": name}, "is not the bare name of a shard")
            for name in ("../shard-00000.safetensors", "/tmp/x.safetensors", "a/b.safetensors", "a\\b.safetensors", "index.json", "..", "")
        ],
    ],
)
def test_an_index_that_is_none_is_one_sentence(tmp_path, write_tiny_shards, content, words):
    """Texts, and what becomes of a true index (of a former version, without a checksum) when one of its entries is another."""
    if isinstance(content, dict):
        write_tiny_shards(tmp_path / "train")
        index = {key: value for key, value in json.loads((tmp_path / "train" / "index.json").read_text()).items() if key != "crc32"}
        (((place, value),)) = content.items()
        *parents, last = (int(part) if part.isdecimal() else part for part in place.split("."))
        inner = index
        for part in parents:
            inner = inner[part]
        inner[last] = value
        if value is ...:
            del inner[last]
        content = json.dumps(index)
    (tmp_path / "train").mkdir(exist_ok=True)
    if content is not None:
        (tmp_path / "train" / "index.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=words) as caught:
        ShardReader(tmp_path / "train")
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def sample_with(**tensors: torch.Tensor) -> Sample:
    return Sample("one", {"latents": torch.zeros(5, 128, dtype=torch.float16), **tensors}, ["a caption"])


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (Sample("one", {"chords": torch.zeros(5, dtype=torch.int16)}, []), "lacks the field 'latents'"),
        (sample_with(chords=torch.zeros(5)), "'chords': torch.float32 where torch.int16"),
        (sample_with(chords=torch.zeros(4, dtype=torch.int16)), "'chords': 4 frames, its latents have 5"),
        (sample_with(tempo=torch.zeros(5)), "'tempo'"),
    ],
)
def test_a_sample_that_breaks_the_schema_is_not_written(tmp_path, sample, words):
    with pytest.raises(ValueError, match=words):
        write_shard(tmp_path, "shard-00000", [sample])
    assert list(tmp_path.iterdir()) == []


def test_two_samples_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'one'"):
        write_shard(tmp_path, "shard-00000", [sample_with(), sample_with()])


def test_a_shard_counts_as_finished_only_with_its_samples_its_codec_and_its_size(tmp_path):
    assert not finished(tmp_path, "shard-00000", ["one"], codec=7)
    write_shard(tmp_path, "shard-00000", [sample_with()], codec=7)
    assert finished(tmp_path, "shard-00000", ["one"], codec=7)
    assert not finished(tmp_path, "shard-00000", ["one", "two"], codec=7)
    assert not finished(tmp_path, "shard-00000", ["one"], codec=8)
    path = tmp_path / "shard-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert not finished(tmp_path, "shard-00000", ["one"], codec=7)


def test_shards_of_former_runs_stay_out_of_the_index(tmp_path):
    for name in ("shard-00000", "shard-00001"):
        write_shard(tmp_path, name, [sample_with()])
    write_index(tmp_path, {"name": "none", "frame_rate": 50.0, "dim": 128}, ["shard-00000"])
    assert len(ShardReader(tmp_path)) == 1


@pytest.mark.parametrize("size", [0, 5, 5000, 100_000])
def test_a_shard_that_is_truncated_in_place_while_it_is_read_is_an_error(prepared, size):
    """Mapped into memory, it would end the process (SIGBUS); the columns of a small index are not mapped either."""
    folder, _ = prepared
    reader = ShardReader(folder)
    reader.read(0)
    with open(folder / "shard-00000.safetensors", "r+b") as file:
        file.truncate(size)
    with open(folder / "index.columns", "r+b") as file:
        file.truncate(0)
    outcomes = []
    for position in range(8):
        try:
            outcomes.append(reader.read(position).id)
        except CorruptShardError:
            continue
    assert len(outcomes) < 8
    assert len(list(reader.ids)) == 20


def test_any_flipped_bit_of_an_index_is_noticed(tmp_path, write_tiny_shards, capsys):
    """By whoever opens it without its columns, and by `verify` where these are true and the time of change was kept."""
    write_tiny_shards(tmp_path / "train")
    path, columns = tmp_path / "train" / "index.json", tmp_path / "train" / "index.columns"
    whole, made, state = path.read_bytes(), columns.read_bytes(), path.stat()
    for place in range(0, len(whole), len(whole) // 40):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 7
        path.write_bytes(flipped)
        columns.unlink()
        with pytest.raises(UserError, match=r"index\.json' (fails its checksum|is damaged)"):
            ShardReader(tmp_path / "train")
        columns.write_bytes(made)
        for file in (path, columns):
            os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
        assert len(ShardReader(tmp_path / "train")) == 20  # the columns are whole
        assert main(["shards", "verify", str(tmp_path / "train")]) == 1
        assert "20 of 20 samples are sound, the index is not." in capsys.readouterr().out


@pytest.mark.parametrize("form", ["index.json", "shard-00000.json"])
def test_an_emptied_checksum_is_an_error_and_a_missing_one_a_note(tmp_path, write_tiny_shards, capsys, form):
    write_tiny_shards(tmp_path)
    path = tmp_path / form
    text = path.read_text()
    (tmp_path / "index.columns").unlink()
    read = (lambda: ShardReader(tmp_path)) if form == "index.json" else (lambda: read_side(tmp_path, "shard-00000"))
    assert re.match(r'{\n "crc32": "[0-9a-f]{8}",\n', text)
    path.write_text(re.sub(r'(?<="crc32": ")[0-9a-f]{8}', "", text, count=1))
    with pytest.raises(UserError, match=r"fails its checksum: it is damaged, or was altered by hand.*is to be taken out\.$"):
        read()
    path.write_text(re.sub(r'\n "crc32": "[0-9a-f]{8}",', "", text, count=1))
    read()
    assert main(["shards", "verify", str(tmp_path)]) == 0
    assert ("gave it no checksum" in capsys.readouterr().out) == (form == "index.json")


def test_emptied_checksums_of_fields_do_not_pass_for_none(tmp_path, write_tiny_shards, capsys):
    """Fields whose checksums are gone are read by nobody; bytes that no checksum covers are damage."""
    write_tiny_shards(tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    del index["crc32"]
    for entry in index["shards"][0]["samples"]:
        entry["crc32"] = {"latents": entry["crc32"]["latents"]}
    (tmp_path / "index.json").write_text(json.dumps(index))
    assert main(["shards", "verify", str(tmp_path)]) == 1
    assert "which the index does not list" in capsys.readouterr().out


def test_an_altered_index_of_a_former_version_is_noticed_beside_its_columns(tmp_path, write_tiny_shards, capsys):
    write_tiny_shards(tmp_path)
    path = tmp_path / "index.json"
    path.write_text(re.sub(r'\n "crc32": "[0-9a-f]{8}",', "", path.read_text(), count=1))
    assert len(ShardReader(tmp_path)) == 20  # makes its columns
    state = path.stat()
    path.write_text(path.read_text().replace("song ", "Song "))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert main(["shards", "verify", str(tmp_path)]) == 1
    assert "is not what its columns were made from" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["index.json", "index.columns"])
@pytest.mark.parametrize("command", ["verify", "info", "show", "merge", "split", "push", "fit"])
def test_names_of_files_elsewhere_are_neither_read_nor_written(tmp_path, write_tiny_shards, tiny_training, capsys, form, command):
    """The file that is named is there, and is a true shard."""
    arguments = tiny_training()
    folder = tmp_path / "train"
    (folder / "shard-00000.safetensors").rename(tmp_path / "elsewhere.safetensors")
    index = json.loads((folder / "index.json").read_text())
    index["shards"][0]["file"] = "../elsewhere.safetensors"
    del index["crc32"]
    text = json.dumps(index).encode()
    (folder / "index.json").write_bytes(text)
    Columns.of(index).save(folder / "index.columns", Source.of(text))
    if form == "index.json":
        (folder / "index.columns").unlink()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "index.columns"}
    out, url = str(tmp_path / "out"), f"file://{tmp_path}/store/set"
    more = {"show": ["-o", out], "merge": ["--out", out], "split": ["--out", out], "push": [url]}.get(command, [])
    assert main(["fit", *arguments] if command == "fit" else ["shards", command, str(folder), *more]) == 2
    assert "'../elsewhere.safetensors' is not the bare name of a shard" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "index.columns"} == before
