from __future__ import annotations

import gc
import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from jasco_pl.cli import main
from jasco_pl.data.cache import PART
from jasco_pl.data.datamodule import ShardDataModule
from jasco_pl.data.object_store import _systems
from jasco_pl.data.remote import CacheOptions, FetchError
from jasco_pl.data.schema import CorruptShardError
from jasco_pl.data.shards import ShardReader
from jasco_pl.system.errors import UserError

pytestmark = pytest.mark.timeout(300)  # a deadlock of a loader's processes is a failure, not a wait


@pytest.fixture
def remote(store, tmp_path, write_tiny_shards, request):
    """(local folder, URL) of 20 samples in three shards; every test has a folder of its own on the server."""
    folder = tmp_path / "train"
    write_tiny_shards(folder)
    return folder, store.upload(folder, f"s3://bucket/{request.node.name}")


def options(tmp_path: Path, name: str = "shards", **changes) -> CacheOptions:
    return CacheOptions(**{"folder": str(tmp_path / name), "prefetch": 0, "window": 0, **changes})


def cached(tmp_path: Path, name: str = "shards") -> dict[str, Path]:
    """Shard's stem -> its file in the cache."""
    return {path.name[:11]: path for path in (tmp_path / name).glob("shard-*.safetensors")}


def flip(path: Path) -> None:
    """Change bytes in the last tensor, in place: who has the file open sees it too."""
    with open(path, "r+b") as file:
        file.seek(-8, os.SEEK_END)
        before = file.read(8)
        file.seek(-8, os.SEEK_END)
        file.write(bytes(byte ^ 0x55 for byte in before))


def test_a_url_holds_what_the_folder_holds(remote, tmp_path):
    local, url = ShardReader(remote[0]), ShardReader(remote[1], cache=options(tmp_path))
    assert url.counts == local.counts
    for position in range(len(local)):
        ours, theirs = url.read(position), local.read(position)
        assert (ours.id, ours.captions) == (theirs.id, theirs.captions)
        assert all(torch.equal(ours.tensors[name], tensor) for name, tensor in theirs.tensors.items())


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_other_schemes_work_through_the_same_cache(scheme, tmp_path, write_tiny_shards):
    write_tiny_shards(tmp_path / "train")
    url = f"{scheme}://{tmp_path}/train"
    if scheme == "memory":
        import fsspec

        for path in (tmp_path / "train").iterdir():
            fsspec.filesystem("memory").pipe_file(f"{tmp_path}/train/{path.name}", path.read_bytes())
    reader = ShardReader(url, cache=options(tmp_path))
    assert reader.read(19).id == "train-019"
    assert set(cached(tmp_path)) == {"shard-00002"}


def test_info_and_verify_take_a_url(remote, store, capsys):
    assert main(["shards", "info", remote[1]]) == 0
    assert "samples   20" in capsys.readouterr().out
    assert main(["shards", "verify", remote[1]]) == 0
    flip(remote[0] / "shard-00001.safetensors")
    store.upload(remote[0], remote[1])
    assert main(["shards", "verify", remote[1]]) == 1
    out = capsys.readouterr().out
    assert "12 of 20 samples are sound" in out
    assert "shard-00001.safetensors' does not match its index" in out


def test_an_unchanged_index_is_not_downloaded_again_and_a_changed_one_is(remote, store, tmp_path):
    for _ in range(3):
        assert len(ShardReader(remote[1], cache=options(tmp_path))) == 20
    assert list(store.gets("index.columns").values()) == [1]
    assert not store.gets("index.json")  # the store tells its MD5, which is what the columns were made from
    path = remote[0] / "index.json"
    index = json.loads(path.read_text())
    index["shards"].pop()
    del index["crc32"]
    path.write_text(json.dumps(index))
    store.upload(remote[0], remote[1])
    assert len(ShardReader(remote[1], cache=options(tmp_path))) == 16


