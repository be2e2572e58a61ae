"""Shards of an object store: fetched whole into a local cache that processes share, checked, some of them ahead of their use."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jasco_pl.data.cache import FileCache, Held
from jasco_pl.data.columns import Columns, DamagedColumnsError, Source
from jasco_pl.data.index import COLUMNS, INDEX, parse_index
from jasco_pl.data.object_store import RemoteFolder, Retry, told_md5
from jasco_pl.data.schema import CorruptShardError, open_shard, read_fields
from jasco_pl.system.errors import UserError
from jasco_pl.system.seeding import stable_hash

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CacheOptions:
    """How remote shards are kept.

    Attributes:
        folder: of the cache; None is the user's cache folder.
        gigabytes: limit of the cache.
        prefetch: shards that are fetched ahead, in the order of their use.
        window: shards that are read in turn (the shuffle window): so many are held open, 0 for all.
    """

    folder: str | None = None
    gigabytes: float = 20.0
    prefetch: int = 4
    window: int = 1


class FetchError(CorruptShardError):
    """The store's own copy of a shard is missing or does not match the index: fetching it again is of no use."""


class Prefetcher:
    """A thread that fetches the shards of a plan up to `ahead` beyond the one last asked for.

    Args:
        fetch: gets a shard by its number; false if there was no room, which is tried again when reading has gone on.
        plan: numbers of shards in the order of their first use, [P].
        ahead: how many.
        leave: what the thread does last.
    """

    def __init__(self, fetch: Callable[[int], bool], plan: NDArray[np.int64], ahead: int, leave: Callable[[], None]) -> None:
        self._fetch, self._plan, self._ahead, self._leave = fetch, plan, ahead, leave
        self.current, self._next, self._stopped = -1, 0, False
        self._places = np.full(int(plan.max(initial=-1)) + 1, -1)
        self._places[plan[::-1]] = np.arange(len(plan))[::-1]  # of several values for one shard the last one stays: its first place
        self._progress = threading.Condition()
        # a daemon: a loader process ends without waiting for a download, whose lock goes with it
        threading.Thread(target=self._run, name="prefetch", daemon=True).start()

    def reached(self, shard: int) -> None:
        """A shard of the plan is being read now."""
        place = int(self._places[shard]) if shard < len(self._places) else -1
        if place > self.current:
            with self._progress:
                self.current = place
                self._progress.notify()

    def stop(self) -> None:
        """Begin no further download."""
        with self._progress:
            self._stopped = True
            self._progress.notify()

    def _due(self) -> bool:
        return self._stopped or self._next <= min(self.current + self._ahead, len(self._plan) - 1)

    def _run(self) -> None:
        while True:
            with self._progress:
                self._next = max(self._next, self.current + 1)
                self._progress.wait_for(self._due)
                if self._stopped:
                    return self._leave()
                place, seen = max(self._next, self.current + 1), self.current
            try:
                fits = self._fetch(int(self._plan[place]))
            except Exception as error:  # whoever needs the shard will meet the same error, and tells it
                log.info("could not fetch shard %d ahead: %s", self._plan[place], error)
                fits = True
            with self._progress:
                if fits:
                    self._next = place + 1
                else:
                    self._progress.wait_for(lambda seen=seen: self._stopped or self.current > seen)  # type: ignore[misc]


