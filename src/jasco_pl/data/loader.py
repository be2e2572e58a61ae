"""Endless epochs of batches that go on exactly where they were left: through worker processes, or out of memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from jasco_pl.data.crops import CropDataset, collate
from jasco_pl.data.resident import ResidentSet
from jasco_pl.data.sampler import EpochBatches, GlobalBatches
from jasco_pl.data.schema import Batch
from jasco_pl.system.errors import UserError


class _Guarded(Dataset[Any]):
    """Hands a damaged sample on as a value: raised in a worker process, its sentence would come wrapped in two tracebacks."""

    def __init__(self, dataset: Dataset[Batch]) -> None:
        self.dataset = dataset

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Any:
        try:
            return self.dataset.__getitems__(keys) if isinstance(self.dataset, CropDataset) else [self.dataset[key] for key in keys]
        except UserError as error:
            return error


def _collate_guarded(items: Sequence[Batch] | UserError) -> Batch | UserError:
    return items if isinstance(items, UserError) else collate(items)


def _leave_signals_to_the_parent(worker: int) -> None:
    """A scheduler that stops a job signals its process group; a loader that dies of it would end the training before it has saved."""
    os.setpgrp()


class _Keys(Sampler[list[tuple[int, int]]]):
    """Batches of the epoch that it was given last."""

    epoch: EpochBatches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.epoch)

    def __len__(self) -> int:
        return len(self.epoch)


class ResumableLoader:
    """Endless epochs of batches with a state of two integers, the same on every rank.

    The state counts global batches handed out, not batches that workers have prepared; Lightning stores it in the checkpoint and gives it
    back. It does not know into how many parts a global batch is split: a run may go on with another number of processes or parts.
    Batches that are not shuffled (validation) are the same from the first on, every time.

    Worker processes of a folder that is trained on stay from epoch to epoch. Those of a URL start anew, since they are told by then what to
    fetch ahead.
    """

    def __init__(self, dataset: CropDataset, batches: GlobalBatches, workers: int) -> None:
        self.dataset, self.batches, self.workers = dataset, batches, workers
        self.epoch, self.batch = 0, 0
        self._keys = _Keys()
        self._workers_loader: DataLoader[Any] | None = None

    def __len__(self) -> int:
        return len(self.batches) * self.batches.parts

    def __iter__(self) -> Iterator[Batch]:
        epoch, start = (self.epoch, self.batch) if self.batches.shuffle else (0, 0)
        keys = self.batches.epoch(epoch, start)
        if isinstance(self.dataset, CropDataset) and self.dataset.reader.remote:
            following = [self.batches.epoch(epoch + 1)] if self.batches.shuffle else []
            self.dataset.reader.expect(*(batches.positions.ravel() for batches in (keys, *following)))
        for done, batch in enumerate(self._read(keys), start * self.batches.parts + 1):
            # before the yield: Lightning stops asking after len() batches, code behind the last yield would never run
            self.epoch, self.batch = (epoch, done // self.batches.parts) if done < len(self) else (epoch + 1, 0)
            yield batch

    def _read(self, keys: EpochBatches) -> Iterator[Batch]:
        """The batches of these (epoch, position) pairs, in order."""
        self._keys.epoch = keys
        loader = self._workers_loader or self._made()
        for batch in loader:
            if isinstance(batch, UserError):
                raise batch
            yield batch

    def _made(self) -> DataLoader[Any]:
        remote = isinstance(self.dataset, CropDataset) and self.dataset.reader.remote is not None
        stay = self.workers > 0 and self.batches.shuffle and not remote
        loader: DataLoader[Any] = DataLoader(
            _Guarded(self.dataset),
            batch_sampler=self._keys,
            collate_fn=_collate_guarded,
            num_workers=self.workers,
            worker_init_fn=_leave_signals_to_the_parent,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=stay,
        )
        if stay:
            self._workers_loader = loader
        return loader

    def state_dict(self) -> dict[str, int]:
        """Where the next batch comes from."""
        return {"epoch": self.epoch, "batch": self.batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there; from the next epoch, if this one has fewer batches now."""
        self.epoch, self.batch = int(state["epoch"]), int(state["batch"])
        if self.batch >= len(self.batches):
            self.epoch, self.batch = self.epoch + 1, 0


class ResidentLoader(ResumableLoader):
    """The same batches out of a set that lies in memory."""

    def __init__(self, resident: ResidentSet, batches: GlobalBatches) -> None:
        super().__init__(resident.dataset, batches, workers=0)
        self.resident = resident

    def _read(self, keys: EpochBatches) -> Iterator[Batch]:
        return map(self.resident, keys)
