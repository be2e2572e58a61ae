"""Random numbers as pure functions of a key and a position, many keys at once, the same on a CPU and on a GPU.

The counter-based generator Squares (B. Widynski, arXiv 2004.06278) in integer tensor operations: no state, nothing a sample is drawn in
Python, and nothing that a CUDA graph could not hold.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from jasco_pl.system.seeding import stable_hash

LOW = 0xFFFFFFFF


def _turned(words: Tensor) -> Tensor:
    """Their halves exchanged."""
    return ((words >> 32) & LOW) | (words << 32)


def squares(counters: Tensor | int, keys: Tensor) -> Tensor:
    """64 random bits for every counter and key (broadcast), int64: five rounds of squaring, products modulo 2^64."""
    first = counters * keys
    second = first + keys
    words = _turned(first * first + first)
    words = _turned(words * words + second)
    words = _turned(words * words + first)
    last = words * words + second
    words = _turned(last)
    return last ^ (((words * words + first) >> 32) & LOW)


def refined(keys: Tensor, what: str, numbers: Tensor | int = 0) -> Tensor:
    """Keys for a purpose and a number each, int64 [B] from keys [B]: as good as unrelated, even where `keys` count upwards."""
    return squares(numbers + 1, keys ^ stable_hash("draw", what))


def bits(keys: Tensor, what: str, count: int) -> Tensor:
    """64 bits each, int64 [B, count], for keys [B] and a purpose: purposes do not depend on one another."""
    return squares(torch.arange(1, count + 1, device=keys.device), refined(keys, what)[:, None])


def uniform(keys: Tensor, what: str, count: int = 1) -> Tensor:
    """Uniform in [0, 1), float32 [B, count], in steps of 2^-24."""
    return ((bits(keys, what, count) >> 40) & 0xFFFFFF).float() * 2.0**-24


def below(keys: Tensor, what: str, limits: Tensor) -> Tensor:
    """Integers from 0 to limits [B] - 1, int64 [B], limits from 1 to 2^31."""
    return (((bits(keys, what, 1)[:, 0] >> 32) & LOW) * limits) >> 32


def normal(keys: Tensor, what: str, *shape: int) -> Tensor:
    """Standard normal, float32 [B, *shape], two of every 64 bits (Box and Muller).

    Computed in float64: the last bits of float32 functions differ from machine to machine, and with the place in a batch.
    """
    count = math.prod(shape)
    words = bits(keys, what, (count + 1) // 2)
    radius = ((words >> 32) & LOW).double().add_(0.5).mul_(2.0**-32).log_().mul_(-2).sqrt_()
    angle = (words & LOW).double().mul_(2.0**-32 * 2 * math.pi)
    pairs = torch.stack([(radius * angle.cos()).float(), (radius * angle.sin()).float()], dim=-1)
    return pairs.flatten(1)[:, :count].unflatten(1, shape)
