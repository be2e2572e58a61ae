from __future__ import annotations

import sys

import fsspec
import pytest

from jasco_pl.data.object_store import CHUNK, RemoteFolder, Retry, ShortBodyError, hopeless, is_url
from jasco_pl.system.errors import UserError

QUICK = Retry(attempts=4, first=0.001)


class Flaky:
    """A file system whose requests fail in the order given, then succeed."""

    def __init__(self, *errors: Exception, data: bytes = b"0123456789") -> None:
        self.errors, self.data, self.requests = list(errors), data, 0

    def _strip_protocol(self, url: str) -> str:
        return url

    def cat_file(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        self.requests += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.data[start:end]


@pytest.fixture
def flaky(monkeypatch):
    def install(*errors: Exception, **options) -> Flaky:
        filesystem = Flaky(*errors, **options)
        monkeypatch.setattr("jasco_pl.data.object_store._systems", {})
        monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url, **options: (filesystem, url))
        return filesystem

    return install


class HttpError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"HTTP {code}")
        self.code = code


class NoCredentialsError(Exception):
    pass


PASSING = [ConnectionResetError("reset"), TimeoutError(), OSError("SlowDown"), ShortBodyError("3"), *map(HttpError, (503, 429, 408))]
FINAL = [
    FileNotFoundError("x"),
    PermissionError("x"),
    ValueError("url"),
    ImportError("s3fs"),
    NoCredentialsError(),
    *map(HttpError, (401, 404)),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_errors_that_pass_are_repeated(flaky, error):
    filesystem = flaky(error, error, error)
    assert RemoteFolder("s3://bucket/folder", QUICK).read("file") == b"0123456789"
    assert filesystem.requests == 4


@pytest.mark.parametrize("error", FINAL, ids=repr)
def test_errors_that_stay_are_not_repeated(flaky, error):
    assert hopeless(error)
    filesystem = flaky(error)
    with pytest.raises((UserError, FileNotFoundError)):
        RemoteFolder("s3://bucket/folder", QUICK).read("file")
    assert filesystem.requests == 1


def test_when_all_attempts_fail_address_count_and_last_error_are_told(flaky):
    flaky(*[ConnectionResetError("reset by peer")] * 4)
    with pytest.raises(UserError, match=r"'s3://bucket/folder/file' could not be read in 4 attempts.*reset by peer\.$"):
        RemoteFolder("s3://bucket/folder/", QUICK).read("file")


def test_waits_double_up_to_a_limit_and_differ():
    retry = Retry(first=1.0, longest=6.0)
    for attempt, longest in enumerate((1, 2, 4, 6, 6)):
        waits = {retry.wait(attempt) for _ in range(200)}
        assert len(waits) > 100
        assert longest / 2 <= min(waits) < max(waits) <= longest


def test_a_download_takes_parts_and_repeats_only_the_one_that_failed(flaky, tmp_path, monkeypatch):
    monkeypatch.setattr("jasco_pl.data.object_store.CHUNK", 4)
    filesystem = flaky(TimeoutError(), data=b"0123456789")
    target = tmp_path / "file"
    target.write_bytes(bytes(9))
    RemoteFolder("s3://bucket", QUICK).download("file", 9, target)
    assert target.read_bytes() == b"012345678"
    assert filesystem.requests == 4
    assert CHUNK >= 2**20


def test_a_body_that_stays_short_is_one_sentence(flaky, tmp_path):
    flaky(data=b"012")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="3 bytes came where the index promises 9"):
        RemoteFolder("s3://bucket", QUICK).download("file", 9, tmp_path / "file")


def test_a_missing_backend_and_an_unknown_scheme_are_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "gs", raising=False)
    with pytest.raises(UserError, match=r"needs a package.*gcsfs.*pip install 'jasco-pl\[remote\]'"):
        RemoteFolder("gs://bucket", QUICK).read("index.json")
    with pytest.raises(UserError, match="Protocol not known: floppy"):
        RemoteFolder("floppy://a", QUICK).read("index.json")


def test_what_is_a_url():
    assert all(map(is_url, ("s3://bucket/a", "gs://b", "hf://datasets/a/b", "file:///tmp", "memory://x")))
    assert not any(map(is_url, ("data/shards", "/data/shards", "C:/data")))
