from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from jasco_pl.data.cache import PART, FileCache
from jasco_pl.system.errors import UserError


def filler(size: int):
    def download(target: Path) -> None:
        assert target.stat().st_size == size  # the room was reserved before
        target.write_bytes(bytes([size % 251]) * size)

    return download


def fill(cache: FileCache, *names: str, size: int = 100) -> None:
    for age, name in enumerate(names):
        cache.hold(name, size, filler(size)).close()
        os.utime(cache.folder / name, (age + 1, age + 1))


def names(cache: FileCache) -> set[str]:
    return {path.name for path in cache.folder.iterdir() if path.name != ".lock"}


def test_a_file_is_downloaded_once(tmp_path):
    cache = FileCache(tmp_path, 1000)
    held = cache.hold("a", 100, filler(100))
    assert held.path.read_bytes() == bytes([100]) * 100
    cache.hold("a", 100, lambda target: pytest.fail("a second download"))


def test_the_least_recently_used_are_evicted_and_none_in_use(tmp_path):
    cache = FileCache(tmp_path, 300)
    fill(cache, "a", "b", "c")
    used = FileCache(tmp_path, 300).hold("a", 100, filler(100))  # as another process would
    os.utime(tmp_path / "a", (0, 0))
    fill(cache, "d")
    assert names(cache) == {"a", "c", "d"}
    used.close()
    os.utime(tmp_path / "a", (0, 0))
    cache.hold("e", 100, filler(100)).close()
    assert "a" not in names(cache)
    assert cache.size() == 300


def test_what_is_needed_soon_is_not_evicted_and_a_fetch_ahead_goes_without(tmp_path):
    cache = FileCache(tmp_path, 300)
    fill(cache, "a", "b", "c")
    assert not cache.fetch("d", 100, filler(100), keep={"a", "b", "c"})
    assert names(cache) == {"a", "b", "c"}
    cache.hold("d", 100, filler(100), keep={"a", "b", "c"}).close()  # but who needs it now gets it
    assert names(cache) == {"a", "b", "c", "d"}
    os.utime(tmp_path / "d", (4, 4))
    assert cache.fetch("e", 100, filler(100), keep={"a"})  # and the excess goes as soon as it may
    assert names(cache) == {"a", "d", "e"}


def test_a_failed_download_leaves_nothing(tmp_path):
    cache = FileCache(tmp_path, 300)

    def fail(target: Path) -> None:
        target.write_bytes(b"half")
        raise UserError("no.")

    with pytest.raises(UserError):
        cache.hold("a", 100, fail)
    assert names(cache) == set()


def test_a_file_of_another_size_is_fetched_again(tmp_path):
    cache = FileCache(tmp_path, 300)
    fill(cache, "a")
    (tmp_path / "a").write_bytes(b"short")
    assert cache.hold("a", 100, filler(100)).path.stat().st_size == 100


def test_a_damaged_file_is_discarded_but_not_its_successor(tmp_path):
    cache = FileCache(tmp_path, 300)
    first, second = (cache.hold("a", 100, filler(100)) for _ in range(2))
    cache.discard(first)
    successor = cache.hold("a", 100, filler(100))
    cache.discard(second)
    assert successor.path.exists()


def _download_slowly(folder: Path, started) -> None:
    def slow(target: Path) -> None:
        target.write_bytes(b"h" * 50)
        started.set()
        time.sleep(60)

    FileCache(folder, 300).hold("a", 100, slow)


def test_a_process_killed_in_a_download_leaves_no_lock_and_no_room_taken(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    started = spawn.Event()
    process = spawn.Process(target=_download_slowly, args=(tmp_path, started))
    process.start()
    assert started.wait(60)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert names(FileCache(tmp_path, 300)) == {"a" + PART}
    cache = FileCache(tmp_path, 150)
    begin = time.monotonic()
    cache.hold("b", 100, filler(100)).close()  # makes room by removing what nobody holds
    assert names(cache) == {"b"}
    (tmp_path / ("a" + PART)).write_bytes(b"h" * 50)
    assert cache.hold("a", 100, filler(100)).path.read_bytes() == bytes([100]) * 100
    assert time.monotonic() - begin < 5


def _hold_all(folder: Path, log: Path, stride: int) -> None:
    cache = FileCache(folder, 10_000)

    def download(target: Path) -> None:
        number = int(target.name.removesuffix(PART))
        with open(log, "a") as file:
            file.write(f"{number}\n")
        time.sleep(0.01)
        target.write_bytes(bytes([number]) * 100)

    for turn in range(20):
        number = turn * stride % 20
        held = cache.hold(str(number), 100, download)
        assert held.path.read_bytes() == bytes([number]) * 100
        held.close()


def test_two_processes_share_a_cache_and_download_everything_once(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    log = tmp_path / "log"
    processes = [spawn.Process(target=_hold_all, args=(tmp_path / "cache", log, stride)) for stride in (1, 7)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(map(int, log.read_text().split())) == list(range(20))


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file/cache"):
        FileCache(tmp_path / "file" / "cache", 100)
