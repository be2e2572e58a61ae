"""Shards of an object store: fetched whole into a local cache that processes share, checked, some of them ahead of their use."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from jasco_pl.data.cache import FileCache, Held
from jasco_pl.data.object_store import RemoteFolder, Retry
from jasco_pl.data.schema import CorruptShardError, read_fields
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
        fetch: gets a name; false if there was no room, which is tried again when reading has gone on.
        plan: shards in the order of their first use.
        ahead: how many.
        leave: what the thread does last.
    """

    def __init__(self, fetch: Callable[[str], bool], plan: Sequence[str], ahead: int, leave: Callable[[], None]) -> None:
        self._fetch, self._plan, self._ahead, self._leave = fetch, plan, ahead, leave
        self.current, self._next, self._stopped = -1, 0, False
        self._places: dict[str, int] = {}
        for place, name in enumerate(plan):
            self._places.setdefault(name, place)
        self._progress = threading.Condition()
        # a daemon: a loader process ends without waiting for a download, whose lock goes with it
        threading.Thread(target=self._run, name="prefetch", daemon=True).start()

    def reached(self, name: str) -> None:
        """A shard of the plan is being read now."""
        place = self._places.get(name, -1)
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
                fits = self._fetch(self._plan[place])
            except Exception as error:  # whoever needs the shard will meet the same error, and tells it
                log.info("could not fetch %s ahead: %s", self._plan[place], error)
                fits = True
            with self._progress:
                if fits:
                    self._next = place + 1
                else:
                    self._progress.wait_for(lambda seen=seen: self._stopped or self.current > seen)  # type: ignore[misc]


