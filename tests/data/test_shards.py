from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import pytest
import torch

from jasco_pl.cli import main
from jasco_pl.data.schema import FIELDS, Sample
from jasco_pl.data.shards import CorruptShardError, ShardReader, finished, write_index, write_shard
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
        ("{", "not JSON"),
        ("[]", "not an index"),
        ('{"format": "jasco-pl-shards/1"}', "lacks 'codec'"),
        ('{"format": "jasco-pl-shards/1", "codec": {}, "shards": [{"file": "a"}]}', "lacks 'bytes'"),
        ('{"format": "jasco-pl-shards/1", "codec": {}, "shards": []}', "no samples"),
    ],
)
def test_an_index_that_is_none_is_one_sentence(tmp_path, content, words):
    if content is not None:
        (tmp_path / "index.json").write_text(content)
    with pytest.raises(UserError, match=words) as caught:
        ShardReader(tmp_path)
    assert str(tmp_path) in str(caught.value)


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
    write_index(tmp_path, {"frame_rate": 50.0}, ["shard-00000"])
    assert len(ShardReader(tmp_path)) == 1
