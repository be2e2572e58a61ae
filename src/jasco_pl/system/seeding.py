"""Randomness as a pure function of names and numbers: same seed, same item, same result, whatever the batch around it."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def stable_hash(*parts: int | str) -> int:
    """63-bit hash of the parts, the same on every machine and in every process."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*parts: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator seeded with the hash of the parts."""
    return torch.Generator(device).manual_seed(stable_hash(*parts))


def item_noise(keys: list[int], frames: int, channels: int, device: torch.device | str = "cpu") -> Tensor:
    """Standard normal noise [B, frames, channels], every item from its own key alone."""
    noise = torch.empty(len(keys), frames, channels, device=device)
    for row, key in zip(noise, keys, strict=True):
        row.normal_(generator=torch.Generator(device).manual_seed(key))
    return noise
