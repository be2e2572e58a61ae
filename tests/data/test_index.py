from __future__ import annotations

import json
import logging
import multiprocessing
import os
import pickle
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jasco_pl.cli import main
from jasco_pl.data import columns as columns_module
from jasco_pl.data import index as index_module
from jasco_pl.data.columns import Columns, DamagedColumnsError, Source
from jasco_pl.data.datamodule import ShardDataModule
from jasco_pl.data.index import COLUMNS, INDEX, open_index, parse_index, write_index_files
from jasco_pl.data.remote import CacheOptions
from jasco_pl.data.schema import FIELDS, Sample
from jasco_pl.data.shards import ShardReader, read_side, write_index, write_shard, write_side
from jasco_pl.system.checksums import sealed_json
from jasco_pl.system.errors import UserError, WriteError

FORK = multiprocessing.get_context("fork")

texts = st.text(max_size=12)
fields = st.dictionaries(st.sampled_from([*FIELDS, "of_an_older_version"]), st.integers(0, 2**32 - 1), max_size=len(FIELDS))
section = st.tuples(st.integers(0, 2**31 - 1), st.lists(texts, max_size=2)).map(list)
samples = st.fixed_dictionaries(
    {"id": texts, "frames": st.integers(0, 2**31 - 1), "captions": st.lists(texts, max_size=3), "crc32": fields},
    optional={"sections": st.lists(section, min_size=1, max_size=3)},
)
shard_lists = st.lists(
    st.fixed_dictionaries(
        {
            "file": st.from_regex(r"shard-[0-9a-f]{5}", fullmatch=True),
            "bytes": st.integers(0, 2**50),
            "samples": st.lists(samples, max_size=4),
        },
        optional={"codec": st.integers(0, 2**32 - 1)},
    ),
    max_size=4,
)


def index_of(count: int = 60, per_shard: int = 8) -> dict:
    """An index of samples that nobody wrote."""
    draw = np.random.default_rng(count)
    entries = [
        {
            "id": f"stück-{number:04d}",
            "frames": 500 + number,
            "captions": [f"music {number}", "slow"][: number % 3],
            "crc32": {name: int(draw.integers(2**32)) for name in ("latents", "chords") if name == "latents" or number % 5},
        }
        for number in range(count)
    ]
    shards = [
        {"file": f"shard-{start:05d}.safetensors", "bytes": 1000 + start, "codec": 7, "samples": entries[start : start + per_shard]}
        for start in range(0, count, per_shard)
    ]
    return {"format": "jasco-pl-shards/1", "codec": {"name": "none", "frame_rate": 50.0, "dim": 128}, "shards": shards}


def as_read(reader: ShardReader) -> dict:
    return {
        "format": "jasco-pl-shards/1",
        "codec": reader.codec,
        "shards": [{**one, "samples": list(one["samples"])} for one in reader.shards],
    }


@pytest.fixture
def folder(tmp_path) -> Path:
    """Of an index alone."""
    (tmp_path / "set").mkdir()
    write_index_files(tmp_path / "set", index_of())
    return tmp_path / "set"


@pytest.fixture
def parsed(monkeypatch) -> list[str]:
    """Where an index was read as JSON and made into columns."""
    seen: list[str] = []
    parse = index_module.parse_index
    monkeypatch.setattr(index_module, "parse_index", lambda data, where: (seen.append(where), parse(data, where))[1])
    return seen


def reader_of(folder: Path) -> ShardReader:
    return ShardReader(folder, check=False)


@settings(max_examples=60, deadline=None)
@given(shards=shard_lists)
def test_columns_hold_what_the_index_holds(shards, tmp_path_factory):
    made = Columns.of({"codec": {"name": "ü"}, "shards": shards})
    path = tmp_path_factory.getbasetemp() / "columns"
    made.save(path, Source(1, "a"))
    for columns in (made, Columns.open(path), pickle.loads(pickle.dumps(made)), pickle.loads(pickle.dumps(Columns.open(path)))):
        assert columns.codec == {"name": "ü"}
        found = [columns.shard(number) for number in range(len(shards))]
        assert found == shards
        entries = [entry for shard in shards for entry in shard["samples"]]
        assert list(columns.entries) == entries
        assert list(columns.ids) == [entry["id"] for entry in entries]
        for field in (*FIELDS, "of_an_older_version", "unknown"):
            assert columns.has(field).tolist() == [field in entry["crc32"] for entry in entries]
        owners = [number for number, shard in enumerate(shards) for _ in shard["samples"]]
        assert columns.shard_of(np.arange(len(entries))).tolist() == owners


