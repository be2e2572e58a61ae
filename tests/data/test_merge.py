from __future__ import annotations

import errno
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch

from jasco_pl.cli import main
from jasco_pl.data import split as module
from jasco_pl.data.schema import CorruptShardError, Sample
from jasco_pl.data.shards import ShardReader, write_index, write_shard
from jasco_pl.data.split import merge, recording, side, split
from jasco_pl.system.errors import UserError

CODEC = {"name": "codec-tiny", "frame_rate": 50.0, "dim": 128, "mean": [0.0] * 128, "std": [1.0] * 128}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def ids(folder: Path | str) -> list[str]:
    return [entry["id"] for entry in ShardReader(folder).entries]


def write(folder: Path, names: list[str], per_shard: int = 4, codec: int = 7, melody: bool = False, **changes) -> Path:
    """A set of samples of those names with random latents; the same name has the same content everywhere."""
    shards = []
    for start in range(0, len(names), per_shard):
        samples = []
        for name in names[start : start + per_shard]:
            draw = torch.Generator().manual_seed(sum(map(ord, name)))
            tensors = {"latents": torch.randn(12, 128, generator=draw).half()}
            if melody:
                tensors["melody"] = torch.zeros(12, dtype=torch.int8)
            samples.append(Sample(name, tensors, [f"music {name}"]))
        shards.append(f"shard-{start // per_shard:05d}")
        write_shard(folder, shards[-1], samples, codec)
    write_index(folder, {**CODEC, **changes}, shards)
    return folder


@pytest.fixture
def two(tmp_path) -> tuple[Path, Path]:
    """Nine and six samples in shards of four, under the same shard names; the second set has melodies."""
    first = write(tmp_path / "a", [f"a-{number}" for number in range(9)])
    return first, write(tmp_path / "b", [f"b-{number}" for number in range(6)], melody=True)


def test_sections_stay_with_their_samples(tmp_path, write_tiny_shards):
    """Through whole shards that are linked, and through those that are written anew."""
    samples = write_tiny_shards(tmp_path / "parts", sections=True)
    write(tmp_path / "b", ["b-0", samples[1].id])
    merge([tmp_path / "b", tmp_path / "parts"], tmp_path / "all", skip_duplicates=True)
    entries = {entry["id"]: entry.get("sections", []) for entry in ShardReader(tmp_path / "all").entries}
    assert entries.pop("b-0") == entries.pop(samples[1].id) == []
    assert entries == {one.id: [list(section) for section in one.sections] for one in samples if one is not samples[1]}
    split(tmp_path / "parts", tmp_path / "split", valid=0.3, test=0.2)
    found = [entry for part in ("train", "valid", "test") for entry in ShardReader(tmp_path / "split" / part).entries]
    assert {entry["id"]: entry.get("sections", []) for entry in found} == {
        one.id: [list(section) for section in one.sections] for one in samples
    }


def test_a_merged_set_holds_all_samples_in_order_and_no_second_copy(two, tmp_path, capsys):
    first, second = two
    before = content(first) | content(second)
    assert main(["shards", "merge", str(first), str(second), "--out", str(tmp_path / "all")]) == 0
    text = capsys.readouterr().out
    assert "15 samples in 5 shards" in text
    assert "6 of them have the field melody" in text
    assert ids(tmp_path / "all") == ids(first) + ids(second)
    assert all(error is None for _, error in ShardReader(tmp_path / "all").verify())
    assert ShardReader(tmp_path / "all").read(10).captions == ["music b-1"]
    shards = list((tmp_path / "all").glob("*.safetensors"))
    assert len(shards) == 5
    assert all(path.stat().st_nlink == 2 for path in shards)
    assert content(first) | content(second) == before
    merge(two, tmp_path / "copied", copy=True)
    assert content(tmp_path / "copied") == content(tmp_path / "all")
    assert all(path.stat().st_nlink == 1 for path in (tmp_path / "copied").glob("*.safetensors"))


