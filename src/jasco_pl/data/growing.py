"""Training on a set that grows meanwhile: an epoch takes its samples from those that were there when it began."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from jasco_pl.data.index import INDEX
from jasco_pl.data.loader import ResumableLoader
from jasco_pl.data.schema import Batch
from jasco_pl.system.errors import UserError

Open = Callable[[ResumableLoader | None], ResumableLoader]
"""The loader of all that a folder holds now, given the former one, whose data need not be read again."""


class GrowingLoader:
    """Endless epochs of a set to which shards are added behind those that are there.

    What an epoch draws is a function of seed, epoch, id and the number of samples, which is part of the state: a run that goes on within
    an epoch ends it with the samples that it began with, whatever has been added since.

    Args:
        folder: of the set.
        open: opens it.
        agree: number of samples that this process sees -> what all processes use; called by all of them alike.
    """

    def __init__(self, folder: Path, open: Open, agree: Callable[[int], int] = int) -> None:
        self.folder, self.open, self.agree = folder, open, agree
        self._seen = self._mark()
        self.loader = open(None)
        self.sizes: list[tuple[int, int]] = []
        self._use(agree(len(self.loader.dataset)))

    def look(self) -> None:
        """Between two epochs: take in what has been added since the last look.

        Raises:
            UserError: processes do not see the same, or what `open` says.
        """
        if (mark := self._mark()) != self._seen:
            former = self.loader
            opened = self.open(former)
            opened.epoch, opened.batch = former.epoch, former.batch
            self.loader, self._seen = opened, mark
        wanted, former_size = self.agree(len(self.loader.dataset)), self.samples
        if wanted > len(self.loader.dataset):
            raise UserError(f"this process sees {len(self.loader.dataset)} samples in {str(self.folder)!r}, another one {wanted}.")
        if wanted != former_size:
            tqdm.write(f"epoch {self.loader.epoch}: the set has grown from {former_size} to {wanted} samples", file=sys.stderr)
            self._use(wanted)

    @property
    def samples(self) -> int:
        """Of the present epoch."""
        return self.sizes[-1][1]

    def _mark(self) -> tuple[int, int, int]:
        """Changes with the index."""
        try:
            state = os.stat(self.folder / INDEX)
        except OSError:
            return 0, 0, 0  # whoever opens it says so
        return state.st_ino, state.st_size, state.st_mtime_ns

    def _use(self, samples: int) -> None:
        """From the present epoch on."""
        self.loader.batches = self.loader.batches.first(samples)
        self.sizes = [(epoch, size) for epoch, size in self.sizes if epoch < self.loader.epoch] + [(self.loader.epoch, samples)]

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.loader)

    def state_dict(self) -> dict[str, Any]:
        """Where the next batch comes from; the number of samples from which epoch on; the last sample of the present one."""
        return {**self.loader.state_dict(), "sizes": list(self.sizes), "last": self.loader.dataset.reader.ids[self.samples - 1]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there, with the samples of that epoch; at the beginning of one, with all that there are.

        Raises:
            UserError: they are not there any more.
        """
        place = {"epoch": state["epoch"], "batch": state["batch"]}
        if "sizes" not in state:  # of a run whose set did not grow
            return self.loader.load_state_dict(place)
        self.sizes = [(int(epoch), int(samples)) for epoch, samples in state["sizes"]]
        everything, ids = len(self.loader.dataset), self.loader.dataset.reader.ids
        if everything < self.samples or ids[self.samples - 1] != state["last"]:
            was = f"its sample {self.samples} was {state['last']!r}"
            raise UserError(f"{str(self.folder)!r} is not the set that the run began with: {was}.")
        self.loader.batches = self.loader.batches.first(self.samples)
        self.loader.load_state_dict(place)
        if self.loader.batch == 0 and (wanted := self.agree(everything)) != self.samples:
            self._use(wanted)
        return None