def test_columns_of_a_set_without_sections_are_what_they_were(folder):
    columns = ShardReader(folder, check=False).columns
    assert not columns.has_sections
    assert list(columns.arrays) == list(columns_module.DTYPES)
    assert columns.sections(3) == []
    assert "sections" not in columns.entries[3]


def test_a_damaged_column_of_sections_is_noticed(tmp_path):
    index = index_of(3)
    index["shards"][0]["samples"][1]["sections"] = [[0, ["piano"]], [250, ["full band", "drums"]]]
    write_index_files(tmp_path, index)
    data = (tmp_path / COLUMNS).read_bytes()
    (tmp_path / COLUMNS).write_bytes(data.replace(b"full band", b"full hand"))
    with pytest.raises(DamagedColumnsError, match="'section_captions' fails its checksum"):
        Columns.open(tmp_path / COLUMNS)
    columns = open_index(tmp_path)  # made again
    assert columns.sections(1) == index["shards"][0]["samples"][1]["sections"]


def test_fields_stand_in_the_schemas_order_whichever_sample_is_the_first():
    crcs = [{"latents": 1, "melody": 2}, {"latents": 3, "chords": 4, "melody": 5}]
    entries = [{"id": str(number), "frames": 1, "captions": [], "crc32": crc} for number, crc in enumerate(crcs)]
    columns = Columns.of({"codec": {}, "shards": [{"file": "a", "bytes": 1, "samples": entries}]})
    assert [list(entry["crc32"].items()) for entry in columns.entries] == [list(crc.items()) for crc in crcs]


def test_sections_come_out_of_json_as_they_went_in_and_nothing_else_does(tmp_path):
    index = index_of(3)
    sections = index["shards"][0]["samples"][1]["sections"] = [[0, ["piano"]], [250, ["full band", "drums"]]]
    assert parse_index(sealed_json(index), "here").sections(1) == sections
    write_side(tmp_path, index["shards"][0])
    assert read_side(tmp_path, "shard-00000")["samples"][1]["sections"] == sections
    for wrong in ("piano", [0], [[0, "piano"]], [[-1, ["piano"]]], [["0", ["piano"]]], [[0, ["piano"], 3]], [[0, [3]]]):
        index["shards"][0]["samples"][1]["sections"] = wrong
        with pytest.raises(UserError, match="'here' is damaged, or no index"):
            parse_index(json.dumps(index).encode(), "here")


def test_what_holds_of_fields_is_seen_in_one_sample_of_a_kind(folder):
    kinds = reader_of(folder).columns.kinds()
    assert [(entry["id"], list(entry["crc32"])) for entry in kinds] == [("stück-0000", ["latents"]), ("stück-0001", ["latents", "chords"])]


def test_a_lazy_sequence_is_a_sequence(folder):
    entries, everything = reader_of(folder).entries, [one for shard in index_of()["shards"] for one in shard["samples"]]
    assert len(entries) == 60
    assert entries[-1] == entries[np.int64(59)] == everything[59]
    assert entries[57:] == everything[57:]
    assert list(reversed(entries)) == everything[::-1]
    for place in (60, -61):
        with pytest.raises(IndexError):
            entries[place]


def test_a_set_that_was_written_is_opened_without_its_json(folder, parsed, monkeypatch):
    assert (folder / COLUMNS).stat().st_mtime_ns == (folder / INDEX).stat().st_mtime_ns
    monkeypatch.setattr(index_module.hashlib, "file_digest", None)  # nor is it compared
    assert as_read(reader_of(folder)) == index_of()
    assert parsed == []


def test_a_copied_set_is_compared_once(folder, parsed, monkeypatch, tmp_path):
    for name in (COLUMNS, INDEX):
        shutil.copyfile(folder / name, tmp_path / name)  # times are not kept
        os.utime(tmp_path / name, ns=(0, len(name)))
    assert as_read(reader_of(tmp_path)) == index_of()
    monkeypatch.setattr(index_module.hashlib, "file_digest", None)
    assert as_read(reader_of(tmp_path)) == index_of()
    assert parsed == []