def test_where_files_cannot_be_linked_they_are_copied(two, tmp_path, monkeypatch):
    merge(two, tmp_path / "linked")

    def refuse(source, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    merge(two, tmp_path / "copied")
    assert content(tmp_path / "copied") == content(tmp_path / "linked")
    assert all(path.stat().st_nlink == 1 for path in (tmp_path / "copied").glob("*.safetensors"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"codec": 8}, "fingerprints, 00000007 and 00000008, differ"),
        ({"dim": 64}, "dimensions, 128 and 64, differ"),
        ({"frame_rate": 75.0}, "frame rates, 50 and 75 Hz, differ"),
        ({"mean": [0.5] * 128}, "means of the latents differ"),
        ({"std": [0.5] * 128}, "deviations of the latents differ"),
    ],
)
def test_sets_of_different_codecs_are_refused(two, tmp_path, changes, words):
    other = write(tmp_path / "c", ["c-0"], **changes)
    with pytest.raises(UserError, match=rf"a' and .*c' were made with different codecs: their {words}\.$"):
        merge([*two, other], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_a_set_from_before_fingerprints_goes_by_its_statistics(two, tmp_path):
    old = write(tmp_path / "old", ["old-0"], codec=0)
    merge([old, *two], tmp_path / "all")
    assert len(ids(tmp_path / "all")) == 16
    with pytest.raises(UserError, match="means of the latents differ"):
        merge([two[0], write(tmp_path / "other", ["c-0"], codec=0, mean=[1.0] * 128)], tmp_path / "more")


def test_a_set_of_two_codecs_is_refused(tmp_path):
    folder = write(tmp_path / "a", ["a-0"])
    write_shard(folder, "shard-1", [Sample("a-1", {"latents": torch.zeros(5, 128).half()}, [])], 8)
    write_index(folder, CODEC, ["shard-00000", "shard-1"])
    with pytest.raises(UserError, match="were made with 2 codecs"):
        merge([folder], tmp_path / "all")


def test_the_same_id_twice_is_refused_or_left_out_on_request(two, tmp_path, capsys):
    third = write(tmp_path / "c", ["a-3", "c-0", "b-5", "c-1", "a-0", "a-1"])
    arguments = ["shards", "merge", *map(str, (*two, third)), "--out", str(tmp_path / "all")]
    assert main(arguments) == 2
    assert "both hold a sample 'a-3'; --skip-duplicates" in capsys.readouterr().err
    assert not (tmp_path / "all").exists()
    assert main([*arguments, "--skip-duplicates"]) == 0
    assert "17 samples in 6 shards" in (text := capsys.readouterr().out)
    assert "4 duplicates left out" in text
    assert ids(tmp_path / "all") == [*ids(two[0]), *ids(two[1]), "c-0", "c-1"]
    assert all(error is None for _, error in ShardReader(tmp_path / "all").verify())


def test_a_merge_grows_and_takes_over_nothing_else(two, tmp_path):
    first, second = two
    merge([first], tmp_path / "all")
    kept = {path.name: path.stat().st_ino for path in (tmp_path / "all").glob("*.safetensors")}
    merge([first, second], tmp_path / "all")
    assert len(ids(tmp_path / "all")) == 15
    assert kept.items() <= {path.name: path.stat().st_ino for path in (tmp_path / "all").glob("*.safetensors")}.items()
    with pytest.raises(UserError, match="holds other samples already, such as 'a-0'"):
        merge([second], tmp_path / "all")
    with pytest.raises(UserError, match="is one of the sets to be merged"):
        merge([first, second], first / ".." / "a")
    write(first, [f"a-{number}" for number in range(9)], melody=True)  # prepared further: other shards
    merge([first, second], tmp_path / "all")
    assert len(list((tmp_path / "all").glob("*.safetensors"))) == 5  # the former ones are gone
    assert {"melody"} < set(ShardReader(tmp_path / "all").read(0).tensors)


def test_a_url_is_merged_too(two, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    merge(two, tmp_path / "local")
    merge([f"file://{two[0]}", two[1]], tmp_path / "all")
    assert content(tmp_path / "all") == content(tmp_path / "local")


def killed_after(shards: int, work) -> None:
    """SIGKILL when that many shards have been put, in the middle of the next."""
    seen = []
    originals = module._link, module.write_shard

    def count(call):
        def wrapped(*arguments, **options):
            seen.append(0)
            result = call(*arguments, **options)
            if len(seen) > shards:
                os.kill(os.getpid(), signal.SIGKILL)  # the shard is there, its note is not
            return result

        return wrapped

    module._link, module.write_shard = map(count, originals)
    work()


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("done", [0, 2, 5])
def test_what_was_killed_goes_on_to_the_same_bytes(two, tmp_path, copy, done):
    third = write(tmp_path / "c", ["a-3", "c-0", "b-5", "c-1", "a-0", "a-1"])

    def work(name: str) -> None:
        merge([*two, third], tmp_path / name, copy, skip_duplicates=True)

    work("whole")
    process = multiprocessing.get_context("fork").Process(target=killed_after, args=(done, lambda: work("killed")))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "index.json").exists()
    work("killed")
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def recordings(count: int, segments: int = 3, first: int = 0) -> list[str]:
    return [f"song-{number * 2654435761 % 2**32:08x}-{part:03d}" for number in range(first, first + count) for part in range(segments)]


def test_a_recording_is_what_its_segments_share():
    assert recording("some-song-0a1b2c3d-004") == recording("renamed-0a1b2c3d-017") == "0a1b2c3d"
    for piece in ("train-1-000004", "train-20240101-000004", "a", "song-0a1b2c3-004"):
        assert recording(piece) == piece


def test_no_recording_is_in_two_splits_and_all_samples_are_in_one(tmp_path, capsys):
    names = recordings(60) + [f"train-1-{number:06d}" for number in range(30)]
    folder = write(tmp_path / "set", names, per_shard=9)
    arguments = ["shards", "split", str(folder), "--valid", "0.2", "--test", "0.1", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    parts = {name: ids(tmp_path / "out" / name) for name in ("train", "valid", "test")}
    assert sorted(name for part in parts.values() for name in part) == sorted(names)
    owners = {name: {recording(sample) for sample in part} for name, part in parts.items()}
    assert sum(map(len, owners.values())) == 90 == len(set.union(*owners.values()))
    assert 8 <= len(owners["valid"]) <= 30
    assert 3 <= len(owners["test"]) <= 18
    for name, part in parts.items():
        assert f"{len(part)} samples of {len(owners[name])} recordings" in text
        reader = ShardReader(tmp_path / "out" / name)
        assert all(error is None for _, error in reader.verify())
        assert max(reader.counts) <= 9
        assert reader.codec == ShardReader(folder).codec
        for position in range(0, len(reader), 7):
            there = reader.read(position)
            original = ShardReader(folder).read(names.index(there.id))
            assert torch.equal(there.tensors["latents"], original.tensors["latents"])
            assert there.captions == original.captions


def test_a_shard_that_stays_whole_is_linked(tmp_path):
    folder = write(tmp_path / "set", recordings(40), per_shard=3)
    split(folder, tmp_path / "out", 0.2)
    linked = [path for path in (tmp_path / "out").rglob("*.safetensors") if path.stat().st_nlink == 2]
    assert len(linked) == 40
    split(folder, tmp_path / "copied", 0.2, copy=True)
    assert content(tmp_path / "copied") == content(tmp_path / "out")


def test_a_grown_set_moves_nothing_from_one_split_to_another(tmp_path):
    names = recordings(40)
    split(write(tmp_path / "set", names), tmp_path / "out", 0.2, 0.1)
    before = {name: set(ids(tmp_path / "out" / name)) for name in ("train", "valid", "test")}
    grown = recordings(25, first=40)
    split(write(tmp_path / "set", grown[:30] + names + grown[30:]), tmp_path / "out", 0.2, 0.1)
    for name, former in before.items():
        now = ids(tmp_path / "out" / name)
        assert former < set(now)
        assert {f"{Path(file).stem}.json" for file in ShardReader(tmp_path / "out" / name).files} == {
            path.name for path in (tmp_path / "out" / name).glob("shard-*.json")
        }
    alone = split(tmp_path / "set", tmp_path / "alone", 0.2, 0.1)
    assert content(tmp_path / "alone") == content(tmp_path / "out")
    assert len(alone) == 3


def test_the_shares_decide_only_how_much_is_taken():
    names = recordings(4000, 1)
    taken = {share: {name for name in names if side(name, share, 0.1, 0) == "valid"} for share in (0.05, 0.1)}
    assert taken[0.05] < taken[0.1]
    assert abs(len(taken[0.1]) - 400) < 60
    assert abs(sum(side(name, 0.1, 0.1, 0) == "test" for name in names) - 400) < 60
    assert len(taken[0.1] & {name for name in names if side(name, 0.1, 0.1, 1) == "valid"}) < 80


@pytest.mark.parametrize(
    ("valid", "test", "words"),
    [(0.0, 0.1, "valid must be over 0"), (0.6, 0.4, "both together under 1"), (0.001, 0.0, "none of the 5 recordings in .* goes to valid")],
)
def test_shares_that_make_no_sense_are_refused(tmp_path, valid, test, words):
    with pytest.raises(UserError, match=words):
        split(write(tmp_path / "set", recordings(5)), tmp_path / "out", valid, test)
    assert not (tmp_path / "out").exists()


def test_a_test_set_of_a_former_division_is_not_left_beside_a_new_one(tmp_path):
    folder = write(tmp_path / "set", recordings(40))
    split(folder, tmp_path / "out", 0.2, 0.2)
    with pytest.raises(UserError, match="test' is the test set of a former division"):
        split(folder, tmp_path / "out", 0.2)


def test_a_split_that_was_killed_goes_on_to_the_same_bytes(tmp_path):
    folder = write(tmp_path / "set", recordings(20), per_shard=7)
    split(folder, tmp_path / "whole", 0.2)
    process = multiprocessing.get_context("fork").Process(target=killed_after, args=(5, lambda: split(folder, tmp_path / "killed", 0.2)))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    split(folder, tmp_path / "killed", 0.2)
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_damage_is_not_written_anew_under_a_fresh_checksum(tmp_path):
    folder = write(tmp_path / "set", recordings(20), per_shard=7)
    for path in folder.glob("*.safetensors"):
        data = bytearray(path.read_bytes())
        data[-4 * 12 * 256 :] = bytes(4 * 12 * 256)
        path.write_bytes(data)
    with pytest.raises(CorruptShardError, match=r"set/shard-0000\d\.safetensors' is damaged"):
        split(folder, tmp_path / "out", 0.3)
    assert not (tmp_path / "out" / "train" / "index.json").exists()
