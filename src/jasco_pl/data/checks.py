"""Reading the fields of a sample out of an open shard, none of them unchecked."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from jasco_pl.system.errors import UserError


class CorruptShardError(UserError):
    """A shard is missing, truncated or altered; the message names file, sample and field."""


def checksum(tensor: Tensor) -> int:
    """crc32 of the tensor's bytes."""
    return zlib.crc32(memoryview(tensor.contiguous().view(torch.uint8).numpy()))  # type: ignore[arg-type]


def read_fields(handle: Any, path: str | Path, entry: dict[str, Any], fields: Collection[str] | None = None) -> dict[str, Tensor]:
    """The tensors of one sample.

    Args:
        handle: the shard, opened by safetensors.
        path: its name, for messages.
        entry: of the sample in the index: `id` and `crc32` of every field.
        fields: the ones wanted, where the sample has them; None for all.

    Raises:
        CorruptShardError: the bytes of a field differ from what was written, or cannot be read.
    """
    tensors = {}
    try:
        for field, crc in entry["crc32"].items():
            if fields is not None and field not in fields:
                continue
            tensor = handle.get_tensor(f"{entry['id']}/{field}")
            if checksum(tensor) != crc:
                raise CorruptShardError(f"the shard {str(path)!r} is damaged: sample {entry['id']!r}, field {field!r} fails its checksum.")
            tensors[field] = tensor
    except (SafetensorError, OSError) as error:
        raise CorruptShardError(f"the shard {str(path)!r} is damaged: sample {entry['id']!r} cannot be read ({error}).") from error
    return tensors
