"""A training of several processes ends when one of them is lost, instead of waiting for it."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
import time
from datetime import timedelta

import lightning
import torch.distributed
from lightning.pytorch.callbacks import Callback
from torch.distributed import PrefixStore, Store, TCPStore

from jasco_pl.system.errors import UserError

LOST = 70  # exit code, EX_SOFTWARE
BROKEN_CONNECTION = re.compile(r"closed by peer|reset by peer|Broken pipe|Connection refused|remote process exited|[Tt]imed out|NCCL")
GO_ON = "the same command goes on from the last checkpoint"


class Heartbeat(Callback):
    """Every process shows now and then that it lives; those left behind say who is missing, and end.

    A collective operation that waits for a lost process ends at once with gloo, after half an hour with NCCL's default, and nobody says
    who is missing. Rank 0 watches all, the others watch rank 0, through the store that the process group met at.

    Args:
        every: seconds between two signs of life.
        patience: seconds without one after which a process counts as lost.
    """

    def __init__(self, every: float = 5.0, patience: float = 40.0) -> None:
        if not 0 < every < patience:
            raise UserError(f"the heartbeat's every {every:g} must be positive and less than its patience {patience:g}.")
        self.every, self.patience = every, patience
        self._ended = threading.Event()

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Begin; a training of one process has nobody to watch."""
        if trainer.world_size == 1 or "MASTER_PORT" not in os.environ:
            return
        self._ended.clear()
        threading.Thread(target=self._watch, args=(trainer.global_rank, trainer.world_size), daemon=True).start()

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Stop watching: the others may end sooner or later than this one."""
        self._ended.set()

    def on_exception(self, trainer: lightning.Trainer, module: lightning.LightningModule, exception: BaseException) -> None:
        """This process speaks for itself."""
        self._ended.set()

    def _watch(self, rank: int, world: int) -> None:
        try:
            store = self._store()
            store.set(f"where/{rank}", f"process {rank} of {world} (pid {os.getpid()} on {socket.gethostname()})")
        except Exception:
            return  # the process group itself will speak up
        seen = dict.fromkeys(range(1, world) if rank == 0 else [0], (-1, time.monotonic()))
        while not self._ended.wait(self.every):
            lost = self._look(store, rank, seen)
            if lost is None:
                continue
            who = _where(store, lost, world)
            if rank == 0:
                store.add("lost", lost + 1)
            if self._ended.wait(self.every):  # it ended of itself meanwhile
                return
            print(f"\njasco fit: {who} has not been heard of for {self.patience:g} s; this one ends, {GO_ON}.", file=sys.stderr, flush=True)
            os._exit(LOST)  # the main thread may wait for the lost one for ever

    def _store(self) -> Store:
        """A connection of our own: that of the process group serves one request at a time, and those may wait."""
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(address, port, is_master=False, timeout=timedelta(seconds=self.patience))
        return PrefixStore(f"heartbeat/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)

    def _look(self, store: Store, rank: int, seen: dict[int, tuple[int, float]]) -> int | None:
        """Give a sign of life, and look at those of the others; the rank that is lost, or None."""
        now = time.monotonic()
        try:
            store.add(f"beat/{rank}", 1)
            if rank != 0 and (lost := store.add("lost", 0)):
                return lost - 1
            for other, (count, _) in list(seen.items()):
                if (current := store.add(f"beat/{other}", 0)) != count:
                    seen[other] = (current, now)
        except Exception:  # the store's own process is gone; the times of the last signs stand
            pass
        return next((other for other, (_, when) in seen.items() if now - when > self.patience), None)


def _where(store: Store, rank: int, world: int) -> str:
    try:
        return store.get(f"where/{rank}").decode() if store.check([f"where/{rank}"]) else f"process {rank} of {world}"
    except Exception:
        return f"process {rank} of {world}"


def lost_contact(error: Exception) -> UserError | None:
    """The sentence for an error that means that another process of the training is gone, None for any other error."""
    text = str(error)
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return None
    if not isinstance(error, RuntimeError) or not BROKEN_CONNECTION.search(text):
        return None
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    first = re.sub(r"^\[[^\]]*\] *", "", text.strip().splitlines()[0]).split(". ")[0].rstrip(".")  # without place in the source and advice
    return UserError(f"process {rank} of {world} ends because another one has ended or cannot be reached ({first}); {GO_ON}.")
