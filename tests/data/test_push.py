from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jasco_pl.cli import main
from jasco_pl.data.object_store import RemoteFolder, Retry
from jasco_pl.data.push import agrees, push
from jasco_pl.data.remote import CacheOptions
from jasco_pl.data.shards import ShardReader, write_index
from jasco_pl.system.errors import UserError

pytestmark = pytest.mark.timeout(120)
QUICK = Retry(attempts=8, first=0.005, longest=0.02)


@pytest.fixture
def bucket(store):
    """The server with an empty bucket."""
    import fsspec

    fsspec.filesystem("s3").mkdirs("pushed", exist_ok=True)
    store.faults()
    return store


@pytest.fixture
def prepared(tmp_path, write_many_shards) -> Path:
    write_many_shards(tmp_path / "set", 8, 3)
    return tmp_path / "set"


@pytest.fixture
def uploads(monkeypatch) -> list[str]:
    """Names in the order in which they are uploaded or removed."""
    seen: list[str] = []
    upload, remove = RemoteFolder.upload, RemoteFolder.remove
    monkeypatch.setattr(RemoteFolder, "upload", lambda self, name, *rest: (seen.append(name), upload(self, name, *rest))[1])
    monkeypatch.setattr(RemoteFolder, "remove", lambda self, name: (seen.append(f"-{name}"), remove(self, name))[1])
    return seen