@pytest.mark.parametrize(("content", "words"), [(b"{", "no index of shards.*Expecting"), (b"[]", "no index of shards.*got 'array'")])
def test_an_index_that_is_none_is_one_sentence(remote, store, tmp_path, content, words):
    (remote[0] / "index.json").write_bytes(content)
    store.upload(remote[0], remote[1])
    for _ in range(2):
        with pytest.raises(UserError, match=words):
            ShardReader(remote[1], cache=options(tmp_path))


def test_a_missing_folder_is_one_sentence(remote, tmp_path):
    with pytest.raises(UserError, match=r"no prepared data in 's3://bucket/nowhere'"):
        ShardReader("s3://bucket/nowhere", cache=options(tmp_path))


@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_a_damaged_copy_is_fetched_once_more(remote, store, tmp_path, damage):
    ShardReader(remote[1], cache=options(tmp_path)).read(0)
    path = cached(tmp_path)["shard-00000"]
    if damage == "flip":
        flip(path)
    else:
        path.write_bytes(path.read_bytes()[:-100])
    reader = ShardReader(remote[1], cache=options(tmp_path))
    local = ShardReader(remote[0])
    for position in range(8):
        ours, theirs = reader.read(position), local.read(position)
        assert all(torch.equal(ours.tensors[name], tensor) for name, tensor in theirs.tensors.items())
    assert list(store.gets("shard-00000.safetensors").values()) == [2]


def test_a_copy_that_is_damaged_again_is_one_sentence(remote, store, tmp_path, monkeypatch):
    reader = ShardReader(remote[1], cache=options(tmp_path))
    obtain = reader.remote._obtain

    def from_a_bad_disk(name):
        held, handle = obtain(name)
        flip(held.path)
        return held, handle

    monkeypatch.setattr(reader.remote, "_obtain", from_a_bad_disk)
    with pytest.raises(CorruptShardError, match=r"shards/shard-00000-.*fails its checksum") as caught:
        [reader.read(position) for position in range(8)]
    assert "\n" not in str(caught.value)
    assert list(store.gets("shard-00000.safetensors").values()) == [2]


@pytest.mark.parametrize("damage", ["bytes", "shorter", "missing"])
def test_a_shard_that_the_server_changed_is_one_sentence(remote, store, tmp_path, damage):
    import fsspec

    path, key = remote[0] / "shard-00000.safetensors", f"{remote[1]}/shard-00000.safetensors"
    filesystem = fsspec.filesystem("s3")
    if damage == "bytes":
        flip(path)
        filesystem.put_file(str(path), key)
    elif damage == "shorter":
        filesystem.pipe_file(key, path.read_bytes()[:-50])
    else:
        filesystem.rm_file(key)
    reader = ShardReader(remote[1], cache=options(tmp_path))
    reader.remote.store.retry = reader.remote.store.retry.__class__(attempts=2, first=0.01)
    words = {"bytes": "does not match its index.*upload shards and index", "shorter": "where the index promises", "missing": "is missing"}
    with pytest.raises(UserError, match=words[damage]) as caught:
        reader.read(0)
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, FetchError) is (damage != "shorter")
    assert not cached(tmp_path)  # nothing of it counts as there
    assert not list((tmp_path / "shards").glob(f"*{PART}"))
    assert reader.read(10).id == "train-010"


