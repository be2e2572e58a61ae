"""How fast prepared samples arrive (samples and megabytes a second, and what a training step would wait for them), and how much quicker the
salience network is than the straightforward one.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tqdm import tqdm

from jasco_pl.data.datamodule import ShardDataModule
from jasco_pl.data.object_store import is_url
from jasco_pl.data.remote import CacheOptions
from jasco_pl.data.shards import ShardReader
from jasco_pl.extract import salience_network as hcqt
from jasco_pl.extract.salience import CHUNK, FIRST_BIN
from jasco_pl.extract.salience_network import BELOW, SalienceNetwork
from jasco_pl.system.errors import UserError


@dataclass(frozen=True)
class DataBench:
    """What is measured.

    Attributes:
        location: folder or URL of shards.
        batch_size: samples a batch.
        seconds: length of a crop.
        batches: batches a figure, at most an epoch.
        step: seconds of a stand-in for a training step, during which the loader may work.
        prefetch_shards, shuffle_shards: as of `ShardDataModule`.
    """

    location: str
    batch_size: int = 16
    seconds: float = 10.0
    batches: int = 50
    step: float = 0.05
    prefetch_shards: int = 4
    shuffle_shards: int | None = None


@dataclass(frozen=True)
class Speed:
    """One line: samples a second and their share of the shards' megabytes, loader processes starting included; the share of time a
    training step of the given length waits for data; seconds until the first batch."""

    workers: int
    cold: bool
    samples_per_second: float
    megabytes_per_second: float
    wait: float
    first_batch: float


def forget_pages(folder: Path) -> None:
    """Ask the kernel to drop the files of a folder from memory, so that they are read from the disk again (Linux)."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in folder.glob("*.safetensors"):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def data_speeds(bench: DataBench, workers: Sequence[int]) -> Iterator[Speed]:
    """Measure every number of workers, cold and warm.

    Cold is, for a folder, out of the kernel's memory; for a URL, an empty cache. Warm is what was read just before.

    Raises:
        UserError: no data there, or a store that cannot be read.
    """
    if bench.batches < 1 or bench.step < 0 or min(workers) < 0:
        raise UserError(f"at least one batch, no negative step or workers, not {bench.batches}, {bench.step:g} and {min(workers)}.")
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache,
        tqdm(total=4 * len(workers), desc=bench.location, unit="pass") as bar,
    ):
        for number in workers:
            for cold in (True, False):
                passes = []
                for step in (0.0, bench.step):
                    # the warm pass finds what the cold one of the same kind has fetched
                    fresh = Path(cache) / f"{number}-{step}" if is_url(bench.location) else None
                    if cold and fresh is None:
                        forget_pages(Path(bench.location))
                    passes.append(_measure(replace(bench, step=step), number, fresh))
                    bar.update()
                free, stepped = passes
                yield Speed(number, cold, free[0], free[1], stepped[2], free[3])


def _measure(bench: DataBench, workers: int, cache: Path | None) -> tuple[float, float, float, float]:
    """(samples a second, MB a second, share of waiting, seconds to the first batch) of one pass."""
    reader = ShardReader(bench.location, cache=CacheOptions(str(cache) if cache else None))
    fields = [name for name in reader.entries[0]["crc32"] if name != "latents"]
    data = ShardDataModule(
        bench.location,
        batch_size=bench.batch_size,
        seconds=bench.seconds,
        fields=fields,
        workers=workers,
        cache=str(cache) if cache else None,
        prefetch_shards=bench.prefetch_shards,
        shuffle_shards=bench.shuffle_shards,
    )
    loader = data.train_dataloader()
    count, waited, first = 0, 0.0, 0.0
    began = asked = time.perf_counter()
    for number, batch in enumerate(loader, 1):
        arrived = time.perf_counter()
        waited += arrived - asked
        first = first or waited
        count += len(batch["id"])
        time.sleep(bench.step)
        asked = time.perf_counter()
        if number == bench.batches:
            break
    whole = asked - began
    loader.dataset.reader.expect()  # nothing further is fetched ahead while others are measured
    megabytes = sum(reader.sizes.values()) / len(reader) / 1e6
    return count / whole, count * megabytes / whole, waited / whole, first


def salience_speeds(frames: int = CHUNK, turns: int = 5) -> dict[str, float]:
    """Seconds of wall time and of CPU time for `frames` frames of both, their ratios, and the largest difference of salience.

    Both take turns on the same input, so that a busy machine slows both; the best of the turns counts. Random weights do: the time does not
    depend on them.
    """
    network = SalienceNetwork()
    whole = torch.rand(1, 6, hcqt.BINS, frames, generator=torch.Generator().manual_seed(0))
    lowest = FIRST_BIN - BELOW
    tasks: dict[str, Callable[[], torch.Tensor]] = {
        "straightforward": lambda: network.straightforward(whole),
        "quick": lambda: network(whole[:, :, lowest:]),
    }
    best: dict[str, float] = {}
    results = {}
    with torch.inference_mode():
        for _ in range(turns):
            for name, task in tasks.items():
                wall, cpu = time.perf_counter(), time.process_time()
                results[name] = task()
                for kind, seconds in (("wall", time.perf_counter() - wall), ("cpu", time.process_time() - cpu)):
                    best[f"{name} {kind}"] = min(best.get(f"{name} {kind}", seconds), seconds)
    for kind in ("wall", "cpu"):
        best[f"ratio {kind}"] = best[f"straightforward {kind}"] / best[f"quick {kind}"]
    used = slice(BELOW, None)
    best["difference"] = float((results["quick"][:, used] - results["straightforward"][:, FIRST_BIN:]).abs().max())
    return best
