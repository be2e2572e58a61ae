"""Sets of composed pieces: FLAC stems and JSON in a folder, written and read.

Writing is resumable and gives the same bits whatever the number of workers. What reads gets descriptions, and stretches of pieces that are
placed by the hash of the id.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.files import read_audio
from jasco_pl.compose.captions import captions
from jasco_pl.compose.composer import compose
from jasco_pl.compose.render import SAMPLE_RATE, Renderer, find_soundfont, produce
from jasco_pl.compose.song import Song, generator
from jasco_pl.notation import harmony
from jasco_pl.notation.melody import melody_frames
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path, write_json
from jasco_pl.system.seeding import stable_hash

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


def read_note(path: Path) -> dict[str, Any]:
    """The description of a composed piece.

    Raises:
        UserError: the file is damaged or something else.
    """
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        if missing := [key for key in ("id", "chords", "melody", "captions") if key not in note]:
            raise ValueError(f"it lacks {missing[0]!r}")
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{str(path)!r} does not describe a composed piece: {error}.") from error
    return note


@dataclass
class Stretch:
    """Frames [first, first + frames) of a piece of `total` frames.

    Attributes:
        note: what was composed, see `read_note`.
        whole: the mix of the whole piece, [1, S].
        melody: bins of the stretch [T], -1 for none.
    """

    path: Path
    note: dict[str, Any]
    whole: Tensor
    sample_rate: int
    frame_rate: float
    first: int
    frames: int
    total: int
    melody: NDArray[np.int8]

    @property
    def mix(self) -> Tensor:
        """The mix of the stretch, [1, S]."""
        return self.cut(self.whole)

    def stem(self, name: str) -> Tensor:
        """Another stem of the stretch (drums, drumless), [1, S]; UserError where its file cannot be read."""
        return self.cut(read_audio(self.path.with_name(f"{self.note['id']}.{name}.flac"), self.sample_rate))

    def cut(self, wav: Tensor) -> Tensor:
        """The stretch of audio of the whole piece."""
        hop = round(self.sample_rate / self.frame_rate)
        return wav[:, self.first * hop : (self.first + self.frames) * hop]

    @property
    def start(self) -> float:
        """Where it begins, in seconds."""
        return self.first / self.frame_rate

    @property
    def chords(self) -> NDArray[np.int16]:
        """The composed chords of the stretch, vocabulary indices [T]."""
        return harmony.changes_to_frames(self.note["chords"], self.total, self.frame_rate)[self.first : self.first + self.frames]


def read_stretch(path: Path, seconds: float, sample_rate: int, frame_rate: float, purpose: str) -> Stretch:
    """A stretch of `seconds` of the piece described by a JSON; `purpose` is part of the hash that places it.

    Raises:
        UserError: the description or the mix cannot be read, or the piece is shorter than that.
    """
    note = read_note(path)
    whole = read_audio(path.with_name(f"{note['id']}.mix.flac"), sample_rate)
    frames, total = round(seconds * frame_rate), whole.shape[-1] // round(sample_rate / frame_rate)
    first = place(note["id"], total, frames, seconds, purpose)
    melody = melody_frames(note["melody"], total, frame_rate)[first : first + frames]
    return Stretch(path, note, whole, sample_rate, frame_rate, first, frames, total, melody)


def place(name: str, total: int, frames: int, seconds: float, purpose: str) -> int:
    """The first frame of a stretch of `frames` in a piece of `total`, by the hash of its name; UserError where it does not fit."""
    if total < frames:
        raise UserError(f"the piece {name!r} is shorter than {seconds:g} seconds.")
    return stable_hash(purpose, name) % (total - frames + 1)