def wait_for(condition, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_the_next_shards_are_fetched_ahead_in_their_order_and_no_more(store, tmp_path, write_many_shards):
    write_many_shards(tmp_path / "many", 8, 2)
    url = store.upload(tmp_path / "many", "s3://bucket/ahead")
    reader = ShardReader(url, cache=options(tmp_path, prefetch=2, window=1))
    reader.expect([10, 11, 2, 3, 14, 15, 0, 1])  # shards 5, 1, 7, 0
    reader.read(10)
    assert wait_for(lambda: len(cached(tmp_path)) == 3)
    time.sleep(0.2)
    assert set(cached(tmp_path)) == {"shard-00005", "shard-00001", "shard-00007"}
    reader.read(2)
    assert wait_for(lambda: "shard-00000" in cached(tmp_path))
    for position in (3, 14, 15, 0, 1):
        reader.read(position)
    assert set(store.gets("safetensors").values()) == {1}


def test_a_cache_too_small_for_its_window_is_one_sentence(remote, tmp_path):
    with pytest.raises(UserError, match=r"a cache of 1e-05 GB is too small.*raise data.cache_gb or lower data.shuffle_shards"):
        ShardReader(remote[1], cache=options(tmp_path, gigabytes=1e-5, window=1))


def module(url: str, tmp_path: Path, cache: str = "shards", rank: int = 0, world: int = 1, **changes) -> ShardDataModule:
    from types import SimpleNamespace

    settings = {"batch_size": 16, "seconds": 0.2, "fields": (), "workers": 2, "cache": str(tmp_path / cache), "shuffle_shards": 4}
    data = ShardDataModule(url, url, **{**settings, **changes})
    device = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world, accumulate_grad_batches=1, strategy=device)  # type: ignore[assignment]
    return data


def drawn(batch) -> list[tuple[str, int, int]]:
    return list(zip(batch["id"], batch["start"], batch["key"], strict=True))


def test_two_thousand_samples_while_one_request_in_twenty_fails(store, tmp_path, write_many_shards):
    """None lost, none twice; on the way every twentieth request gets a 503 and some bodies break off. Resumed from 2 ranks to 1: exact."""
    ids = write_many_shards(tmp_path / "many", 50, 40)
    url = store.upload(tmp_path / "many", "s3://bucket/two-thousand")
    store.faults(fail_every=20, truncate_every=33)
    whole = [drawn(batch) for batch in module(url, tmp_path, "whole").train_dataloader()]
    assert len(whole) == 125
    assert Counter(name for batch in whole for name, _, _ in batch) == Counter(ids)
    stats = store.stats()
    assert stats["failed"] >= 3
    shards = store.gets(".safetensors")
    assert len(shards) == 50
    assert sum(shards.values()) <= 50 + stats["failed"]  # what was not spoilt was not asked for again

    ranks = [module(url, tmp_path, "ranks", rank, 2, workers=0).train_dataloader() for rank in (0, 1)]
    first = []
    for parts in zip(*map(iter, ranks), strict=True):
        first.append([item for part in parts for item in drawn(part)])
        states = [loader.state_dict() for loader in ranks]  # as a checkpoint takes them: a step is done
        if len(first) == 50:
            break
    assert states[0] == states[1] == {"epoch": 0, "batch": 50}
    assert all(type(value) is int for value in states[0].values())
    alone = module(url, tmp_path, "alone").train_dataloader()  # elsewhere: an empty cache
    alone.load_state_dict(states[0])
    assert first + [drawn(batch) for batch in alone] == whole
    following = [drawn(batch) for batch in alone]  # the next epoch: all again, in another order
    assert Counter(name for batch in following for name, _, _ in batch) == Counter(ids)
    assert following != whole


def test_streaming_stays_below_the_limit_of_the_cache(store, tmp_path, write_many_shards):
    ids = write_many_shards(tmp_path / "many", 30, 8)
    url = store.upload(tmp_path / "many", "s3://bucket/limit")
    size = (tmp_path / "many" / "shard-00000.safetensors").stat().st_size
    index = (tmp_path / "many" / "index.json").stat().st_size
    limit = 2 * 2 * size + 2 * size + index + 1000  # two windows of two, two ahead, of thirty
    data = module(url, tmp_path, cache_gb=limit / 1e9, shuffle_shards=2, prefetch_shards=2, workers=0, batch_size=8)
    loader = data.train_dataloader()
    names, sizes = [], []
    for batch in loader:
        names += batch["id"]
        sizes.append(loader.dataset.reader.remote.cache.size())
    assert Counter(names) == Counter(ids)
    assert max(sizes) <= limit
    assert sum(store.gets("safetensors").values()) <= 30 + 2  # nothing was evicted before its use; two belong to the next epoch


