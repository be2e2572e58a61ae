"""The order of training, and what an epoch takes of a sample: pure functions of (seed, epoch, id), whatever ranks, workers and batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jasco_pl.system.draws import below, refined, uniform
from jasco_pl.system.seeding import generator, stable_hash


def epoch_order(samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """A permutation of the samples."""
    return torch.randperm(samples, generator=generator("order", seed, epoch)).numpy()


def windowed_order(shards: Sequence[int], window: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """A permutation of the samples that is through with a few shards before it begins others.

    Args:
        shards: samples in each shard; positions count through them in this order.
        window: shards whose samples are shuffled together. Which shards meet in a window changes from epoch to epoch.
        seed, epoch: as for `epoch_order`.
    """
    draw, counts = generator("windows", seed, epoch), np.asarray(shards, np.int64)
    turns = torch.randperm(len(counts), generator=draw).numpy()
    ends = np.cumsum(counts[turns])  # of the shards in the order of their turns
    order = np.repeat(np.cumsum(counts)[turns] - ends, counts[turns]) + np.arange(counts.sum())
    start = 0
    for end in [*ends[window - 1 :: window].tolist(), len(order)]:
        if end > start:
            order[start:end] = order[start:end][torch.randperm(end - start, generator=draw).numpy()]
            start = end
    return order


@dataclass(frozen=True)
class Drawn:
    """What is taken of B samples: tensors [B].

    Attributes:
        keys: of all else that is drawn for them, int64.
        starts: first frames of the crops.
        captions: which of their captions.
        alternatives: field -> true where the other field is taken in its place.
        by_section: true where the captions of sections are taken in place of one of the whole; None where nobody asks.
    """

    keys: Tensor
    starts: Tensor
    captions: Tensor
    alternatives: dict[str, Tensor]
    by_section: Tensor | None = None

    def section_captions(self, counts: Tensor) -> Tensor:
        """Which caption of each section: [B, S] from the numbers of captions [B, S]; 0 where there is none."""
        numbers = torch.arange(counts.shape[1], device=counts.device)
        keys = refined(self.keys[:, None], "section", numbers).flatten()
        return below(keys, "caption", counts.clamp(min=1).flatten()).view_as(counts)


@dataclass(frozen=True)
class CropDraws:
    """How crops are drawn.

    Attributes:
        length: of a crop in frames.
        seed: of everything.
        shares: field -> share of the crops that take another field in its place.
        random: false takes every sample's beginning and its first caption (validation).
        by_section: share of the crops that take captions of sections.
    """

    length: int
    seed: int
    shares: Mapping[str, float]
    random: bool = True
    by_section: float = 0.0

    def __call__(self, names: Tensor, epochs: Tensor | int, frames: Tensor, captions: Tensor) -> Drawn:
        """Draw for samples, given tensors [B] or one epoch for all.

        Args:
            names: hashes of their ids.
            epochs: which time they are seen.
            frames: their lengths. A sample that is not longer than a crop is taken from its beginning.
            captions: how many they have.
        """
        keys = refined(names ^ stable_hash("sample", self.seed), "epoch", epochs)
        spare = (frames - self.length).clamp(min=0)
        starts = below(keys, "crop", spare + 1) if self.random else torch.zeros_like(keys)
        choices = below(keys, "caption", captions.clamp(min=1)) if self.random else torch.zeros_like(keys)
        taken = {field: uniform(keys, f"instead of {field}")[:, 0] < share for field, share in self.shares.items()}
        by_section = uniform(keys, "captions by section")[:, 0] < self.by_section if self.by_section else None
        return Drawn(keys, starts, choices, taken, by_section)


@dataclass(frozen=True)
class EpochBatches:
    """Batches of one rank and one epoch, each a list of (epoch, sample) pairs; the pairs are made batch by batch.

    Attributes:
        number: of the epoch.
        positions: samples of the batches, [B, batch].
    """

    number: int
    positions: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for batch in self.positions:
            yield [(self.number, position) for position in batch.tolist()]


class GlobalBatches:
    """Batches of one rank. Global batch g of an epoch is the same set of samples however many ranks share it, in however many parts.

    Args:
        samples: size of the data set; a last incomplete batch is left out (a set smaller than a batch is repeated to fill it).
        batch_size: samples an optimiser step over all ranks.
        seed: of the order.
        rank, world_size: which part of every global batch is ours.
        shuffle: keep the index's order if false.
        parts: batches that a rank's share of a global batch is handed out in (gradient accumulation).
        shards, window: samples in each shard and how many shards are shuffled together (`windowed_order`); a window of 0 shuffles all.
    """

    def __init__(
        self,
        samples: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        parts: int = 1,
        shards: Sequence[int] = (),
        window: int = 0,
    ) -> None:
        if batch_size % (world_size * parts):
            raise ValueError(f"the global batch of {batch_size} does not divide by {world_size} ranks times {parts} parts.")
        self.samples, self.batch_size, self.seed, self.shuffle = samples, batch_size, seed, shuffle
        self.rank, self.world_size, self.parts = rank, world_size, parts
        self.shards, self.window = shards, window

    def __len__(self) -> int:
        """Global batches of an epoch."""
        return max(1, self.samples // self.batch_size)

    def first(self, samples: int) -> GlobalBatches:
        """Those of the first samples alone, of as many shards as they fill."""
        begun = int(np.searchsorted(np.cumsum(self.shards), samples)) + 1
        shards = list(self.shards[:begun])
        if shards:
            shards[-1] -= max(0, sum(shards) - samples)
        shape = (self.rank, self.world_size, self.shuffle, self.parts)
        return GlobalBatches(samples, self.batch_size, self.seed, *shape, shards, self.window)

    def epoch(self, epoch: int, start: int = 0) -> EpochBatches:
        """This rank's batches from global batch `start` on, `parts` batches each."""
        share = self.batch_size // (self.world_size * self.parts)
        order, count = self._order(epoch), len(self) * self.batch_size
        if count > self.samples:
            order = np.resize(order, count)  # repeated
        batches = order[:count].reshape(-1, self.world_size, self.parts, share)
        return EpochBatches(epoch, batches[start:, self.rank].reshape(-1, share))

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if not self.shuffle:
            return np.arange(self.samples)
        if self.window:
            return windowed_order(self.shards, self.window, self.seed, epoch)
        return epoch_order(self.samples, self.seed, epoch)
