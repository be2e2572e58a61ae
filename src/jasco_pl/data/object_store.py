"""A folder in an object store, through fsspec: s3://, gs://, hf://, file:// and whatever else has a backend; with retries.

Endpoints and credentials are the backend's own affair, e.g. AWS_ENDPOINT_URL, AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN;
further options of a backend go into fsspec's variables, e.g. FSSPEC_S3='{"anon": true}'.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from jasco_pl.system.errors import UserError
from jasco_pl.system.files import explain_os_error

log = logging.getLogger(__name__)
T = TypeVar("T")

CHUNK = 32 * 2**20  # bytes a request: what a broken connection costs
VERSION_KEYS = ("ETag", "etag", "md5Hash", "blob_id", "mtime")  # of fsspec's file information: change with the content
# (process, thread, URL) -> file system. In a forked process the parent's entries stay as they are: to collect one would close
# connections that the parent is using.
_systems: dict[tuple[int, int, str], Any] = {}
_jitter = random.Random()  # not the global generator: a retry must not change what a seeded run draws


def is_url(location: object) -> bool:
    """Whether a location is one of an object store rather than a folder."""
    return "://" in str(location)


def told_md5(info: dict[str, Any]) -> str | None:
    """The MD5 that a store tells of an object, in hexadecimal digits: Google's `md5Hash`, or S3's ETag unless it is one of several parts.

    An encrypted bucket of S3 tells something else in its place: what agrees is the same content, what differs may be.
    """
    if info.get("md5Hash"):
        return base64.b64decode(info["md5Hash"]).hex()
    match = re.fullmatch(r'"?([0-9a-f]{32})"?', str(info.get("ETag", "")))
    return match[1] if match else None


@dataclass(frozen=True)
class Retry:
    """How often a request is repeated, after `first`, twice that, ... seconds up to `longest`, each cut by up to half at random."""

    attempts: int = 6
    first: float = 0.5
    longest: float = 20.0

    def wait(self, attempt: int) -> float:
        """Seconds after a failed attempt, counted from 0."""
        return min(self.longest, self.first * 2**attempt) * (1 - _jitter.random() / 2)


def hopeless(error: Exception) -> bool:
    """Whether another attempt would fail as well: the thing is not there, access is refused, or the request makes no sense.

    Everything else is repeated: broken and refused connections, timeouts, bodies that end early, HTTP 408, 429 and 5xx, and whatever
    a backend invents.
    """
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError | ImportError | ValueError):
        return True
    if "Credentials" in type(error).__name__:  # botocore's and google-auth's, neither of which need be installed
        return True
    for source in (error, getattr(error, "response", None)):
        for name in ("status", "status_code", "code"):
            status = getattr(source, name, None)
            if isinstance(status, int) and 400 <= status < 500 and status not in (408, 429):
                return True
    return False


class ShortBodyError(Exception):
    """A response held fewer bytes than were asked for."""


class RemoteFolder:
    """Reads and writes files below a URL. Every process and thread has a file system of its own: connections do not survive a fork.

    Args:
        url: of the folder.
        retry: of every request, on top of what the backend does itself.
    """

    def __init__(self, url: str, retry: Retry | None = None) -> None:
        self.url, self.retry = str(url).rstrip("/"), retry or Retry()

    def disconnect(self) -> None:
        """Close what this thread has opened, so that a process forked from here inherits no connection."""
        _systems.pop((os.getpid(), threading.get_ident(), self.url), None)

    def _system(self) -> Any:
        import fsspec

        key = (os.getpid(), threading.get_ident(), self.url)
        if key not in _systems:
            _systems[key] = fsspec.core.url_to_fs(self.url, skip_instance_cache=True)[0]
        return _systems[key]

    def address(self, name: str) -> str:
        """URL of a file."""
        return f"{self.url}/{name}"

    def _attempt(self, name: str, action: Callable[[Any, str], T], done: str = "read") -> T:
        """`action(filesystem, path)`, repeated as `retry` says; `done` is the action's name in messages.

        Raises:
            FileNotFoundError: there is no such file. UserError: access refused, a backend missing, or every attempt failed.
        """
        address = self.address(name)
        for attempt in range(self.retry.attempts):
            try:
                filesystem = self._system()
                return action(filesystem, filesystem._strip_protocol(address))
            except FileNotFoundError:
                raise
            except Exception as error:
                if hopeless(error):
                    raise _explain(address, error, done) from error
                last = error
            if attempt + 1 < self.retry.attempts:
                wait = self.retry.wait(attempt)
                log.info("%s: %s; attempt %d in %.1f s", address, last, attempt + 2, wait)
                time.sleep(wait)
        raise UserError(f"{address!r} could not be {done} in {self.retry.attempts} attempts; the last one said: {_reason(last)}.") from last

    def read(self, name: str) -> bytes:
        """A whole file."""
        return self._attempt(name, lambda filesystem, path: filesystem.cat_file(path))

    def version(self, name: str) -> tuple[str, int] | None:
        """Something that changes with the file's content, and its bytes; None where the store tells nothing of the kind."""

        info = self.info(name)
        marks = [f"{key}={info[key]}" for key in VERSION_KEYS if info.get(key)]
        return (" ".join(marks), int(info["size"])) if marks and info.get("size") is not None else None

    def info(self, name: str) -> dict[str, Any]:
        """What the store tells of a file now: `size`, and what the backend adds."""

        def ask(filesystem: Any, path: str) -> dict[str, Any]:
            filesystem.invalidate_cache()
            return filesystem.info(path)

        return self._attempt(name, ask)

    def download(self, name: str, size: int, target: Path) -> None:
        """Write the first `size` bytes of a file into `target`, which exists.

        Raises:
            FileNotFoundError, UserError: as above; a file that stays shorter than `size` is among them. OSError: of the local disk.
        """

        def part(start: int) -> bytes:
            end = min(start + CHUNK, size)

            def get(filesystem: Any, path: str) -> bytes:
                data = filesystem.cat_file(path, start=start, end=end)
                if len(data) != end - start:
                    raise ShortBodyError(f"{len(data)} bytes came where the index promises {end - start}")
                return data

            return self._attempt(name, get)

        def write(file: BinaryIO, data: bytes) -> None:
            try:
                file.write(data)
                file.flush()
            except OSError as error:
                raise explain_os_error(error, target) from error

        with open(target, "r+b") as file:
            for start in range(0, size, CHUNK):
                write(file, part(start))

    def upload(self, name: str, source: Path, callback: Any = None) -> None:
        """Write a local file into the store.

        Args:
            name: there.
            source: the file.
            callback: fsspec's, told of the bytes that are through; `set_size` begins every attempt.

        Raises:
            UserError: access refused, no such bucket, or every attempt failed.
        """

        def put(filesystem: Any, path: str) -> None:
            if "file" in filesystem.protocol:  # the only backend that does not make folders by itself
                filesystem.makedirs(filesystem._parent(path), exist_ok=True)
            if callback is not None:
                callback.set_size(source.stat().st_size)
            filesystem.put_file(str(source), path, **({"callback": callback} if callback is not None else {}))

        try:
            self._attempt(name, put, "written")
        except FileNotFoundError as error:
            raise UserError(f"{self.address(name)!r} cannot be written: there is no such bucket.") from error

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self._attempt(name, lambda filesystem, path: filesystem.rm_file(path), "removed")


def _reason(error: Exception) -> str:
    text = next(iter(str(error).strip().splitlines()), "").rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _explain(address: str, error: Exception, done: str) -> UserError:
    if isinstance(error, ImportError):
        return UserError(
            f"{address!r} needs a package that is not installed: {_reason(error)}; `pip install 'jasco-pl[remote]'` brings s3fs and gcsfs."
        )
    if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
        return UserError(f"{address!r} cannot be {done}: access is refused ({_reason(error)}); see to the store's credentials.")
    return UserError(f"{address!r} cannot be {done}: {_reason(error)}; folders and URLs such as s3://bucket/folder are accepted.")
