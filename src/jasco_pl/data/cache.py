"""A folder of downloaded files that several processes share: whole files only, a limit on their size, the least recently used go first.

    FOLDER/<key>             a file that was checked before it got this name
    FOLDER/<key>.part        a download: its size is reserved at once, its process holds an exclusive lock on it
    FOLDER/.lock             held while room is made

A file in use carries a shared lock (flock) of each process that reads it and is not evicted. The kernel drops the locks of a process that
ends in whatever way; a `.part` file without a lock belongs to nobody and is removed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from jasco_pl.system.errors import UserError
from jasco_pl.system.files import explain_os_error, user_cache

log = logging.getLogger(__name__)

PART = ".part"
POLL = 0.05  # seconds between looks at a download of another process


class Held:
    """A file of the cache that stays where it is until `close`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor
        self.inode = os.fstat(descriptor).st_ino

    def close(self) -> None:
        """Let go: the file may be evicted from now on."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class FileCache:
    """Files by key, as the module describes.

    Args:
        folder: of the cache, made if absent; None is `jasco_pl/shards` in the user's cache folder.
        limit: bytes of all files together. Files in use may exceed it: a training run is not stopped for that.

    Raises:
        UserError: the folder cannot be made.
    """

    def __init__(self, folder: str | Path | None, limit: int) -> None:
        self.folder = Path(folder).expanduser() if folder else user_cache("shards")
        self.limit = limit
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explain_os_error(error, self.folder) from error

    def hold(self, key: str, size: int, download: Callable[[Path], None], keep: Collection[str] = ()) -> Held:
        """The file of that name, downloaded if it is absent or of another size.

        Args:
            key: name in the cache; stands for content, never for a place.
            size: bytes.
            download: fills a file that exists and checks it; nothing is kept if it raises.
            keep: keys that are needed soon: not evicted for this one.

        Raises:
            UserError: the folder cannot be written; and whatever `download` raises.
        """
        while True:
            if (held := self.find(key, size)) is not None:
                return held
            self.fetch(key, size, download, keep, force=True)
            if not self.has(key):
                time.sleep(POLL)

    def fetch(self, key: str, size: int, download: Callable[[Path], None], keep: Collection[str] = (), force: bool = False) -> bool:
        """Download a file that is absent, unless another process is at it.

        Returns:
            False if there is no room for it because too much is in use or in `keep`; with `force` it is downloaded all the same.
        """
        final, part = self.folder / key, self.folder / (key + PART)
        if final.exists():
            return True
        with _locked(part) as descriptor:
            if descriptor is None:
                return True
            if final.exists() or not (self._reserve(descriptor, size, keep) or force):
                part.unlink()
                return final.exists()
            try:
                download(part)
                os.replace(part, final)  # no fsync: every read compares checksums anyway
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        return True

    def discard(self, held: Held) -> None:
        """Remove a file that proved damaged; not the one that another process has meanwhile put in its place."""
        with contextlib.suppress(FileNotFoundError):
            if held.path.stat().st_ino == held.inode:
                held.path.unlink()
        held.close()

    def has(self, key: str) -> bool:
        """Whether the file is there."""
        return (self.folder / key).exists()

    def size(self) -> int:
        """Bytes in the cache, downloads that are under way included."""
        return sum(size for _, size, _ in self._files())

    def find(self, key: str, size: int | None = None) -> Held | None:
        """The file of that name if it is there; one of another size than is given, if any, is removed."""
        path = self.folder / key
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        held = Held(path, descriptor)
        _flock(descriptor, fcntl.LOCK_SH, path)
        status = os.fstat(descriptor)
        if status.st_nlink == 0:  # evicted between the two lines above
            held.close()
            return None
        if size is not None and status.st_size != size:
            log.warning("%s has %d bytes where %d belong: fetching it again", path, status.st_size, size)
            self.discard(held)
            return None
        with contextlib.suppress(OSError):  # a cache that somebody else filled can still be read
            os.utime(path)
        return held

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """(time of last use, bytes, path)"""
        for entry in os.scandir(self.folder):
            if not entry.name.startswith("."):
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    yield status.st_mtime, status.st_size, Path(entry.path)

    def _reserve(self, descriptor: int, size: int, keep: Collection[str]) -> bool:
        """Evict until `size` more bytes fit, then give the download its size; true if they fit now."""
        with _locked(self.folder / ".lock", wait=True):
            os.ftruncate(descriptor, 0)  # a killed process may have left it long
            files = sorted(self._files())
            excess = sum(size for _, size, _ in files) + size - self.limit
            for _, used, path in files:
                abandoned = path.suffix == PART  # or its lock will tell
                if (abandoned or (excess > 0 and path.name not in keep)) and _unlink_unused(path):
                    excess -= used
            try:
                os.ftruncate(descriptor, size)
            except OSError as error:
                raise explain_os_error(error, self.folder) from error
        return excess <= 0


def _unlink_unused(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if _flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, path):
                path.unlink()
                return True
        finally:
            os.close(descriptor)
    return False


@contextlib.contextmanager
def _locked(path: Path, wait: bool = False) -> Iterator[int | None]:
    """An exclusive lock on a file, made if absent; its descriptor, or None if another process has it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise explain_os_error(error, path) from error
    try:
        got = _flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB, path)
        # the file may have been removed or renamed between opening and locking: then the lock is on something else
        yield descriptor if got and _is_at(descriptor, path) else None
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _flock(descriptor: int, how: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise UserError(f"the file system of {str(path.parent)!r} knows no file locks; name a cache folder on a local disk.") from error
        raise
    return True
