"""Composed pieces -> shards: the stages of a preparation, told by stems and annotations what they would otherwise have to hear."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.files import read_audio
from jasco_pl.codec import Codec
from jasco_pl.compose.pieces import read_note
from jasco_pl.data.schema import STAGES, CorruptShardError, Sample, open_shard, read_fields
from jasco_pl.data.shards import finished, write_index, write_shard
from jasco_pl.data.split import BUSY
from jasco_pl.extract.latents import fingerprint
from jasco_pl.extract.stage import Piece
from jasco_pl.notation.harmony import first_frame
from jasco_pl.prepare.config import PrepareConfig
from jasco_pl.prepare.jobs import Stages
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import remove_leftovers
from jasco_pl.system.locks import alone
from jasco_pl.system.processes import pool

STEMS = ("mix", "drums", "drumless")


@dataclass(frozen=True)
class ShardTask:
    """A shard that is to be written."""

    out: str
    name: str
    paths: list[str]
    """JSON files of its pieces."""
    entries: list[dict[str, Any]]
    """Of its samples, where it is there and lacks fields alone; otherwise empty."""
    stages: list[str]
    codec: str


def usable_stages() -> list[str]:
    """Stages that read pieces, without those whose extractor is not installed, which is said on stderr."""
    names = []
    for name, stage in STAGES.items():
        if stage.reads_pieces():
            try:
                stage.require()
                names.append(name)
            except UserError as error:
                tqdm.write(f"left out: {', '.join(sorted(stage.names()))}, for {error}", file=sys.stderr)
    return names


def lacking(note: Mapping[str, Any], stored: Collection[str], stages: Sequence[str]) -> list[str]:
    """Which of some stages would add a field to what is stored of the piece with this description."""
    return [
        name
        for name in stages
        if not STAGES[name].names() <= set(stored) and all(annotation in note for annotation in STAGES[name].annotations)
    ]


@torch.inference_mode()
def encode_piece(path: Path, stages: Stages, names: Sequence[str], stored: Mapping[str, Tensor] | None = None) -> Sample:
    """One composed piece (its JSON) -> sample.

    Args:
        path: of the description; the stems lie beside it.
        stages: their extractors.
        names: which of them; one whose annotations the description lacks adds nothing.
        stored: fields that are there already.

    Raises:
        UserError: the description or a stem cannot be read.
    """
    note, codec, tensors = read_note(path), stages.codec, dict(stored or {})
    stems = {stem: read_audio(path.with_name(f"{note['id']}.{stem}.flac"), codec.sample_rate) for stem in STEMS}
    piece = Piece(note, stems, -(-stems["mix"].shape[-1] // codec.hop))
    for name in lacking(note, tensors, names):
        tensors |= stages[name].of_piece(piece)
    return Sample(note["id"], tensors, note["captions"], sections_of(note, codec.frame_rate, piece.frames))


def sections_of(note: Mapping[str, Any], frame_rate: float, frames: int) -> list[tuple[int, list[str]]]:
    """First frame and captions of each section of a piece of this description, of those that begin within its frames.

    Raises:
        UserError: they do not stand in order, or lack something.
    """
    try:
        found = [
            (first_frame(float(part["start"]), frame_rate), [str(text) for text in part["captions"]]) for part in note.get("sections", [])
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"the sections of the piece {note['id']!r} cannot be read: each has a start in seconds and captions ({error})."
        ) from error
    if any(first >= after for (first, _), (after, _) in pairwise([(-1, []), *found])):
        raise UserError(f"the sections of the piece {note['id']!r} do not begin one after another.")
    return [(first, captions) for first, captions in found if first < frames]


@lru_cache(maxsize=1)
def _stages(codec: str) -> Stages:
    torch.set_num_threads(1)
    return Stages(PrepareConfig(codec=codec))


def build_shard(task: ShardTask) -> str:
    """Write a shard; returns its name."""
    stages = _stages(task.codec)
    stored = _stored(task)
    samples = [encode_piece(Path(path), stages, task.stages, known) for path, known in zip(task.paths, stored, strict=True)]
    write_shard(task.out, task.name, samples, fingerprint(stages.codec))
    return task.name


def grouped(paths: Sequence[Path], pieces_per_shard: int) -> dict[str, list[Path]]:
    """Name of a shard -> the JSON files of its pieces."""
    starts = range(0, len(paths), pieces_per_shard)
    return {f"shard-{number:05d}": list(paths[start : start + pieces_per_shard]) for number, start in enumerate(starts)}


def index_of(codec: Codec, name: str) -> dict[str, Any]:
    """What an index says of the codec."""
    statistics = {"mean": codec.latent_mean.tolist(), "std": codec.latent_std.tolist()}
    return {"name": name, "frame_rate": codec.frame_rate, "dim": codec.dim, **statistics}


def _describes(entry: Mapping[str, Any], note: Mapping[str, Any], frame_rate: float) -> bool:
    """Whether what an index says of a sample is what this description of a piece says."""
    sections = [[first, captions] for first, captions in sections_of(note, frame_rate, entry["frames"])]
    return bool(entry["captions"] == note["captions"] and entry.get("sections", []) == sections)


def _stored(task: ShardTask) -> list[dict[str, Tensor]]:
    """What is there of every piece; nothing of a shard that is damaged, or is yet to be made."""
    path = Path(task.out) / f"{task.name}.safetensors"
    if task.entries:
        try:
            handle = open_shard(path)
            return [read_fields(handle, path, entry) for entry in task.entries]
        except CorruptShardError as error:
            tqdm.write(f"{error} It is made anew.", file=sys.stderr)
    return [{} for _ in task.paths]


def _run(tasks: Sequence[ShardTask], workers: int) -> Iterator[str]:
    if workers == 1:
        yield from map(build_shard, tasks)
        return
    with pool(workers) as processes:
        yield from processes.map(build_shard, tasks)


def build_shards(pieces: str | Path, out: str | Path, codec_name: str, workers: int = 1, pieces_per_shard: int = 24) -> dict[str, Any]:
    """Encode a folder of composed pieces into shards.

    Shards that are finished, with the same pieces and the same codec, are kept: an interrupted run goes on, and a grown set gets its new
    pieces only. Of those that were made before a field could be had, that field is added to what they hold.

    Returns:
        The index.

    Raises:
        UserError: the folder holds no pieces, one cannot be read, or `out` cannot be written.
    """
    if workers < 1 or pieces_per_shard < 1:
        raise UserError(f"workers and pieces a shard must be at least 1, not {workers} and {pieces_per_shard}.")
    paths = sorted(Path(pieces).glob("*.json"))
    if not paths:
        raise UserError(f"{str(pieces)!r} holds no composed pieces (*.json); `jasco compose --out {pieces}` makes some.")
    _stages.cache_clear()  # the codec's folder may have been refitted since
    codec, stages = _stages(codec_name).codec, usable_stages()
    mark = fingerprint(codec)
    with alone(out, BUSY.format(str(out))):
        groups = grouped(paths, pieces_per_shard)
        notes = {path: read_note(path) for path in paths}
        tasks: list[ShardTask] = []
        added: set[str] = set()
        for name, group in groups.items():
            entries = finished(out, name, [notes[path]["id"] for path in group], mark)
            if any(not _describes(entry, notes[path], codec.frame_rate) for path, entry in zip(group, entries, strict=False)):
                entries = []  # pieces of the same names were composed anew
            missing = {stage for path, entry in zip(group, entries, strict=False) for stage in lacking(notes[path], entry["crc32"], stages)}
            if missing or not entries:
                tasks.append(ShardTask(str(out), name, [str(path) for path in group], entries, stages, codec_name))
            added |= missing
        remove_leftovers(out)
        for stage in stages:
            fields, needed = ", ".join(sorted(STAGES[stage].names())), STAGES[stage].annotations
            if silent := sum(any(name not in note for name in needed) for note in notes.values()):
                said = f"{silent} pieces, whose descriptions lack {' or '.join(needed)}; pieces that are composed anew have it"
                tqdm.write(f"left out: {fields} of {said}", file=sys.stderr)
            if stage in added:
                tqdm.write(f"added: {fields}, without which shards in {out} were made", file=sys.stderr)
        with tqdm(total=len(groups), initial=len(groups) - len(tasks), desc=f"shards {Path(out).name}", unit="shard") as bar:
            for _ in _run(tasks, workers):
                bar.update()
        return write_index(out, index_of(codec, codec_name), list(groups))