def test_an_old_set_gets_its_columns_and_can_be_built_upon(tmp_path, write_tiny_shards, parsed, capsys):
    write_tiny_shards(tmp_path / "train")
    write_tiny_shards(tmp_path / "new")
    made = (tmp_path / "train" / COLUMNS).read_bytes()
    (tmp_path / "train" / COLUMNS).unlink()
    assert main(["shards", "verify", str(tmp_path / "train")]) == 0
    assert "20 of 20 samples are sound" in capsys.readouterr().out
    assert (tmp_path / "train" / COLUMNS).read_bytes() == made
    assert len(parsed) == 1
    assert len(ShardReader(tmp_path / "train")) == 20
    assert len(parsed) == 1
    (tmp_path / "train" / COLUMNS).unlink()
    assert main(["shards", "merge", str(tmp_path / "train"), str(tmp_path / "new"), "--out", str(tmp_path / "all")]) == 0
    assert len(reader_of(tmp_path / "all")) == 40
    assert main(["shards", "split", str(tmp_path / "all"), "--valid", "0.3", "--out", str(tmp_path / "divided")]) == 0
    for name in ("train", "valid"):
        assert (tmp_path / "divided" / name / COLUMNS).exists()


@pytest.mark.parametrize("damage", ["one bit", "truncated", "empty", "not ours", "header"])
def test_damaged_columns_are_told_and_made_again(folder, damage, caplog, parsed):
    path, whole = folder / COLUMNS, (folder / COLUMNS).read_bytes()
    flipped = bytearray(whole)
    flipped[{"header": 20}.get(damage, -5)] ^= 4
    content = {"truncated": whole[:-3], "empty": b"", "not ours": b"{}" * 50}.get(damage, bytes(flipped))
    state = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # as a bad disk leaves it
    with pytest.raises(DamagedColumnsError, match=rf"^'{path}' is damaged: [^\n]*\.$"):
        Columns.open(path)
    with caplog.at_level(logging.WARNING):
        assert as_read(reader_of(folder)) == index_of()
    (line,) = [record.getMessage() for record in caplog.records]
    assert str(path) in line
    assert "made again from index.json" in line
    assert path.read_bytes() == whole
    assert len(parsed) == 1


@pytest.mark.parametrize("column", sorted(columns_module.DTYPES))
def test_damage_in_any_column_is_noticed(folder, column):
    path = folder / COLUMNS
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[:8], "little")
    first, end = json.loads(data[8 : 8 + length])[column]["data_offsets"]
    data[8 + length + (first + end) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedColumnsError, match=f"the column '{column}' fails its checksum"):
        Columns.open(path)


def test_damaged_columns_beside_a_damaged_index_are_one_sentence(folder):
    (folder / COLUMNS).write_bytes(b"half")
    (folder / INDEX).write_text("{")
    with pytest.raises(UserError, match=r"index\.json' is damaged, or no index [^\n]*: Expecting property name[^\n]*\.$"):
        reader_of(folder)


@pytest.mark.parametrize(("value", "more"), [(0.0, 1), (0.0, -1), (float("nan"), 0), (float("inf"), 0)])
@pytest.mark.parametrize("name", ["mean", "std"])
def test_statistics_that_are_none_are_one_sentence(folder, name, value, more):
    index = index_of()
    dim = index["codec"]["dim"]
    index["codec"][name] = [value] * (dim + more)
    (folder / INDEX).write_bytes(sealed_json(index))
    with pytest.raises(UserError, match=rf"the {name} of the latents is not {dim} finite numbers\.$"):
        reader_of(folder)


def test_columns_do_not_stand_for_an_index_that_is_missing(folder):
    (folder / INDEX).unlink()
    with pytest.raises(UserError, match=r"no prepared data in .*index\.json cannot be read \(No such file"):
        reader_of(folder)


@pytest.mark.parametrize("same_size", [False, True])
def test_an_index_that_was_changed_goes_before_its_columns(folder, same_size):
    index = index_of()
    if same_size:
        index["shards"][0]["samples"][0]["id"] = "stück-9999"
    else:
        index["shards"].pop()
    size = (folder / INDEX).stat().st_size
    (folder / INDEX).write_bytes(sealed_json(index))
    assert ((folder / INDEX).stat().st_size == size) is same_size
    for _ in range(2):
        assert as_read(reader_of(folder)) == index


def test_a_folder_that_may_not_be_written_has_its_columns_in_the_users_cache(folder, tmp_path, monkeypatch, parsed):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(index_module.os, "access", lambda path, mode: False)
    (folder / COLUMNS).unlink()
    for _ in range(2):
        assert as_read(reader_of(folder)) == index_of()
    assert len(parsed) == 1
    assert [path.name for path in folder.iterdir()] == [INDEX]
    (kept,) = (tmp_path / "cache" / "jasco_pl" / "indexes").iterdir()
    kept.write_bytes(b"half")
    assert as_read(reader_of(folder)) == index_of()
    assert len(parsed) == 2


