from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from jasco_pl.metrics.embedders.musicnn import read_checkpoint


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """A LevelDB block, keys prefix-compressed, one restart point."""
    out, previous = b"", b""
    for key, value in entries:
        shared = next((n for n, (a, b) in enumerate(zip(key, previous, strict=False)) if a != b), min(len(key), len(previous)))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        previous = key
    return out + struct.pack("<II", 0, 1)


def entry(shape: tuple[int, ...], offset: int, size: int, dtype: int = 1) -> bytes:
    dims = b"".join(b"\x12" + varint(len(dim)) + dim for dim in (b"\x08" + varint(size) for size in shape))
    return b"\x08" + varint(dtype) + b"\x12" + varint(len(dims)) + dims + b"\x20" + varint(offset) + b"\x28" + varint(size) + b"\x35abcd"


def write(folder: Path, variables: dict[str, np.ndarray], extra: list[tuple[bytes, bytes]] | None = None) -> Path:
    """A checkpoint with two data blocks."""
    data, entries = b"", [(b"", b"\x08\x01")]
    for name, value in sorted(variables.items()):
        entries.append((name.encode(), entry(value.shape, len(data), value.nbytes)))
        data += value.astype("<f4").tobytes()
    entries += extra or []
    table, handles = b"", []
    for part in (entries[:2], entries[2:]):
        content = block(part)
        handles.append((part[-1][0], varint(len(table)) + varint(len(content))))
        table += content + b"\x00" + b"crc!"
    index_at, index = len(table), block(handles)
    table += index + b"\x00crc!"
    footer = varint(0) + varint(0) + varint(index_at) + varint(len(index))
    table += footer.ljust(40, b"\x00") + struct.pack("<Q", 0xDB4775248B80FB57)
    (folder / "model.index").write_bytes(table)
    (folder / "model.data-00000-of-00001").write_bytes(data)
    return folder / "model"


VARIABLES = {
    "dense/bias": np.arange(3, dtype=np.float32),
    "dense/kernel": np.arange(600, dtype=np.float32).reshape(200, 3) / 7,
    "dense_1/kernel": -np.ones((2, 1, 4), dtype=np.float32),
    "scale": np.float32(2.5).reshape(()),
}


def test_reads_names_shapes_and_values_across_blocks(tmp_path: Path) -> None:
    integers = (b"step", entry((), 0, 8, dtype=9))
    found = read_checkpoint(write(tmp_path, VARIABLES, [integers]))
    assert found.keys() == VARIABLES.keys()
    for name, value in VARIABLES.items():
        np.testing.assert_array_equal(found[name], value)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    prefix = write(tmp_path, VARIABLES)
    data = tmp_path / "model.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-4])
    with pytest.raises(ValueError, match="does not hold"):
        read_checkpoint(prefix)
    index = tmp_path / "model.index"
    index.write_bytes(index.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match="no TensorFlow checkpoint"):
        read_checkpoint(prefix)
