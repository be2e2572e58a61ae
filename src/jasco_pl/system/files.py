"""Files that are either whole or absent."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jasco_pl.system.errors import UserError, WriteError

REASONS = {
    errno.EACCES: "no permission to write there",
    errno.EPERM: "no permission to write there",
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "a folder stands at that path",
    errno.EEXIST: "a file stands where a folder is needed",
    errno.ENAMETOOLONG: "the name is longer than the file system takes",
    errno.ELOOP: "links lead in a circle there",
}


_LONGEST_NAME = 255  # bytes


def explain_os_error(error: OSError, path: str | os.PathLike[str]) -> WriteError:
    """Turn an OSError met while writing `path` into one sentence."""
    reason = REASONS.get(error.errno or 0, error.strerror or str(error))
    return WriteError(f"cannot write {os.fspath(path)!r}: {reason}.")


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise UserError where nothing can be written at `path` or below it, before work that would be lost; nothing is left there.

    Folders that are not there yet are made when they are needed; the nearest one that is there counts.
    """
    place = Path(path)
    try:
        while not os.path.lexists(place) and place != place.parent:
            place = place.parent
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "")
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise explain_os_error(error, path) from error


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed to `path`, on any error removed.

    The temporary name keeps the suffix, so that libraries which look at it (soundfile, matplotlib) work.

    Raises:
        UserError: the folder cannot be made or written, or the disk is full.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if len(os.fsencode(target.name)) > _LONGEST_NAME:  # here, because the temporary name may be shorter
            raise OSError(errno.ENAMETOOLONG, "")
        stem = os.fsdecode(os.fsencode(target.stem)[: _LONGEST_NAME - 64])
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{stem}.", suffix=".part" + target.suffix[-32:])
        os.close(handle)
    except OSError as error:
        raise explain_os_error(error, target) from error
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError as error:
        raise explain_os_error(error, target) from error
    except Exception as error:
        if not isinstance(error, UserError) and _disk_is_full(error, target.parent):
            raise explain_os_error(OSError(errno.ENOSPC, ""), target) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def is_bare(name: object) -> bool:
    """Whether it is the name of a file, and of nothing outside of the folder that it is looked for in."""
    return isinstance(name, str) and name not in ("", ".", "..") and not {"/", "\\", "\0"} & set(name)


def is_unicode(text: str) -> bool:
    """Whether it can be written as UTF-8: arguments and names of files that are other bytes cannot, until they are bytes again."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def replaceable(folder: str | os.PathLike[str], mark: str) -> bool:
    """Whether nothing would be lost with a folder: it is not there, it is empty, or a file `mark` says that it was made here."""
    path = Path(folder)
    return not path.exists() or (path / mark).is_file() or (path.is_dir() and not any(path.iterdir()))


@contextlib.contextmanager
def atomic_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new folder beside `folder`; on success it takes the place of what is there, on any error it is removed.

    Raises:
        UserError: it cannot be made or written, or the disk is full.
    """
    target = Path(folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.", suffix=".part.d") as name:
            fresh, former = Path(name) / "fresh", Path(name) / "former"
            fresh.mkdir()
            yield fresh
            if target.exists():
                target.rename(former)
            fresh.rename(target)
    except OSError as error:
        raise explain_os_error(error, target) from error


def _disk_is_full(error: Exception, folder: Path) -> bool:
    """Whether a library's own exception means that; torch and libsndfile do not say why a write failed."""
    return "os error 28" in str(error) or shutil.disk_usage(folder).free < 2**16


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Delete the temporary files and folders of processes that were killed; only where nobody else is writing now."""
    for leftover in Path(folder).glob(".*.part.*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, whole or not at all; raises as `atomic_path`."""
    write_bytes(path, text.encode())


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content`, whole or not at all; raises as `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def json_bytes(data: Any) -> bytes:
    """`data` as the indented JSON of this project's files. Bytes of file names that are no UTF-8 stay, as JSON writes them: \\udce9."""
    return (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode(errors="backslashreplace")


def write_json(path: str | os.PathLike[str], data: Any) -> None:
    """Write `data` as indented JSON, whole or not at all."""
    write_bytes(path, json_bytes(data))


def loads(text: str | bytes) -> Any:
    """`json.loads`, with a ValueError for whatever is no JSON: brackets without end and other encodings than UTF-8 are among it."""
    try:
        return json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None


def user_cache(name: str) -> Path:
    """Where downloaded things of that kind are kept for this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jasco_pl" / name


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def or_beside(name: str, note: str | os.PathLike[str]) -> str:
    """A file that was written down by name in another: as it was written, or of that name beside the other where that alone is there."""
    beside = Path(note).parent / Path(name).name
    return str(beside) if not Path(name).exists() and beside.is_file() else name