def test_where_the_disk_is_full_the_set_is_read_all_the_same(folder, monkeypatch, caplog):
    (folder / COLUMNS).unlink()

    def full(self, path, source):
        raise WriteError(f"cannot write {str(path)!r}: the disk is full.")

    monkeypatch.setattr(Columns, "save", full)
    reader = reader_of(folder)
    assert as_read(pickle.loads(pickle.dumps(reader))) == index_of()
    assert "the disk is full; every process that reads" in caplog.text


def test_what_travels_to_a_worker_does_not_grow_with_the_set(tmp_path):
    sizes = []
    for count in (60, 6000):
        (tmp_path / str(count)).mkdir()
        write_index_files(tmp_path / str(count), index_of(count))
        reader = reader_of(tmp_path / str(count))
        assert len(reader.sizes) * 8 >= count
        reader.columns.counts, reader.entries[3], reader.columns.kinds()
        sizes.append(len(pickle.dumps(reader)))
    assert max(sizes) < 1000


def test_a_loader_looks_at_one_sample_of_a_kind_before_it_reads(tmp_path, write_tiny_shards, monkeypatch, parsed):
    write_tiny_shards(tmp_path / "train")
    made: list[int] = []
    entry = Columns._entry
    monkeypatch.setattr(Columns, "_entry", lambda self, position: (made.append(position), entry(self, position))[1])
    data = ShardDataModule(str(tmp_path / "train"), batch_size=4, seconds=1.0, workers=0, shuffle_shards=2)
    loader = data.train_dataloader()
    loader.load_state_dict({"epoch": 3, "batch": 2})
    assert made == [0]
    next(iter(loader))
    assert len(made) <= 1 + 2 * 4  # a batch, every sample of which is looked up twice
    assert parsed == []


def test_what_travelled_maps_the_file_and_notices_that_it_became_another(folder):
    reader = reader_of(folder)
    packed = pickle.dumps(reader)
    there = pickle.loads(packed)
    assert there.columns.path == folder / COLUMNS
    assert as_read(there) == index_of()
    write_index_files(folder, index_of(40))
    assert len(list(reader.ids)) == 60  # who has it open keeps it
    with pytest.raises(UserError, match="became another while it was in use"):
        pickle.loads(packed)


def _open(folder: Path, barrier, queue) -> None:
    barrier.wait()
    queue.put(list(reader_of(folder).ids))


def test_processes_that_make_the_columns_at_once_get_the_same(folder):
    whole = (folder / COLUMNS).read_bytes()
    (folder / COLUMNS).unlink()
    barrier, queue = FORK.Barrier(4), FORK.Queue()
    processes = [FORK.Process(target=_open, args=(folder, barrier, queue)) for _ in range(4)]
    for process in processes:
        process.start()
    found = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(20)
        assert process.exitcode == 0
    assert found == [list(reader_of(folder).ids)] * 4
    assert (folder / COLUMNS).read_bytes() == whole
    assert sorted(path.name for path in folder.iterdir()) == [COLUMNS, INDEX]


def _killed(work, moment: str) -> None:
    """SIGKILL just before a file of that suffix gets its name: its content is written, and nothing of it counts."""
    replace = os.replace

    def die(source, target):
        if str(target).endswith(moment):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = die
    work()


@pytest.mark.parametrize(("moment", "expected"), [("shard-00001.json", 1), (INDEX, 1), (COLUMNS, 2)])
def test_a_kill_between_shards_index_and_columns_leaves_a_set_that_can_be_read(tmp_path, moment, expected):
    names = ["shard-00000", "shard-00001"]

    def write(count: int) -> None:
        for name in names[:count]:
            write_shard(tmp_path, name, [Sample(f"{name}-0", {"latents": torch.zeros(5, 128).half()}, [])])
        write_index(tmp_path, {"name": "none", "frame_rate": 50.0, "dim": 128}, names[:count])

    write(1)
    process = FORK.Process(target=_killed, args=(lambda: write(2), moment))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    reader = ShardReader(tmp_path)
    assert list(reader.ids) == [f"{name}-0" for name in names[:expected]]
    assert all(error is None for _, error in reader.verify())
    write(2)
    assert list(ShardReader(tmp_path).ids) == [f"{name}-0" for name in names]


