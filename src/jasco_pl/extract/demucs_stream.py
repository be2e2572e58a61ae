"""Demucs over audio of any length: what `demucs.apply.apply_model` does with a whole song, segment after segment of a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from demucs.apply import BagOfModels, TensorChunk, apply_model
from numpy.typing import NDArray
from torch import Tensor

OVERLAP = 0.25  # of a segment, Demucs' own


def segment_length(model: BagOfModels) -> int:
    """Samples that the model hears at once: the shortest of its parts' segments."""
    return min(int(part.samplerate * part.segment) for part in model.models)  # type: ignore[operator, arg-type]


def stride(model: BagOfModels) -> int:
    """Samples from one segment to the next."""
    return int((1 - OVERLAP) * segment_length(model))


def stems(model: BagOfModels, blocks: Iterable[NDArray[np.float32]], mean: float, std: float, device: torch.device) -> Iterator[Tensor]:
    """Separate a stream.

    As Demucs does, segments overlap by a quarter and are cross-faded with triangles. Its random shifts are left out: the same audio gives
    the same stems.

    Args:
        model: on the device.
        blocks: stereo at the model's rate, [n, 2] each.
        mean, std: of the mean of both channels over the whole file; the model hears (x - mean) / std.
        device: where to compute.

    Yields:
        The model's sources [sources, 2, n], divided by `std` and without `mean`, one after the other.
    """
    length, step = segment_length(model), stride(model)
    rising = torch.arange(1, length // 2 + 1)
    weight = torch.cat([rising, torch.arange(length - length // 2, 0, -1)]).float()
    weight = weight / weight.max()
    total = torch.zeros(len(model.sources), 2, length)
    weights = torch.zeros(length)
    for mix, offset in _segments(blocks, length, step):
        chunk = TensorChunk(((mix - mean) / std)[None], offset, length)
        heard = apply_model(model, chunk, shifts=0, split=False, device=device)[0].cpu()  # type: ignore[arg-type]
        there = heard.shape[-1]
        total[..., :there] += weight[:there] * heard
        weights[:there] += weight[:there]
        ready = min(step, there)
        yield total[..., :ready] / weights[:ready]
        total = torch.cat([total[..., step:], torch.zeros(len(model.sources), 2, step)], dim=-1)
        weights = torch.cat([weights[step:], torch.zeros(step)])


def _segments(blocks: Iterable[NDArray[np.float32]], length: int, step: int) -> Iterator[tuple[Tensor, int]]:
    """The stream around every segment [2, n], a segment more on either side where there is one, and where in it the segment begins."""
    stream = iter(blocks)
    buffer, first, offset, ended = np.zeros((0, 2), dtype=np.float32), 0, 0, False
    while True:
        pieces, end = [buffer], first + len(buffer)
        while not ended and end < offset + 2 * length:
            block = next(stream, None)
            if block is None:
                ended = True
            else:
                pieces.append(block)
                end += len(block)
        buffer = np.concatenate(pieces)
        if offset >= end:
            return
        yield torch.from_numpy(buffer).t(), offset - first
        offset += step
        drop = max(0, offset - length - first)
        buffer, first = buffer[drop:], first + drop
