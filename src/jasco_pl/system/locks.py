"""A folder that one process works in at a time."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from jasco_pl.system.errors import UserError
from jasco_pl.system.files import explain_os_error

log = logging.getLogger(__name__)

LOCK = ".lock"
_held: set[int] = set()


def _leave_to_the_parent() -> None:
    """A forked loader that outlives a killed training for a moment must not keep the next one out."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_leave_to_the_parent)


@contextlib.contextmanager
def alone(folder: str | Path, taken: str, name: str = LOCK) -> Iterator[None]:
    """Make a folder and hold it against other processes; the kernel lets go when this one ends in whatever way.

    What was made for it and is still empty at the end is removed.

    Args:
        folder: in which an empty file stands for the lock, meanwhile.
        taken: the sentence for whoever finds it held.
        name: of that file.

    Raises:
        UserError: `taken`, or the folder cannot be made.
    """
    path = Path(folder) / name
    made = [parent for parent in path.parents if not parent.exists()]
    descriptor = _take(path)
    if descriptor is None:
        raise UserError(taken)
    _held.add(descriptor)
    try:
        yield
    finally:
        if descriptor in _held:  # not in a forked process
            _held.remove(descriptor)
            path.unlink(missing_ok=True)  # before it is let go: whoever has it open by now looks again
            with contextlib.suppress(OSError):
                for parent in made:
                    parent.rmdir()
            os.close(descriptor)


def _take(path: Path) -> int | None:
    """A descriptor that holds the lock; None where another has it."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise explain_os_error(error, path.parent) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            log.warning("the file system of %s knows no locks (%s): see to it that nobody else works there", path.parent, error.strerror)
            return descriptor
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)  # whoever held it has removed it just now