class RemoteShards:
    """Opened shards of a URL by number. Threads and connections belong to the process that reads, never to the one that it was forked from.

    Args:
        url: folder that holds the index.
        options: of the cache.
        retry: of requests.
    """

    def __init__(self, url: str, options: CacheOptions | None = None, retry: Retry | None = None) -> None:
        self.options = options or CacheOptions()
        self.store = RemoteFolder(url, retry)
        self.cache = FileCache(self.options.folder, int(self.options.gigabytes * 1e9))
        self.plan: NDArray[np.int64] = np.zeros(0, np.int64)
        self._index: Held | None = None
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._open: OrderedDict[int, tuple[Held, Any]] = OrderedDict()
        self._prefetcher: Prefetcher | None = None

    def __getstate__(self) -> dict[str, Any]:
        # the file of the index stays held by the process that opened it, for those that it starts
        return {**self.__dict__, "_index": None, "_open": OrderedDict(), "_prefetcher": None}

    def open_index(self) -> Columns:
        """The index as columns, mapped from the cache; fetched if the store's `index.json` is not the one that they were made from.

        Columns that the store has are taken if they are of its `index.json`; otherwise they are made from that. Leaves no connection open.

        Raises:
            FileNotFoundError: there is no index. UserError: it is damaged; the store cannot be read; the cache is too small for the shuffle
                window and what is fetched ahead.
        """
        try:
            self.columns = self._find_index()
        finally:
            self.store.disconnect()
        self._check_room()
        return self.columns

    def _find_index(self) -> Columns:
        while True:
            version = self.store.version(INDEX)
            if version is None:
                return parse_index(self.store.read(INDEX), self.store.address(INDEX))
            key = f"index-{stable_hash(self.store.address(INDEX), *version):016x}.columns"
            if (held := self.cache.find(key)) is None:
                held = self._fetch_index(key, version[1])
                if self.store.version(INDEX) != version:  # replaced just now: what came is not what the key says
                    self.cache.discard(held)
                    continue
            try:
                columns = Columns.open(held.path)
            except DamagedColumnsError as error:
                log.warning("%s; fetching the index again", str(error).rstrip("."))
                self.cache.discard(held)
                continue
            self._index = held
            return columns

    def _fetch_index(self, key: str, size: int) -> Held:
        try:
            length = int(self.store.info(COLUMNS)["size"])
            return self.cache.hold(key, length, lambda target: self._download_columns(target, length, size))
        except (FileNotFoundError, UserError) as error:  # a store may refuse to say that something is not there
            log.info("%s has no columns to be used (%s); they are made from %s", self.store.url, error, INDEX)
        data = self.store.read(INDEX)
        made = parse_index(data, self.store.address(INDEX)).packed(Source.of(data))

        def write(target: Path) -> None:
            target.write_bytes(made)

        return self.cache.hold(key, len(made), write)

    def _download_columns(self, target: Path, length: int, size: int) -> None:
        """Fill `target` with the store's columns; raises DamagedColumnsError unless they are whole and of the store's index."""
        self.store.download(COLUMNS, length, target)
        source = Columns.open(target).source
        told = told_md5(self.store.info(INDEX))
        if source is None or source.size != size or (source.md5 != told and source != Source.of(self.store.read(INDEX))):
            raise DamagedColumnsError(f"the columns {self.store.address(COLUMNS)!r} are of another {INDEX}.")

    def _check_room(self) -> None:
        sizes = np.sort(self.columns.bytes)[::-1]
        window = self.options.window or len(sizes)
        # two windows: while one process begins the next, another may still read the last
        needed = int(sizes[: 2 * window + self.options.prefetch].sum())
        if needed > self.cache.limit:
            raise UserError(
                f"a cache of {self.cache.limit / 1e9:g} GB is too small for {self.store.url!r}: two shuffle windows of {window} shards and "
                f"{self.options.prefetch} fetched ahead take {needed / 1e9:.3g} GB; raise data.cache_gb or lower data.shuffle_shards."
            )

    def _key(self, shard: int) -> str:
        """A shard's name in the cache, from its content alone: a rebuilt one is another file, an unchanged one stays when the folder
        moves."""
        found = self.columns.shard(shard)
        crcs = [crc for entry in found["samples"] for crc in (entry["id"], *entry["crc32"].values())]
        return f"{Path(found['file']).stem}-{stable_hash(found['bytes'], *crcs):016x}.safetensors"

    def expect(self, plan: NDArray[np.int64]) -> None:
        """Numbers of shards in the order in which they will be read; fetching ahead begins with the first of them that is opened."""
        self.plan = plan
        if self._prefetcher is not None and self._process == os.getpid():
            self._prefetcher.stop()
        self._prefetcher = None

    def open(self, shard: int) -> tuple[Path, Any]:
        """A shard's path in the cache and its handle.

        Raises:
            FetchError: the store's copy is missing or does not match the index. CorruptShardError: the cached copy is damaged.
            UserError: the store cannot be read or the cache not be written.
        """
        if self._process != os.getpid():
            self._forget()
        if shard in self._open:
            self._open.move_to_end(shard)
        else:
            while self.options.window and len(self._open) >= self.options.window:
                self._open.popitem(last=False)[1][0].close()
            self._open[shard] = self._obtain(shard)
        if len(self.plan) and self.options.prefetch:
            if self._prefetcher is None:
                self._prefetcher = Prefetcher(self._ahead, self.plan, self.options.prefetch, self.store.disconnect)
            self._prefetcher.reached(shard)
        held, handle = self._open[shard]
        return held.path, handle

    def drop(self, shard: int) -> None:
        """Remove the cached copy, which proved damaged."""
        if shard in self._open:
            self.cache.discard(self._open.pop(shard)[0])

    def _obtain(self, shard: int) -> tuple[Held, Any]:
        size = int(self.columns.bytes[shard])
        for last in (False, True):
            held = self.cache.hold(self._key(shard), size, lambda target: self._download(shard, target), self._keep())
            try:
                return held, open_shard(held.path)
            except CorruptShardError:
                self.cache.discard(held)
                if last:
                    raise
        raise AssertionError

    def _keep(self) -> set[str]:
        place = self._prefetcher.current if self._prefetcher else 0
        return {self._key(shard) for shard in self.plan[max(place, 0) : place + 1 + self.options.prefetch].tolist()}

    def _ahead(self, shard: int) -> bool:
        size = int(self.columns.bytes[shard])
        return self.cache.fetch(self._key(shard), size, lambda target: self._download(shard, target), self._keep())

    def _download(self, shard: int, target: Path) -> None:
        """Fill `target` and compare every field with the index; what does not match is fetched once more."""
        found = self.columns.shard(shard)
        name = found["file"]
        for last in (False, True):
            try:
                self.store.download(name, found["bytes"], target)
                handle = open_shard(target)
                for entry in found["samples"]:
                    read_fields(handle, self.store.address(name), entry)
                return
            except FileNotFoundError as error:
                raise FetchError(f"the shard {self.store.address(name)!r} is missing, though the index lists it.") from error
            except CorruptShardError as error:
                if last:
                    raise FetchError(
                        f"{self.store.address(name)!r} does not match its index, twice fetched: {str(error).rstrip('.')}; "
                        "upload shards and index.json of one build together."
                    ) from error
                log.warning("%s does not match its index; fetching it again", self.store.address(name))
