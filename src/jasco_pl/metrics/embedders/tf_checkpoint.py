"""Read the variables of a TensorFlow checkpoint without TensorFlow.

A checkpoint (version 2, "tensor bundle") is an index and data files. The index is a LevelDB table (table_format.md of LevelDB): sorted
blocks of prefix-compressed keys, found through an index block that the footer names. Its values are BundleEntryProto messages
(tensorflow/core/protobuf/tensor_bundle.proto): type, shape, and where in the data the bytes lie.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_FLOAT32 = 1  # tensorflow/core/framework/types.proto


def read_checkpoint(prefix: str | os.PathLike[str]) -> dict[str, NDArray[np.float32]]:
    """The float32 variables of the checkpoint `PREFIX.index` and `PREFIX.data-00000-of-00001`, by name.

    Variables of other types are left out.

    Raises:
        ValueError: the index is no uncompressed table, or the data ends early.
        OSError: the files cannot be read.
    """
    index = Path(f"{os.fspath(prefix)}.index").read_bytes()
    data = Path(f"{os.fspath(prefix)}.data-00000-of-00001").read_bytes()
    if len(index) < _FOOTER or int.from_bytes(index[-8:], "little") != _MAGIC:
        raise ValueError("the index is no TensorFlow checkpoint")
    footer = index[-_FOOTER:]
    _, position = _handle(footer, 0)  # of the meta index
    found = {}
    for _, block in _entries(index, _handle(footer, position)[0]):
        for key, value in _entries(index, _handle(block, 0)[0]):
            entry = _message(value)
            if key and entry.get(1) == [_FLOAT32]:
                found[key.decode()] = _tensor(entry, data)
    return found


def _tensor(entry: dict[int, list[int | bytes]], data: bytes) -> NDArray[np.float32]:
    shape = [_integer(_message(_bytes(size)), 1) for size in _message(_bytes(entry.get(2, [b""])[0])).get(2, [])]
    start, size = _integer(entry, 4), _integer(entry, 5)
    if start + size > len(data) or size != 4 * int(np.prod(shape)) or _integer(entry, 3):
        raise ValueError("the data does not hold what the index lists")
    return np.frombuffer(data[start : start + size], dtype="<f4").reshape(shape)


def _entries(table: bytes, handle: tuple[int, int]) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of the block at (offset, size)."""
    offset, size = handle
    block = table[offset : offset + size]
    if offset + size >= len(table) or table[offset + size] != 0:
        raise ValueError("the index is damaged or compressed")
    end = size - 4 - 4 * int.from_bytes(block[-4:], "little")  # without the restart points, by which one would seek
    key, position = b"", 0
    while position < end:
        shared, position = _varint(block, position)
        unshared, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + unshared]
        position += unshared
        yield key, block[position : position + length]
        position += length


def _handle(buffer: bytes, position: int) -> tuple[tuple[int, int], int]:
    offset, position = _varint(buffer, position)
    size, position = _varint(buffer, position)
    return (offset, size), position


def _message(buffer: bytes) -> dict[int, list[int | bytes]]:
    """A protocol buffer's fields by number: integers, and bytes of what is nested."""
    fields: dict[int, list[int | bytes]] = {}
    position = 0
    while position < len(buffer):
        tag, position = _varint(buffer, position)
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value, position = _varint(buffer, position)
        else:
            length, position = _varint(buffer, position) if kind == 2 else ({1: 8, 5: 4}[kind], position)
            value = buffer[position : position + length]
            position += length
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _varint(buffer: bytes, position: int) -> tuple[int, int]:
    result, shift = 0, 0
    while True:
        if position >= len(buffer):
            raise ValueError("the index ends early")
        byte = buffer[position]
        result |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return result, position


def _integer(fields: dict[int, list[int | bytes]], number: int) -> int:
    value = fields.get(number, [0])[0]
    if not isinstance(value, int):
        raise ValueError("the index is damaged")
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("the index is damaged")
    return value
