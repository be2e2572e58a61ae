"""Composing and encoding at once, shard by shard, so that a training can begin with the first of them (`data.grow`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from jasco_pl.codec import load_codec
from jasco_pl.compose.pieces import PlannedSet, Which, start_worker, write_piece
from jasco_pl.data.index import INDEX
from jasco_pl.data.shards import finished, write_index
from jasco_pl.data.split import BUSY
from jasco_pl.extract.latents import fingerprint
from jasco_pl.prepare.composed import ShardTask, build_shard, build_shards, index_of, usable_stages
from jasco_pl.system.errors import UserError
from jasco_pl.system.locks import alone
from jasco_pl.system.processes import end_with_parent

FIRST_HOURS = 1.0
GROWTH = 1.5
"""Factor by which the set is larger whenever its index is written again: what reads it has to look at all of it each time."""


@dataclass(frozen=True)
class _Work:
    """What one process does in one go: pieces to compose, then the shard that they belong to."""

    pieces: list[tuple[str, Which]]
    shard: ShardTask


def _carry_out(work: _Work) -> None:
    for piece in work.pieces:
        write_piece(piece)
    build_shard(work.shard)


def _begin(fonts: Sequence[str]) -> None:
    end_with_parent()
    start_worker(fonts)


@dataclass
class _Index:
    """The index of the shards that are there, none missing in between; it is written now and then, and never shrinks.

    Attributes:
        folder: of the shards.
        codec: what it says of it.
        first_hours: that there have to be before it is written.
        names: of all shards, in order.
        frames: of those that are there, by name.
        written: how many it lists.
    """

    folder: Path
    codec: dict[str, Any]
    first_hours: float
    names: list[str] = field(default_factory=list)
    frames: dict[str, int] = field(default_factory=dict)
    written: int = 0

    def __post_init__(self) -> None:
        try:
            index = json.loads((self.folder / INDEX).read_text(encoding="utf-8"))
            self.written = len(index["shards"]) if index["codec"] == self.codec else 0
        except (OSError, ValueError, KeyError, TypeError):
            pass

    def add(self, name: str, entries: Sequence[dict[str, Any]]) -> None:
        """A shard is there."""
        self.frames[name] = sum(entry["frames"] for entry in entries)
        count = next((place for place, other in enumerate(self.names) if other not in self.frames), len(self.names))
        hours = sum(self.frames[name] for name in self.names[:count]) / float(self.codec["frame_rate"]) / 3600
        if hours >= self.first_hours and count > 0 and count >= GROWTH * self.written:
            write_index(self.folder, self.codec, self.names[:count])
            self.written = count


def compose_shards(
    planned: PlannedSet, out: str | Path, codec_name: str, workers: int = 1, first_hours: float = FIRST_HOURS, pieces_per_shard: int = 24
) -> dict[str, Any]:
    """Compose a set and encode it, every process one shard at a time; the same files as of `compose_set` and `build_shards`.

    What is finished is kept. The index lists the first shards as soon as they make up `first_hours`, and more of them from time to time.

    Args:
        planned: the set and the folder of its pieces.
        out: folder of the shards.
        codec_name: as for `load_codec`.
        workers: processes.
        first_hours: of music with which it is worth to begin.
        pieces_per_shard: in one file.

    Returns: the index.

    Raises:
        UserError: as of `compose_set` and `build_shards`.
    """
    if workers < 1 or pieces_per_shard < 1:
        raise UserError(f"workers and pieces a shard must be at least 1, not {workers} and {pieces_per_shard}.")
    codec, stages = load_codec(codec_name), usable_stages()
    mark, shards = fingerprint(codec), str(out)
    with alone(out, BUSY.format(shards)), tqdm(desc=f"compose and encode {planned.first.split}", unit="shard") as bar:
        index = _Index(Path(out), index_of(codec, codec_name), first_hours)
        ids: dict[str, list[str]] = {}

        def works() -> Iterator[tuple[str, _Work]]:
            """Those that are to be done; planning goes on while the first of them are."""
            for number, pieces in enumerate(_parts(planned, pieces_per_shard)):
                name = f"shard-{number:05d}"
                index.names.append(name)
                ids[name] = [piece.id for piece in pieces]
                entries = finished(out, name, ids[name], mark)
                new = [planned.job(piece) for piece in pieces if not planned.path(piece).exists()]
                if entries and not new:
                    done(name)
                else:
                    paths = [str(planned.path(piece)) for piece in pieces]
                    yield name, _Work(new, ShardTask(shards, name, paths, [], stages, codec_name))

        def done(name: str) -> None:
            index.add(name, finished(out, name, ids[name], mark))
            bar.update()

        _run(works(), done, planned.fonts, workers)
    return build_shards(planned.folder, out, codec_name, workers, pieces_per_shard)


def _parts(planned: PlannedSet, size: int) -> Iterator[list[Which]]:
    """Pieces of every shard, in the order of their names, as `build_shards` takes them."""
    pieces = planned.pieces()
    if planned.bands > 1:  # whose names come before the numbers
        pieces = iter(sorted(pieces, key=lambda piece: piece.id))
    part: list[Which] = []
    for piece in pieces:
        part.append(piece)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def _run(works: Iterator[tuple[str, _Work]], done: Any, fonts: Sequence[str], workers: int) -> None:
    if workers == 1:
        start_worker(fonts)
        for name, work in works:
            _carry_out(work)
            done(name)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin, (fonts,)) as pool:
        running: dict[Future[None], str] = {}

        def take(ended: set[Future[None]]) -> None:
            for future in sorted(ended, key=lambda future: running[future]):
                future.result()
                done(running.pop(future))

        try:
            for name, work in works:
                running[pool.submit(_carry_out, work)] = name
                take({future for future in running if future.done()})
            while running:
                take(wait(running, return_when=FIRST_COMPLETED).done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