def test_validation_reads_in_the_order_of_the_index(store, tmp_path, write_many_shards):
    ids = write_many_shards(tmp_path / "many", 4, 8)
    url = store.upload(tmp_path / "many", "s3://bucket/valid")
    data = module(url, tmp_path, workers=1)
    for _ in range(2):
        assert [name for batch in data.val_dataloader() for name in batch["id"]] == ids
    assert set(store.gets("safetensors").values()) == {1}


def test_the_window_is_the_whole_set_for_folders_and_some_shards_for_urls(store, tmp_path, write_many_shards):
    write_many_shards(tmp_path / "many", 12, 2)
    url = store.upload(tmp_path / "many", "s3://bucket/window")
    choices = {"shuffle_shards": None, "workers": 0, "batch_size": 8}
    assert module(str(tmp_path / "many"), tmp_path, **choices).train_dataloader().batches.window == 0
    remote = module(url, tmp_path, **choices).train_dataloader()
    assert remote.batches.window == 8
    assert len({name[:11] for batch in list(remote)[:2] for name in batch["id"]}) <= 8
    assert module(url, tmp_path, **{**choices, "shuffle_shards": 0}).train_dataloader().batches.window == 0


# as the processes of a loader: forked from one that has used the store itself
FORK = multiprocessing.get_context("fork")


def test_processes_of_a_loader_inherit_no_connection_and_say_nothing(remote, tmp_path, capfd):
    first = module(remote[1], tmp_path, "first", batch_size=4, workers=0).train_dataloader()
    second = module(remote[1], tmp_path, "second", batch_size=4, workers=1).train_dataloader()
    assert not [key for key in _systems if key[2] == remote[1]]  # indexes were read, and that is over
    capfd.readouterr()
    for loader in (first, second, second):  # the first reads, and leaves its connections, in the process that is forked
        assert len(list(loader)) == 5
    del first
    gc.collect()
    assert len(list(second)) == 5
    assert capfd.readouterr().err == ""


def _read_all(url: str, folder: Path, queue) -> None:
    reader = ShardReader(url, cache=options(folder, prefetch=2, window=2))
    reader.expect(range(len(reader)))
    queue.put([reader.read(position).id for position in range(len(reader))])


def test_two_processes_fetch_a_shared_shard_once(store, tmp_path, write_many_shards):
    ids = write_many_shards(tmp_path / "many", 6, 4)
    url = store.upload(tmp_path / "many", "s3://bucket/shared")
    store.faults(bytes_per_second=200_000)  # long enough for both to want the same ones
    queue = FORK.Queue()
    processes = [FORK.Process(target=_read_all, args=(url, tmp_path, queue)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [queue.get(timeout=60) for _ in processes] == [ids, ids]
    for process in processes:
        process.join(20)
        assert process.exitcode == 0
    assert set(store.gets("").values()) == {1}  # the index too


def test_kill_in_a_download_leaves_a_cache_that_works(store, tmp_path, write_many_shards):
    write_many_shards(tmp_path / "many", 2, 40)
    url = store.upload(tmp_path / "many", "s3://bucket/killed")
    ShardReader(url, cache=options(tmp_path))
    store.faults(bytes_per_second=10_000)
    process = FORK.Process(target=_read_all, args=(url, tmp_path, FORK.Queue()))
    process.start()
    assert wait_for(lambda: store.gets("shard-00000.safetensors") and list((tmp_path / "shards").glob(f"*{PART}")), 60)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not cached(tmp_path)
    assert list((tmp_path / "shards").glob(f"*{PART}"))
    store.faults()
    reader = ShardReader(url, cache=options(tmp_path))
    assert [reader.read(position).id for position in (0, 79)] == ["shard-00000-0", "shard-00001-39"]
    assert not list((tmp_path / "shards").glob(f"*{PART}"))
