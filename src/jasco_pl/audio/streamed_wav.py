"""WAV files whose writer could not go back to the header: their size stands there as nothing, and the samples go on to the end."""

from __future__ import annotations

import io
import os
import struct
from typing import BinaryIO

_MOST_HEADER = 1 << 20
_LARGEST = 0xFFFFFFF0


class _Patched(io.RawIOBase):
    """A file that begins with other bytes than it does."""

    def __init__(self, file: BinaryIO, head: bytes) -> None:
        self._file, self._head, self._at = file, head, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at}.get(whence)
        self._at = offset + (self._file.seek(0, os.SEEK_END) if start is None else start)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._at < len(self._head):
            part = self._head[self._at : self._at + len(buffer)]
        else:
            self._file.seek(self._at)
            part = self._file.read(len(buffer))
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def close(self) -> None:
        self._file.close()
        super().close()


def open_streamed(path: bytes) -> io.RawIOBase | None:
    """The file with its true size in the header, if it is a WAV whose samples are said to be none; None where it is as it should be.

    Chunks that follow are no samples: then there are none indeed.

    Raises:
        OSError: it cannot be opened.
    """
    file = open(path, "rb")  # noqa: SIM115  goes on with what is given back
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
        place = _empty_data(file, size)
        if place is not None:
            file.seek(0)
            patched = bytearray(file.read(place + 8))
            patched[:4] = b"RIFF"
            struct.pack_into("<I", patched, 4, min(size - 8, _LARGEST))
            struct.pack_into("<I", patched, place + 4, min(size - place - 8, _LARGEST))
            return _Patched(file, bytes(patched))
    file.close()
    return None


def _empty_data(file: BinaryIO, size: int) -> int | None:
    """Where the chunk of samples begins, if it says that it is empty and something else than chunks follows."""
    at, long = 12, None
    while at + 8 <= min(size, _MOST_HEADER):
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        if name == b"ds64":
            long = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))[1]
        if name == b"data":
            empty = length == 0 or (length == 0xFFFFFFFF and long == 0)
            return at if empty and size > at + 8 and not _only_chunks(file, at + 8, size) else None
        at += 8 + length + length % 2
    return None


def _only_chunks(file: BinaryIO, at: int, size: int) -> bool:
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        if not name.strip().isalnum() or not name.isascii():
            return False
        at += 8 + length + length % 2
    return at in (size, size + 1)
