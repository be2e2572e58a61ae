"""How many clips are made at a time, so that a thousand of them take no more memory than some."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch

from jasco_pl.network.flow.solver import Progress
from jasco_pl.network.model import JascoModel

CPU_BYTES = 2 << 30
GPU_SHARE = 0.25  # of its memory
MOST = 128  # more are no quicker

_Item = TypeVar("_Item")


def clips_at_once(model: JascoModel, frames: int, rows: int) -> int:
    """A function of model, length and kind of device alone: a clip is the same in any batch but for rounding, and that stays the same too.

    Args:
        model: on its device.
        frames: that the network sees at once.
        rows: terms of the guidance, which are evaluated side by side.
    """
    device = model.latent_mean.device
    room = CPU_BYTES if device.type != "cuda" else GPU_SHARE * torch.cuda.get_device_properties(device).total_memory
    return max(1, min(MOST, int(room / bytes_a_clip(model, frames, rows))))


def in_batches(items: Sequence[_Item], most: int, alike: Callable[[_Item], Any]) -> Iterator[list[_Item]]:
    """Items in their order, up to `most` neighbours together of which `alike` says the same."""
    for _, together in itertools.groupby(items, alike):
        same = list(together)
        yield from (same[start : start + most] for start in range(0, len(same), max(most, 1)))


def bytes_a_clip(model: JascoModel, frames: int, rows: int) -> int:
    """About what the network takes for a clip: inputs of the first half of the layers wait for the skips, the rest is one layer's own."""
    config = model.config.transformer
    tokens = -(-frames // config.frames_per_token)
    channels = config.width * (config.layers // 2 + 12) + 2 * config.feed_forward
    return 2 * 4 * rows * tokens * channels  # twice: what was measured lies between once and that


def part_of(progress: Progress | None, start: float, share: float) -> Progress | None:
    """What a part of the work tells its progress to, which begins at `start` of the whole and is a `share` of it."""
    return None if progress is None else lambda done: progress(min(start + share * done, 1.0))