def test_a_kill_while_columns_are_made_leaves_no_half_file(folder):
    (folder / COLUMNS).unlink()
    process = FORK.Process(target=_killed, args=(lambda: open_index(folder), COLUMNS))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert not (folder / COLUMNS).exists()
    assert as_read(reader_of(folder)) == index_of()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda index: index["shards"][1]["samples"][0].pop("frames"), "missing required field 'frames'"),
        (lambda index: index["shards"][1].update(bytes="many"), "expected 'int', got 'str'"),
        (lambda index: index["shards"].__setitem__(0, []), "expected 'object', got 'array'"),
        (lambda index: index["shards"][0]["samples"][0]["crc32"].update(latents=-1), ">= 0"),
    ],
)
def test_an_index_that_holds_something_else_is_one_sentence(change, words):
    index = index_of()
    change(index)
    with pytest.raises(UserError, match=rf"^'here' is damaged[^\n]*{words}[^\n]*\.$"):
        parse_index(json.dumps(index).encode(), "here")


def options(tmp_path: Path, name: str = "cache") -> CacheOptions:
    return CacheOptions(str(tmp_path / name), prefetch=0)


@pytest.fixture
def remote(store, tmp_path, write_many_shards, request) -> tuple[Path, str]:
    write_many_shards(tmp_path / "set", 4, 3)
    return tmp_path / "set", store.upload(tmp_path / "set", f"s3://bucket/{request.node.name.replace(' ', '-')}")


def opened(url: str, cache: CacheOptions) -> list[str]:
    """Ids of a set whose samples can all be read."""
    reader = ShardReader(url, cache=cache)
    assert all(error is None for _, error in reader.verify())
    return list(reader.ids)


def kept(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache").glob("index-*"))


def test_columns_of_a_store_are_fetched_once_and_shared(remote, store, tmp_path):
    expected = list(ShardReader(remote[0]).ids)
    for _ in range(2):
        assert opened(remote[1], options(tmp_path)) == expected
    assert list(store.gets("index.columns").values()) == [1]
    assert not store.gets("index.json")
    (path,) = kept(tmp_path)
    assert path.read_bytes() == (remote[0] / COLUMNS).read_bytes()
    reader = ShardReader(remote[1], cache=options(tmp_path))
    assert reader.columns.path == path
    assert len(pickle.dumps(reader)) < 2000
    assert list(pickle.loads(pickle.dumps(reader)).ids) == expected


@pytest.mark.parametrize("columns", ["missing", "damaged", "truncated", "stale"])
def test_columns_of_a_store_that_are_not_its_index_are_made_from_it(remote, store, tmp_path, columns):
    import fsspec

    filesystem, place = fsspec.filesystem("s3"), f"{remote[1]}/{COLUMNS}"
    whole = (remote[0] / COLUMNS).read_bytes()
    if columns == "missing":
        filesystem.rm_file(place)
    elif columns == "stale":
        write_index(remote[0], {"name": "none", "frame_rate": 50.0, "dim": 128}, ["shard-00000", "shard-00001"])
        filesystem.put_file(str(remote[0] / INDEX), f"{remote[1]}/{INDEX}")
        whole = (remote[0] / COLUMNS).read_bytes()
    else:
        filesystem.pipe_file(place, whole[:-9] if columns == "truncated" else whole[:-9] + bytes(9))
    store.faults()
    expected = list(ShardReader(remote[0]).ids)
    for _ in range(2):
        assert opened(remote[1], options(tmp_path)) == expected
    assert set(store.gets("index.json").values()) <= {1, 2}
    (path,) = kept(tmp_path)
    assert path.read_bytes() == whole


def test_a_damaged_copy_of_the_columns_is_fetched_again(remote, store, tmp_path, caplog):
    expected = opened(remote[1], options(tmp_path))
    (path,) = kept(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-3] + b"abc")
    assert opened(remote[1], options(tmp_path)) == expected
    assert "fetching the index again" in caplog.text
    assert kept(tmp_path)[0].read_bytes() == whole


def test_a_store_that_tells_no_md5_is_asked_for_its_index_once(tmp_path, write_many_shards, monkeypatch):
    from jasco_pl.data.object_store import RemoteFolder

    write_many_shards(tmp_path / "set", 4, 3)
    reads: list[str] = []
    read = RemoteFolder.read
    monkeypatch.setattr(RemoteFolder, "read", lambda self, name: (reads.append(name), read(self, name))[1])
    for _ in range(2):
        assert opened(f"file://{tmp_path}/set", options(tmp_path)) == list(ShardReader(tmp_path / "set").ids)
    assert reads == [INDEX]
    assert kept(tmp_path)[0].read_bytes() == (tmp_path / "set" / COLUMNS).read_bytes()
