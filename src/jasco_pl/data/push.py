"""A prepared set goes into an object store: shards first, the index last, so that no reader meets an index without its shards.

Before `index.json` go its columns. A reader takes them for what they were made from only: those of another index disturb nobody.
"""

from __future__ import annotations

import filecmp
import hashlib
import re
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsspec.callbacks import Callback
from tqdm import tqdm

from jasco_pl.data.index import COLUMNS
from jasco_pl.data.object_store import RemoteFolder, Retry, is_url, told_md5
from jasco_pl.data.shards import INDEX, ShardReader
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import loads

_ROUNDS = 3  # uploads of a shard that arrives altered
_BLOCK = 2**20
_PARTS = tuple(size * 2**20 for size in (50, 64, 16, 8, 5))  # of an upload in parts: s3fs', others'; the checksum depends on it


def agrees(path: Path, info: dict[str, Any]) -> bool | None:
    """Whether an object has a file's content by the checksum that its store gives; None where it gives none that is understood.

    Understood are Google's `md5Hash` and S3's ETag: an MD5, or for an upload in N parts the MD5 of the parts' MD5s and N.
    """
    if (told := told_md5(info)) is not None:
        return told == _md5(path).hex()
    match = re.fullmatch(r'"?([0-9a-f]{32})-(\d+)"?', str(info.get("ETag", "")))
    if match is None:
        return None
    digest, parts = bytes.fromhex(match[1]), match[2]
    sizes = [size for size in _PARTS if -(-path.stat().st_size // size) == int(parts)]
    if any(hashlib.md5(b"".join(_md5s(path, size)), usedforsecurity=False).digest() == digest for size in sizes):
        return True
    return None  # parts of another size, perhaps


def _md5(path: Path) -> bytes:
    return next(_md5s(path, path.stat().st_size), hashlib.md5(usedforsecurity=False).digest())


def _md5s(path: Path, part: int) -> Iterator[bytes]:
    """MD5 of each stretch of `part` bytes."""
    with path.open("rb") as file:
        left, digest = part, hashlib.md5(usedforsecurity=False)
        while data := file.read(min(_BLOCK, left)):
            digest.update(data)
            left -= len(data)
            if not left:
                yield digest.digest()
                left, digest = part, hashlib.md5(usedforsecurity=False)
        if left < part:
            yield digest.digest()


class _Progress(Callback):
    """Moves a bar of bytes; an upload that begins anew takes its share back."""

    def __init__(self, bar: tqdm, lock: threading.Lock) -> None:
        super().__init__()
        self._bar, self._lock, self._sent = bar, lock, 0

    def set_size(self, size: int) -> None:
        self.reach(0)

    def relative_update(self, inc: int = 1) -> None:
        self.reach(self._sent + inc)

    def reach(self, count: int) -> None:
        """So many bytes are through."""
        with self._lock:
            self._bar.update(count - self._sent)
            self._sent = count


@dataclass
class Pushed:
    """What `push` did: shards and bytes that were sent, shards that were there."""

    sent: int = 0
    bytes: int = 0
    kept: int = 0


class _Push:
    def __init__(self, reader: ShardReader, store: RemoteFolder, verify: bool) -> None:
        self.reader, self.store, self.verify = reader, store, verify
        self.former = self._former_index()
        self.trusted = True  # whether the store's checksums are those of the content; encrypted buckets of S3 give others
        self.lock = threading.Lock()

    def _former_index(self) -> dict[str, Any]:
        """Shard -> samples, by the index that the store has; empty where it has none that can be used."""
        try:
            return {shard["file"]: shard["samples"] for shard in loads(self.store.read(INDEX))["shards"]}
        except FileNotFoundError:
            return {}
        except UserError:
            raise
        except (ValueError, KeyError, TypeError):
            return {}

    def withdraw(self) -> None:
        """Remove the store's index if shards that it lists are to become others under the same name."""
        known = (shard for shard in self.reader.shards if shard["file"] in self.former)
        if any(self.former[shard["file"]] != shard["samples"] for shard in known):
            self.store.remove(INDEX)

    def shard(self, shard: dict[str, Any], bar: tqdm) -> bool:
        """Bring one shard there; whether it had to be sent."""
        name = shard["file"]
        path, progress = self.reader.folder / name, _Progress(bar, self.lock)
        self.reader.check_size(name)
        if not self._there(path, shard):
            for number in range(_ROUNDS):
                self.store.upload(name, path, progress)
                if self._arrived(path):
                    break
                if number + 1 == _ROUNDS:
                    raise UserError(f"{self.store.address(name)!r} differs from {str(path)!r} after {_ROUNDS} uploads.")
            progress.reach(shard["bytes"])
            return True
        progress.reach(shard["bytes"])
        return False

    def _there(self, path: Path, shard: dict[str, Any]) -> bool:
        try:
            info = self.store.info(path.name)
        except FileNotFoundError:
            return False
        if info.get("size") != shard["bytes"]:
            return False
        same = agrees(path, info) if self.trusted else None
        if same is None:  # the size says little of another build's shard: its entry in the index does
            same = self.former.get(path.name, shard["samples"]) == shard["samples"]
        return same and (not self.verify or self._same_bytes(path))

    def _arrived(self, path: Path) -> bool:
        info = self.store.info(path.name)
        if info.get("size") != path.stat().st_size:
            return False
        same = agrees(path, info) if self.trusted else None
        if same is not False and not self.verify:
            return True
        whole = self._same_bytes(path)
        if same is False and whole:
            self.trusted = False
        return whole

    def _same_bytes(self, path: Path) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            copy.touch()
            self.store.download(path.name, path.stat().st_size, copy)
            return filecmp.cmp(path, copy, shallow=False)

    def index(self) -> None:
        """Send the index and its columns, unless the store has these."""
        if self.reader.columns.path is not None:  # kept nowhere, if the disk is full: then readers of the store make them
            self._bring(COLUMNS, self.reader.columns.path)
        self._bring(INDEX, self.reader.folder / INDEX)

    def _bring(self, name: str, path: Path) -> None:
        for _ in range(_ROUNDS):
            try:
                if self.store.read(name) == path.read_bytes():
                    return
            except FileNotFoundError:
                pass
            self.store.upload(name, path)
        if self.store.read(name) != path.read_bytes():
            raise UserError(f"{self.store.address(name)!r} differs from {str(path)!r} after {_ROUNDS} uploads.")


def push(folder: str | Path, url: str, verify: bool = False, connections: int = 4, retry: Retry | None = None) -> Pushed:
    """Upload a set; what is there already is not sent again, so that an interrupted upload goes on.

    A shard counts as there when its size is right and the store's checksum, where it gives one, agrees; otherwise the store's own index
    must not speak against it. Where a shard of the store's index is to be replaced by another of the same name, that index is removed
    first. Shards that no index lists any more are left in the store.

    Args:
        folder: of the set, on this machine.
        url: folder in the store.
        verify: read every shard back and compare it byte by byte, also those that were there.
        connections: shards sent at a time.
        retry: of every request.

    Raises:
        UserError: the set or the store cannot be read or written, or what arrives differs again and again.
        CorruptShardError: a shard of the set is missing or truncated.
    """
    if is_url(folder) or not is_url(url):
        raise UserError(f"a set goes from a folder to a URL such as s3://bucket/folder, not from {str(folder)!r} to {url!r}.")
    if connections < 1:
        raise UserError(f"at least one connection is needed, not {connections}.")
    reader = ShardReader(folder)
    work, done = _Push(reader, RemoteFolder(url, retry), verify), Pushed()
    work.withdraw()
    total = sum(reader.sizes.values())
    with (
        tqdm(total=total, desc="push", unit="B", unit_scale=True, unit_divisor=1000) as bar,
        ThreadPoolExecutor(connections, thread_name_prefix="push") as pool,
    ):
        try:
            for future in as_completed(futures := {pool.submit(work.shard, shard, bar): shard for shard in reader.shards}):
                if future.result():
                    done.sent, done.bytes = done.sent + 1, done.bytes + futures[future]["bytes"]
                else:
                    done.kept += 1
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    work.index()
    return done
