"""Checksums that files carry in themselves, so that they come and go together; crc32, which finds every flipped bit, at 1 GB/s.

JSON begins with one of its whole text, a safetensors file has one of names, types, shapes and bytes in its metadata, where other readers
pass over it, and `torch.save` writes one for everything it stores.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path, json_bytes

KEY = "crc32"
_SEAL = re.compile(rb'\{\s*"crc32":\s*"([^"]*)(?:"|\Z)')
_OPEN = "00000000"
_BLOCK = 1 << 20


class DamagedError(UserError):
    """A file fails the checksum that it carries."""


def sealed_json(data: Mapping[str, Any]) -> bytes:
    """A JSON object whose first entry is a checksum of its text, taken with that entry at zero."""
    text = json_bytes({KEY: _OPEN, **{key: value for key, value in data.items() if key != KEY}})
    return text.replace(_OPEN.encode(), b"%08x" % zlib.crc32(text), 1)


def check_seal(text: bytes, where: str) -> bool:
    """Whether JSON carries a checksum: `sealed_json` writes one, versions before it did not.

    Raises:
        DamagedError: it fails it, or the checksum is none.
    """
    found = _SEAL.match(text)
    if found is None:
        return False
    first, last = found.span(1)
    whole = zlib.crc32(memoryview(text)[last:], zlib.crc32(_OPEN.encode(), zlib.crc32(text[:first])))
    if found[1] != b"%08x" % whole:
        raise DamagedError(
            f"{where!r} fails its checksum: it is damaged, or was altered by hand, in which case its entry {KEY!r} is to be taken out."
        )
    return True


def tensors_crc32(tensors: Mapping[str, Tensor]) -> int:
    """Of names, types, shapes and bytes, in the order of the names."""
    whole = 0
    for name, tensor in sorted(tensors.items()):
        whole = zlib.crc32(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode(), whole)
        whole = zlib.crc32(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data, whole)
    return whole


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file with a checksum, whole or not at all; raises WriteError if it cannot be written."""
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {KEY: f"{tensors_crc32(tensors):08x}"})


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read a safetensors file; one without a checksum, of a version before or of others, as it is.

    Raises:
        OSError: it cannot be read. ValueError: it is none, truncated, or fails its checksum.
    """
    try:
        with safe_open(path, "pt", backend="pread") as file:  # a mapped file that is truncated meanwhile would end the process
            told = (file.metadata() or {}).get(KEY)
            tensors = file.get_tensors()
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    if told is not None and told != f"{tensors_crc32(tensors):08x}":
        raise ValueError("it fails its checksum")
    return tensors


def has_checksum(path: str | Path) -> bool:
    """Whether a safetensors file carries a checksum; raises as `load_tensors`, but looks at no tensor."""
    try:
        with safe_open(path, "pt", backend="pread") as file:
            return KEY in (file.metadata() or {})
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def check_zip(file: IO[bytes]) -> None:
    """Compare the checksums of all that `torch.save` stored in a file, which PyTorch itself does not.

    Raises:
        ValueError: one differs, or it is no such file.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as stored:
                    while stored.read(_BLOCK):
                        pass
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise ValueError(str(error)) from error
    file.seek(0)
