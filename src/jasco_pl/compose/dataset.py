"""Write a set of pieces: FLAC stems and JSON, resumable, the same bits whatever the number of workers."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm import tqdm

from jasco_pl.compose.captions import captions
from jasco_pl.compose.composer import compose
from jasco_pl.compose.render import SAMPLE_RATE, Renderer, produce
from jasco_pl.compose.song import Song, generator
from jasco_pl.compose.soundfont import find_soundfont
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path, write_json

SPLITS = ("train", "valid", "test")
_renderer: Renderer | None = None


def piece_id(split: str, seed: int, index: int) -> str:
    """The file stem of a piece."""
    return f"{split}-{seed}-{index:06d}"


def _purpose(name: str, arrangement: int) -> str:
    return f"{name} of band {arrangement}" if arrangement else name


def describe(song: Song, split: str, seed: int, index: int, arrangement: int = 0) -> dict[str, Any]:
    """The JSON of a piece (times in seconds, rounded to 0.1 ms)."""
    roles = {part.role for part in song.parts}
    return {
        "id": piece_id(split, seed, index),
        "split": split,
        "seed": seed,
        "arrangement": arrangement,
        "style": song.style,
        "duration": song.duration,
        "bpm": song.bpm,
        "meter": song.meter,
        "key": song.key,
        "mood": song.mood,
        "instruments": [part.name for part in song.parts],
        "has": {role: role in roles for role in ("drums", "melody", "bass", "pad")} | {"chords": song.chords != [("N", 0.0)]},
        "chords": [[label, round(start, 4)] for label, start in song.chords],
        "melody": [[pitch, round(start, 4), round(end, 4)] for pitch, start, end in song.melody],
        "drums": [[name, round(time, 4), velocity] for name, time, velocity in song.drums],
        "beats": [[round(time, 4), beat] for time, beat in song.beats],
        "captions": captions(song, generator(seed, split, index, _purpose("captions", arrangement))),
    }


def _start_worker(soundfont: str) -> None:
    global _renderer
    _renderer = Renderer(Path(soundfont))


def _write_piece(job: tuple[str, str, int, int, int]) -> int:
    out, split, seed, index, arrangement = job
    if _renderer is None:
        raise RuntimeError("the worker has no SoundFont")
    song = compose(seed, split, index, arrangement)
    rng = np.random.default_rng(generator(seed, split, index, _purpose("room", arrangement)).getrandbits(64))
    mix, drums, drumless = produce(_renderer, song, rng)
    folder = Path(out)
    name = piece_id(split, seed, index)
    for stem, samples in (("mix", mix), ("drums", drums), ("drumless", drumless)):
        # Encoded in memory: libsndfile reports a full disk in its own way, a plain write as the OSError that `atomic_path` explains.
        encoded = io.BytesIO()
        soundfile.write(encoded, samples, SAMPLE_RATE, subtype="PCM_16", format="FLAC")
        with atomic_path(folder / f"{name}.{stem}.flac") as temporary:
            temporary.write_bytes(encoded.getbuffer())
    write_json(folder / f"{name}.json", describe(song, split, seed, index, arrangement))
    return index


def plan(hours: float, seed: int, split: str) -> list[int]:
    """How many pieces make `hours`: their indices. Composing is cheap beside rendering, so durations are exact."""
    indices: list[int] = []
    seconds = 0.0
    while seconds < hours * 3600:
        seconds += compose(seed, split, len(indices)).duration
        indices.append(len(indices))
    return indices


def compose_set(
    out: str | os.PathLike[str],
    hours: float,
    seed: int,
    split: str,
    soundfont: str | os.PathLike[str] | None = None,
    workers: int = 1,
    progress: bool = True,
    arrangement: int = 0,
) -> list[Path]:
    """Compose and render a split into a folder; a piece whose JSON exists is skipped.

    Args:
        out: folder; gets `<id>.mix.flac`, `<id>.drums.flac`, `<id>.drumless.flac` (32 kHz mono, 16 bit) and `<id>.json`.
        hours: amount of audio wanted; the last piece goes over it.
        seed: any whole number; splits of one seed share nothing.
        split: `train`, `valid` or `test`.
        soundfont: .sf2 or .sf3 file; None looks for one (see `find_soundfont`).
        workers: processes; the result does not depend on it.
        progress: show a bar.
        arrangement: 0 for the pieces, 1, 2, ... for other bands that play them (`compose`); a folder holds one arrangement.

    Returns: the JSON files of the set, in order.

    Raises:
        UserError: unknown split, hours or workers not positive, arrangement negative, no SoundFont, a folder that cannot be written or that
            holds another arrangement.
    """
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}: one of {', '.join(SPLITS)} is accepted.")
    if not hours > 0 or hours > 100_000:
        raise UserError(f"hours is {hours}: a positive number is accepted.")
    if workers < 1:
        raise UserError(f"workers is {workers}: 1 or more is accepted.")
    if arrangement < 0:
        raise UserError(f"arrangement is {arrangement}: 0 (the pieces) or more (other bands) is accepted.")
    folder = Path(out)
    font = str(find_soundfont(soundfont))
    indices = plan(hours, seed, split)
    paths = [folder / f"{piece_id(split, seed, index)}.json" for index in indices]
    there = next((path for path in paths if path.exists()), None)
    if there and (found := json.loads(there.read_text(encoding="utf-8")).get("arrangement", 0)) != arrangement:
        raise UserError(f"{str(folder)!r} holds arrangement {found} of these pieces: arrangement {arrangement} wants a folder of its own.")
    jobs = [(str(folder), split, seed, index, arrangement) for index, path in zip(indices, paths, strict=True) if not path.exists()]
    bar = tqdm(total=len(indices), initial=len(indices) - len(jobs), desc=f"compose {split}", unit="piece", disable=not progress)
    with bar:
        for _ in _run(jobs, font, workers):
            bar.update()
    return paths


def _run(jobs: list[tuple[str, str, int, int, int]], font: str, workers: int) -> Iterator[int]:
    if not jobs:
        return
    if workers == 1:
        _start_worker(font)
        yield from map(_write_piece, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(workers, _start_worker, (font,)) as pool:
        yield from pool.imap_unordered(_write_piece, jobs)