def shards(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.safetensors"))


def is_there(folder: Path, url: str, cache: Path) -> bool:
    """Whether every sample of the set can be read from the URL, sound."""
    reader = ShardReader(url, cache=CacheOptions(str(cache), prefetch=0))
    return len(reader) == len(ShardReader(folder)) and all(error is None for _, error in reader.verify())


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\x01\x02\x03\x04")


def test_what_is_pushed_can_be_read_and_is_not_sent_again(bucket, prepared, tmp_path, capsys, uploads):
    url = "s3://pushed/plain"
    assert main(["shards", "push", str(prepared), url]) == 0
    assert "8 shards sent" in capsys.readouterr().out
    assert uploads[-2:] == ["index.columns", "index.json"]
    assert sorted(uploads[:-2]) == shards(prepared)
    assert is_there(prepared, url, tmp_path / "cache")
    assert main(["shards", "push", str(prepared), url, "--verify", "--connections", "1"]) == 0
    assert "0 shards sent (0.0 MB), 8 were there" in capsys.readouterr().out
    assert len(uploads) == 10


def test_requests_that_fail_are_repeated(bucket, prepared, tmp_path):
    bucket.faults(fail_every=4, truncate_every=7)
    done = push(prepared, "s3://pushed/faults", verify=True, connections=2, retry=QUICK)
    assert bucket.stats()["failed"] > 5
    assert (done.sent, done.bytes) == (8, sum((prepared / name).stat().st_size for name in shards(prepared)))
    bucket.faults()
    assert is_there(prepared, "s3://pushed/faults", tmp_path / "cache")


def test_a_store_that_never_answers_is_one_sentence_and_gets_no_index(bucket, prepared):
    bucket.faults(fail_every=1)
    with pytest.raises(UserError, match=r"could not be read in 3 attempts") as caught:
        push(prepared, "s3://pushed/down", retry=Retry(3, 0.001))
    assert "\n" not in str(caught.value)
    assert not any(name.startswith("PUT") for name in bucket.stats())


def test_after_sigkill_in_the_middle_the_rest_is_sent(bucket, tmp_path, write_many_shards):
    write_many_shards(tmp_path / "set", 24, 2)
    url, folder = "s3://pushed/killed", tmp_path / "set"
    command = [sys.executable, "-m", "jasco_pl.cli", "shards", "push", str(folder), url, "--connections", "2"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while sum(name.startswith("PUT") for name in bucket.stats()) < 5:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    first = {name for name in bucket.stats() if name.startswith("PUT")}
    assert 5 <= len(first) < 24
    assert not any(name.endswith("index.json") for name in first)
    with pytest.raises(UserError, match="no prepared data"):
        ShardReader(url, cache=CacheOptions(str(tmp_path / "cache")))
    done = push(folder, url, connections=1)
    assert done.kept >= len(first) - 2  # what was under way may or may not have arrived
    assert done.sent + done.kept == 24
    assert is_there(folder, url, tmp_path / "cache")


def test_an_object_of_the_right_size_with_other_bytes_is_replaced(bucket, prepared, tmp_path, uploads):
    url = "s3://pushed/altered"
    push(prepared, url, connections=1)
    other = tmp_path / "shard-00003.safetensors"
    other.write_bytes((prepared / other.name).read_bytes())
    flip(other)
    RemoteFolder(url).upload(other.name, other)
    uploads.clear()
    assert push(prepared, url, connections=1).sent == 1
    assert uploads == [other.name]
    assert is_there(prepared, url, tmp_path / "cache")


def test_a_store_without_checksums_is_read_back_on_request(prepared, tmp_path):
    url, target = f"file://{tmp_path}/deep/er/target", tmp_path / "deep/er/target"
    assert push(prepared, url).sent == 8
    assert sorted(path.name for path in target.iterdir()) == ["index.columns", "index.json", *shards(prepared)]
    flip(target / "shard-00002.safetensors")
    (target / "shard-00005.safetensors").write_bytes(b"half")
    assert push(prepared, url).sent == 1  # the short one
    assert push(prepared, url, verify=True).sent == 1
    assert is_there(prepared, url, tmp_path / "cache")


def test_before_shards_become_others_under_their_names_the_index_is_withdrawn(prepared, tmp_path, write_many_shards, uploads):
    url = f"file://{tmp_path}/target"
    push(prepared, url)
    write_many_shards(tmp_path / "other", 9, 3)  # the same names and sizes, other content; and one more
    for path in sorted((tmp_path / "other").glob("shard-0000[0-3]*")):
        path.rename(prepared / path.name)
    names = [f"shard-{number:05d}" for number in range(8)]
    write_index(prepared, {"name": "none", "frame_rate": 50.0, "dim": 128}, names)
    uploads.clear()
    assert push(prepared, url).sent == 4  # known by the index alone: their sizes are right
    assert uploads[0] == "-index.json"
    assert sorted(uploads[1:-2]) == [f"{name}.safetensors" for name in names[:4]]
    assert uploads[-2:] == ["index.columns", "index.json"]
    assert is_there(prepared, url, tmp_path / "cache")


def test_a_set_that_grew_keeps_its_index_until_the_new_one_comes(prepared, tmp_path, uploads):
    whole = (prepared / "index.json").read_text()
    index = json.loads(whole)
    index["shards"] = index["shards"][:5]
    del index["crc32"]
    (prepared / "index.json").write_text(json.dumps(index))
    url = f"file://{tmp_path}/target"
    assert push(prepared, url).sent == 5
    (prepared / "index.json").write_text(whole)
    uploads.clear()
    assert push(prepared, url).sent == 3
    assert uploads[-1] == "index.json"
    assert "-index.json" not in uploads


def test_what_arrives_altered_is_sent_again_and_given_up_in_the_end(prepared, tmp_path, monkeypatch):
    url, upload, damaged = f"file://{tmp_path}/target", RemoteFolder.upload, []

    def on_a_bad_line(self, name, source, callback=None):
        upload(self, name, source, callback)
        if name.startswith("shard-00004") and len(damaged) < times:
            damaged.append(name)
            flip(tmp_path / "target" / name)

    monkeypatch.setattr(RemoteFolder, "upload", on_a_bad_line)
    times = 2
    assert push(prepared, url, verify=True).sent == 8
    assert len(damaged) == 2
    assert is_there(prepared, url, tmp_path / "cache")
    (tmp_path / "target" / "shard-00004.safetensors").unlink()
    times = 5
    with pytest.raises(UserError, match=r"shard-00004\.safetensors' differs from .* after 3 uploads"):
        push(prepared, url, verify=True)


def test_checksums_that_are_not_of_the_content_are_seen_through(bucket, prepared, tmp_path, monkeypatch):
    """As an encrypted bucket's: 32 hex digits of something else. What they deny is read back, once for all."""
    info = RemoteFolder.info
    monkeypatch.setattr(RemoteFolder, "info", lambda self, name: info(self, name) | {"ETag": f'"{"0" * 32}"'})
    done = push(prepared, "s3://pushed/encrypted", connections=1)
    assert done.sent == 8
    assert sum(bucket.gets(".safetensors").values()) == 1
    assert is_there(prepared, "s3://pushed/encrypted", tmp_path / "cache")


def test_the_checksum_of_an_upload_in_parts_is_understood(bucket, tmp_path):
    import fsspec

    path = tmp_path / "large"
    path.write_bytes(os.urandom(2**20) * 11)
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    for name, size in (("whole", None), ("parts", 5 * 2**20)):
        filesystem.put_file(str(path), f"pushed/{name}", **({"chunksize": size} if size else {}))
    whole, parts = (filesystem.info(f"pushed/{name}", refresh=True) for name in ("whole", "parts"))
    assert "-3" in parts["ETag"]
    assert agrees(path, whole)
    assert agrees(path, parts)
    flip(path)
    assert agrees(path, whole) is False
    assert agrees(path, parts) is None
    assert agrees(path, {"ETag": '"5f3a-61"'}) is None
    assert agrees(path, {}) is None


def test_googles_checksum_is_understood(tmp_path):
    path = tmp_path / "hello"
    path.write_bytes(b"hello world")
    assert agrees(path, {"md5Hash": "XrY7u+Ae7tCTyyK7j1rNww==", "etag": "CJ=="})
    assert agrees(path, {"md5Hash": "AAAAu+Ae7tCTyyK7j1rNww=="}) is False
    path.write_bytes(b"")
    assert agrees(path, {"md5Hash": "1B2M2Y8AsgTpgAmY7PhCfg=="})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{set}", "elsewhere"], "not from .* to 'elsewhere'"),
        (["file://{set}", "file:///tmp/x"], "goes from a folder to a URL"),
        (["{set}/nowhere", "file:///tmp/x"], "no prepared data"),
        (["{set}", "file:///tmp/x", "--connections", "0"], "at least one connection"),
        (["{set}", "s3://no-such-bucket-here/a"], "'s3://no-such-bucket-here/a/shard-.* cannot be written: there is no such bucket"),
    ],
)
def test_what_cannot_be_pushed_is_one_sentence(bucket, prepared, capsys, arguments, words):
    arguments = [argument.format(set=prepared) for argument in arguments]
    assert main(["shards", "push", *arguments]) == 2
    assert re.search(words, capsys.readouterr().err)


def test_a_truncated_shard_is_not_pushed(prepared, tmp_path):
    path = prepared / "shard-00004.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match=r"shard-00004\.safetensors.*truncated"):
        push(prepared, f"file://{tmp_path}/target")
    assert not (tmp_path / "target").exists()


def test_a_run_that_is_stopped_can_be_started_again(prepared, tmp_path, monkeypatch):
    upload = RemoteFolder.upload

    def stop(self, name, *rest):
        if name.startswith("shard-00003"):
            raise KeyboardInterrupt
        upload(self, name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(RemoteFolder, "upload", stop)
        with pytest.raises(KeyboardInterrupt):
            push(prepared, f"file://{tmp_path}/target", connections=1)
    assert not (tmp_path / "target" / "index.json").exists()
    assert push(prepared, f"file://{tmp_path}/target").kept >= 3