class RemoteShards:
    """Opened shards of a URL by name. Threads and connections belong to the process that reads, never to the one that it was forked from.

    Args:
        url: folder that holds the index.
        options: of the cache.
        retry: of requests.
    """

    def __init__(self, url: str, options: CacheOptions | None = None, retry: Retry | None = None) -> None:
        self.options = options or CacheOptions()
        self.store = RemoteFolder(url, retry)
        self.cache = FileCache(self.options.folder, int(self.options.gigabytes * 1e9))
        self.shards: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, str] = {}
        self.plan: list[str] = []
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._open: OrderedDict[str, tuple[Held, Any]] = OrderedDict()
        self._prefetcher: Prefetcher | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict(), "_prefetcher": None}

    def index(self, name: str) -> str:
        """Text of the index, downloaded if the store's version is not the one in the cache. Leaves no connection open.

        Raises:
            FileNotFoundError: there is none. UserError: the store cannot be read.
        """
        try:
            return self._index(name)
        finally:
            self.store.disconnect()

    def _index(self, name: str) -> str:
        version = self.store.version(name)
        if version is None:
            return self.store.read(name).decode("utf-8")
        mark, size = version
        key = f"index-{stable_hash(self.store.address(name), mark, size):016x}.json"
        data = b""

        def download(target: Path) -> None:
            nonlocal data
            data = self.store.read(name)
            if len(data) != size or not json.loads(data):  # a damaged one is not kept, nor one that was replaced just now
                raise ValueError
            target.write_bytes(data)

        try:
            held = self.cache.hold(key, size, download)
        except ValueError as error:
            if isinstance(error, UserError):
                raise
            return data.decode("utf-8", errors="replace")  # the reader says what is wrong with it
        try:
            return held.path.read_text(encoding="utf-8")
        finally:
            held.close()

    def describe(self, shards: Sequence[dict[str, Any]]) -> None:
        """Take what the index says of the shards.

        Raises:
            UserError: the cache is too small for the shuffle window and what is fetched ahead.
        """
        self.shards = {shard["file"]: shard for shard in shards}
        for name, shard in self.shards.items():
            # from the content alone: a rebuilt shard is another file, an unchanged one stays when the folder moves
            crcs = [crc for entry in shard["samples"] for crc in (entry["id"], *entry["crc32"].values())]
            self.keys[name] = f"{Path(name).stem}-{stable_hash(shard['bytes'], *crcs):016x}.safetensors"
        sizes = sorted((shard["bytes"] for shard in shards), reverse=True)
        window = self.options.window or len(sizes)
        # two windows: while one process begins the next, another may still read the last
        needed = sum(sizes[: 2 * window + self.options.prefetch])
        if needed > self.cache.limit:
            raise UserError(
                f"a cache of {self.cache.limit / 1e9:g} GB is too small for {self.store.url!r}: two shuffle windows of {window} shards and "
                f"{self.options.prefetch} fetched ahead take {needed / 1e9:.3g} GB; raise data.cache_gb or lower data.shuffle_shards."
            )

    def expect(self, plan: Sequence[str]) -> None:
        """Shards in the order in which they will be read; fetching ahead begins with the first of them that is opened."""
        self.plan = list(plan)
        if self._prefetcher is not None and self._process == os.getpid():
            self._prefetcher.stop()
        self._prefetcher = None

    def open(self, name: str) -> tuple[Path, Any]:
        """A shard's path in the cache and its handle.

        Raises:
            FetchError: the store's copy is missing or does not match the index. CorruptShardError: the cached copy is damaged.
            UserError: the store cannot be read or the cache not be written.
        """
        if self._process != os.getpid():
            self._forget()
        if name in self._open:
            self._open.move_to_end(name)
        else:
            while self.options.window and len(self._open) >= self.options.window:
                self._open.popitem(last=False)[1][0].close()
            self._open[name] = self._obtain(name)
        if self.plan and self.options.prefetch:
            if self._prefetcher is None:
                self._prefetcher = Prefetcher(self._ahead, self.plan, self.options.prefetch, self.store.disconnect)
            self._prefetcher.reached(name)
        held, handle = self._open[name]
        return held.path, handle

    def drop(self, name: str) -> None:
        """Remove the cached copy, which proved damaged."""
        if name in self._open:
            self.cache.discard(self._open.pop(name)[0])

    def _obtain(self, name: str) -> tuple[Held, Any]:
        for last in (False, True):
            held = self.cache.hold(self.keys[name], self.shards[name]["bytes"], lambda target: self._download(name, target), self._keep())
            try:
                return held, safe_open(held.path, "pt")
            except (SafetensorError, OSError) as error:
                self.cache.discard(held)
                if last:
                    raise CorruptShardError(f"the shard {str(held.path)!r} is damaged: it cannot be opened ({error}).") from error
        raise AssertionError

    def _keep(self) -> set[str]:
        place = self._prefetcher.current if self._prefetcher else 0
        return {self.keys[name] for name in self.plan[max(place, 0) : place + 1 + self.options.prefetch]}

    def _ahead(self, name: str) -> bool:
        return self.cache.fetch(self.keys[name], self.shards[name]["bytes"], lambda target: self._download(name, target), self._keep())

    def _download(self, name: str, target: Path) -> None:
        """Fill `target` and compare every field with the index; what does not match is fetched once more."""
        for last in (False, True):
            try:
                self.store.download(name, self.shards[name]["bytes"], target)
                handle = safe_open(target, "pt")
                for entry in self.shards[name]["samples"]:
                    read_fields(handle, self.store.address(name), entry)
                return
            except FileNotFoundError as error:
                raise FetchError(f"the shard {self.store.address(name)!r} is missing, though the index lists it.") from error
            except (SafetensorError, CorruptShardError) as error:
                if last:
                    reason = str(error) if isinstance(error, CorruptShardError) else f"it is not a safetensors file ({error})."
                    raise FetchError(
                        f"{self.store.address(name)!r} does not match its index, twice fetched: {reason.rstrip('.')}; "
                        "upload shards and index.json of one build together."
                    ) from error
                log.warning("%s does not match its index; fetching it again", self.store.address(name))
