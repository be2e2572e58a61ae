"""The order of training: a pure function of (seed, epoch, position), the same for any number of ranks and workers."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from jasco_pl.seeding import generator, stable_hash


def epoch_order(samples: int, seed: int, epoch: int) -> list[int]:
    """A permutation of the samples."""
    return torch.randperm(samples, generator=generator("order", seed, epoch)).tolist()


def crop_start(frames: int, length: int, seed: int, epoch: int, sample_id: str) -> int:
    """First frame of the crop that an epoch takes from a sample; 0 if the sample is not longer than the crop."""
    spare = frames - length
    return stable_hash("crop", seed, epoch, sample_id) % (spare + 1) if spare > 0 else 0


class GlobalBatches:
    """Batches of one rank. Global batch g of an epoch is the same set of samples however many ranks share it, in however many parts.

    Args:
        samples: size of the data set; a last incomplete batch is left out (a set smaller than a batch is repeated to fill it).
        batch_size: samples an optimiser step over all ranks.
        seed: of the order.
        rank, world_size: which part of every global batch is ours.
        shuffle: keep the index's order if false.
        parts: batches that a rank's share of a global batch is handed out in (gradient accumulation).
    """

    def __init__(
        self, samples: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1, shuffle: bool = True, parts: int = 1
    ) -> None:
        if batch_size % (world_size * parts):
            raise ValueError(f"the global batch of {batch_size} does not divide by {world_size} ranks times {parts} parts.")
        self.samples, self.batch_size, self.seed, self.shuffle = samples, batch_size, seed, shuffle
        self.rank, self.world_size, self.parts = rank, world_size, parts

    def __len__(self) -> int:
        """Global batches of an epoch."""
        return max(1, self.samples // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[tuple[int, int]]]:
        """(epoch, sample) pairs of this rank's batches from global batch `start` on, `parts` batches each."""
        order = epoch_order(self.samples, self.seed, epoch) if self.shuffle else list(range(self.samples))
        share = self.batch_size // (self.world_size * self.parts)
        for batch in range(start, len(self)):
            for part in range(self.parts):
                first = batch * self.batch_size + (self.rank * self.parts + part) * share
                yield [(epoch, order[position % self.samples]) for position in range(first, first + share)]
