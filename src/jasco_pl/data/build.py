"""Composed pieces -> shards: encode every stem once, take the annotations to frames."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from jasco_pl.audio.files import read_audio
from jasco_pl.codec import Codec, load_codec
from jasco_pl.compose.pieces import read_note
from jasco_pl.controls.audio import bandpass
from jasco_pl.data.schema import Sample
from jasco_pl.data.shards import checksum, finished, write_index, write_shard
from jasco_pl.extract import chordino
from jasco_pl.notation import harmony
from jasco_pl.notation.melody import melody_frames
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import remove_leftovers
from jasco_pl.system.processes import end_with_parent


@torch.inference_mode()
def encode_piece(path: Path, codec: Codec) -> Sample:
    """One composed piece (its JSON) -> sample with all fields; without `chords_heard` where Chordino is not installed.

    Raises:
        UserError: the description or a stem cannot be read.
    """
    note = read_note(path)
    stems = {stem: read_audio(path.with_name(f"{note['id']}.{stem}.flac"), codec.sample_rate) for stem in ("mix", "drums", "drumless")}
    stems["drums_bandpass"] = bandpass(stems["drums"], codec.sample_rate)
    latents = {stem: codec.encode(wav[None]) for stem, wav in stems.items()}
    frames = latents["mix"].shape[1]
    tensors = {f"codes_{stem}": codec.codes(encoded)[0].to(torch.int16) for stem, encoded in latents.items()}
    tensors["latents"] = latents["mix"][0].half()
    tensors["chords"] = torch.from_numpy(harmony.changes_to_frames(note["chords"], frames, codec.frame_rate))
    if chordino.available():
        tensors["chords_heard"] = torch.from_numpy(chordino.chordino_frames(stems["mix"], codec.sample_rate, frames))
    tensors["melody"] = torch.from_numpy(melody_frames(note["melody"], frames, codec.frame_rate))
    return Sample(note["id"], tensors, note["captions"])


@lru_cache(maxsize=1)
def _codec(name: str) -> Codec:
    torch.set_num_threads(1)
    return load_codec(name)


def fingerprint(codec: Codec) -> int:
    """Changes with whatever the latents' statistics and the codes depend on."""
    return checksum(torch.cat([codec.latent_mean.flatten(), codec.latent_std.flatten(), codec.codebook.flatten()]))


def _build_shard(task: tuple[str, str, list[str], str]) -> str:
    out, name, paths, codec_name = task
    codec = _codec(codec_name)
    write_shard(out, name, [encode_piece(Path(path), codec) for path in paths], fingerprint(codec))
    return name


def _run(tasks: list[tuple[str, str, list[str], str]], workers: int) -> Iterator[str]:
    if workers == 1:
        yield from map(_build_shard, tasks)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=end_with_parent) as pool:
        yield from pool.map(_build_shard, tasks)


def build_shards(pieces: str | Path, out: str | Path, codec_name: str, workers: int = 1, pieces_per_shard: int = 24) -> dict[str, Any]:
    """Encode a folder of composed pieces into shards.

    Shards that are finished, with the same pieces and the same codec, are kept: an interrupted run goes on, and a grown set gets its new
    pieces only.

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
    _codec.cache_clear()  # the folder may have been refitted since
    codec = load_codec(codec_name)
    mark = fingerprint(codec)
    groups = {
        f"shard-{number:05d}": paths[start : start + pieces_per_shard]
        for number, start in enumerate(range(0, len(paths), pieces_per_shard))
    }
    tasks = [
        (str(out), name, [str(path) for path in group], codec_name)
        for name, group in groups.items()
        if not finished(out, name, [read_note(path)["id"] for path in group], mark)
    ]
    remove_leftovers(out)
    with tqdm(total=len(groups), initial=len(groups) - len(tasks), desc=f"shards {Path(out).name}", unit="shard") as bar:
        for _ in _run(tasks, workers):
            bar.update()
    statistics = {"mean": codec.latent_mean.tolist(), "std": codec.latent_std.tolist()}
    return write_index(out, {"name": codec_name, "frame_rate": codec.frame_rate, "dim": codec.dim, **statistics}, list(groups))
