"""What the index of a large set costs a training process and its loader's: a simulated index, for which nothing else of a set is needed."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from jasco_pl.data.columns import Columns, Source
from jasco_pl.data.index import COLUMNS, FORMAT, INDEX, open_index
from jasco_pl.data.sampler import GlobalBatches
from jasco_pl.data.shards import ShardReader
from jasco_pl.data.texts import joined
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path
from jasco_pl.system.memory import told

SEED = 0
PER_SHARD = 16
FIELDS = ("latents", "chords_heard", "melody", "codes_drums")
TOUCHED = 20_000
"""Samples that every loader process looks up."""
_JSON_BYTES = 2500
"""Memory that a sample takes at most while its index is read as JSON."""
_STYLES = (
    "slow strings and a flute",
    "mellow pop ballad with piano",
    "driving rock with a distorted guitar",
    "swinging jazz trio, brushes",
)


@dataclass(frozen=True)
class IndexCost:
    """What one form of the index costs a process.

    Attributes:
        form: its file.
        bytes: of that file.
        open: seconds until it is read and every sample is known to have the fields.
        order: seconds of an epoch's order, shuffled by windows.
        resume: seconds until the first batch of an epoch that goes on in its middle, the order included.
        peak: bytes that the process took at most beyond what it had before, mapped pages included.
        memory: number of loader processes -> bytes of all processes' own memory beyond what the first had before. Pages of a mapped file
            are not in it: they are the machine's cache, once for all.
    """

    form: str
    bytes: int
    open: float
    order: float
    resume: float
    peak: int
    memory: dict[int, int]


def index_costs(samples: int, workers: Sequence[int], batch_size: int, window: int) -> Iterator[IndexCost]:
    """Simulate an index and measure its columns, then its JSON as it was used without them, each in a process of its own.

    Args:
        samples: of the simulated set.
        workers: numbers of loader processes.
        batch_size: samples a batch.
        window: shards that are shuffled together.

    Raises:
        UserError: there is not one sample, batch or window; or too little memory is free to read the JSON.
    """
    if min(samples, batch_size, window) < 1 or min(workers) < 0:
        raise UserError(f"samples {samples}, batch size {batch_size} and shuffled shards {window} must be positive, workers not negative.")
    if (free := _free()) < samples * _JSON_BYTES:
        raise UserError(f"{samples} samples as JSON may take {samples * _JSON_BYTES / 1e9:.1f} GB of memory; {free / 1e9:.1f} GB are free.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(folder, samples)
        context = multiprocessing.get_context("spawn")
        for form in (COLUMNS, INDEX):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_measure, args=(sender, folder, form, list(workers), batch_size, window))
            process.start()
            sender.close()
            try:
                yield receiver.recv()
            finally:
                process.join()


def simulate(folder: Path, samples: int) -> None:
    """Write the index of a set that is nowhere: ids as `jasco prepare` gives them, one caption and four fields a sample, 16 samples a
    shard."""
    columns, digest, size = _columns(samples), hashlib.md5(usedforsecurity=False), 0
    shards = -(-samples // PER_SHARD)
    with atomic_path(folder / INDEX) as path, open(path, "wb") as file:
        for number in tqdm(range(shards), desc="simulated index", unit="shard", leave=False):
            text = json.dumps({**(shard := columns.shard(number)), "samples": list(shard["samples"])})
            head = json.dumps({"format": FORMAT, "codec": columns.codec})[:-1] + ', "shards": [\n' if not number else ",\n"
            data = (head + text + ("]}\n" if number + 1 == shards else "")).encode()
            digest.update(data)
            size += file.write(data)
    columns.save(folder / COLUMNS, Source(size, digest.hexdigest()))
    open_index(folder)  # finds that the two belong together


def _columns(samples: int) -> Columns:
    draw = np.random.default_rng(SEED)
    shards = -(-samples // PER_SHARD)
    songs = draw.integers(2**32, size=samples).tolist()
    texts: dict[str, Iterator[str]] = {
        "id": (f"song-{song:08x}-{number % 1000:03d}" for number, song in enumerate(songs)),
        "caption": (f"{_STYLES[song % len(_STYLES)]}, {60 + song % 120} bpm" for song in songs),
        "file": (f"shard-{number:012x}.safetensors" for number in range(shards)),
    }
    arrays: dict[str, Any] = {"about": json.dumps({"codec": {"name": "simulated", "frame_rate": 50.0, "dim": 128}, "fields": FIELDS})}
    arrays["about"] = np.frombuffer(arrays["about"].encode(), np.uint8)
    for kind, name in (("id", "ids"), ("caption", "captions"), ("file", "files")):
        arrays |= joined(name, f"{kind}_ends", [text.encode() for text in texts[kind]])
    return Columns(
        {
            **arrays,
            "caption_stops": np.arange(1, samples + 1),
            "frames": draw.integers(4500, 9000, samples, np.int32),
            "stored": np.full(samples, 2 ** len(FIELDS) - 1, np.uint32),
            "crc32": draw.integers(2**32, size=(samples, len(FIELDS)), dtype=np.uint32),
            "bytes": draw.integers(6_000_000, 9_000_000, shards),
            "codecs": np.full(shards, 7),
            "stops": np.minimum(np.arange(1, shards + 1) * PER_SHARD, samples),
        }
    )


def _measure(sender: Any, folder: Path, form: str, workers: list[int], batch_size: int, window: int) -> None:
    before, resident = _own(), _told("/proc/self/status", "VmRSS:")
    began = time.perf_counter()
    entries: Sequence[dict[str, Any]]
    if form == COLUMNS:
        reader = ShardReader(folder, check=False)  # there are no shards to be looked at
        entries, counts = reader.entries, reader.counts
        lacking = [entry for entry in reader.columns.kinds() if not entry["crc32"].keys() >= set(FIELDS)]
    else:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        entries = [entry for shard in index["shards"] for entry in shard["samples"]]
        counts = [len(shard["samples"]) for shard in index["shards"]]
        lacking = [entry for entry in entries if not entry["crc32"].keys() >= set(FIELDS)]
    opened = time.perf_counter() - began
    assert not lacking
    batches = GlobalBatches(len(entries), batch_size, SEED, shards=counts, window=window)
    took = []
    for start in (0, len(batches) // 2):
        began = time.perf_counter()
        keys = batches.epoch(1, start)
        # as pairs in lists is how an epoch was held when its index was JSON
        held: Any = keys if form == COLUMNS else list(keys)
        next(iter(held))
        took.append(time.perf_counter() - began)
        del keys, held
    held = batches.epoch(1) if form == COLUMNS else list(batches.epoch(1))
    highest = _told("/proc/self/status", "VmHWM:") - resident
    memory = {number: sum(_with_workers(entries, number)) - before for number in workers}
    del held  # with which the memory was measured
    sender.send(IndexCost(form, (folder / form).stat().st_size, opened, took[0], took[1], highest, memory))
    sender.close()


def _with_workers(entries: Sequence[dict[str, Any]], workers: int) -> list[int]:
    """Own memory of this process and of so many forked ones that have looked up samples, all at one time."""
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(workers + 1), context.Queue()

    def work(number: int) -> None:
        draw = random.Random(number)
        for _ in range(TOUCHED):
            entries[draw.randrange(len(entries))]["crc32"]
        barrier.wait()
        queue.put(_own())
        barrier.wait()

    processes = [context.Process(target=work, args=(number,)) for number in range(workers)]
    for process in processes:
        process.start()
    barrier.wait()
    found = [_own(), *(queue.get() for _ in processes)]
    barrier.wait()
    for process in processes:
        process.join()
    return found


def _own() -> int:
    """Bytes of this process's own memory, what it shares with others in parts."""
    return _told("/proc/self/smaps_rollup", "Pss_Anon:")


def _free() -> int:
    return _told("/proc/meminfo", "MemAvailable:")


def _told(path: str, name: str) -> int:
    try:
        found = told(path, name)
    except OSError as error:
        raise UserError(f"memory is measured through {path}, which is Linux's and cannot be read here ({error.strerror}).") from error
    assert found is not None
    return found
