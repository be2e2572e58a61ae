"""Sets of composed pieces: FLAC stems and JSON in a folder, written and read.

Writing is resumable and gives the same bits whatever the number of workers. What reads gets descriptions, and stretches of pieces that are
placed by the hash of the id.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, TypedDict

import numpy as np
import soundfile
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.files import read_audio
from jasco_pl.compose.captions import captions, section_captions
from jasco_pl.compose.composer import compose
from jasco_pl.compose.edition import EDITIONS
from jasco_pl.compose.render import SAMPLE_RATE, Renderer, produce
from jasco_pl.compose.song import Song, generator
from jasco_pl.compose.soundfonts import find_soundfont
from jasco_pl.notation import harmony
from jasco_pl.notation.beats import phases
from jasco_pl.notation.melody import melody_frames
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path, is_bare, loads, write_json
from jasco_pl.system.processes import end_with_parent, pool
from jasco_pl.system.seeding import stable_hash
from jasco_pl.system.typed import read_typed, typed

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Which:
    """A piece of a set.

    Attributes:
        band: 0 where the set has each piece once; of sets with several bands a piece, which of them, from 1, as a part of the name.
    """

    seed: int
    split: str
    index: int
    arrangement: int = 0
    edition: int = 1
    band: int = 0

    @property
    def id(self) -> str:
        """The file stem."""
        return f"{self.split}-{self.seed}-{f'band{self.band}-' if self.band else ''}{self.index:06d}"

    def compose(self) -> Song:
        """The piece."""
        return compose(self.seed, self.split, self.index, self.arrangement, self.edition)

    def generator(self, name: str) -> Random:
        """The generator of a purpose beside composing."""
        purpose = f"{name} of band {self.arrangement}" if self.arrangement else name
        return generator(self.seed, self.split, self.index, EDITIONS[self.edition].purpose(purpose))

    def draw_font(self, fonts: int) -> int:
        """Which of so many fonts it is played with: by hash, whatever the pieces before it have."""
        return self.generator("soundfont").randrange(fonts)


def describe(song: Song, which: Which, soundfont: str = "") -> dict[str, Any]:
    """The JSON of a piece (times in seconds, rounded to 0.1 ms)."""
    roles = {part.role for part in song.parts}
    note = {
        "id": which.id,
        "split": which.split,
        "seed": which.seed,
        "arrangement": which.arrangement,
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
        "captions": captions(song, which.generator("captions")),
    }
    if which.band:
        note["band"] = which.band
    if which.edition == 1:
        return note
    rng = which.generator("captions of sections")
    sections = [
        {
            "start": round(passage.start, 4),
            "name": passage.name,
            "instruments": [part.name for part in song.parts if part.role in passage.roles],
            "captions": section_captions(song, passage, rng),
        }
        for passage in song.sections
    ]
    dynamics = [[round(time, 4), level] for time, level in song.dynamics]
    return note | {"edition": which.edition, "soundfont": soundfont, "sections": sections, "dynamics": dynamics}


class _Orchestra:
    """The fonts of a set, each loaded when a piece needs it."""

    def __init__(self, fonts: Sequence[str]) -> None:
        self.fonts = fonts
        self._loaded: dict[str, Renderer] = {}

    def of(self, which: Which) -> tuple[Renderer, str]:
        """The font of a piece, by the hash of what it is, and its file's name."""
        font = self.fonts[which.draw_font(len(self.fonts))]
        if font not in self._loaded:
            self._loaded[font] = Renderer(Path(font))
        return self._loaded[font], Path(font).name


_orchestra: _Orchestra | None = None


def start_worker(fonts: Sequence[str]) -> None:
    """What a process needs for `write_piece`."""
    global _orchestra
    end_with_parent()
    _orchestra = _Orchestra(fonts)


def write_piece(job: tuple[str, Which]) -> Which:
    """Compose and render a piece into a folder."""
    out, which = job
    if _orchestra is None:
        raise RuntimeError("the worker has no SoundFont")
    song = which.compose()
    renderer, font = _orchestra.of(which)
    mix, drums, drumless = produce(renderer, song, np.random.default_rng(which.generator("room").getrandbits(64)))
    for stem, samples in (("mix", mix), ("drums", drums), ("drumless", drumless)):
        # Encoded in memory: libsndfile reports a full disk in its own way, a plain write as the OSError that `atomic_path` explains.
        encoded = io.BytesIO()
        soundfile.write(encoded, samples, SAMPLE_RATE, subtype="PCM_16", format="FLAC")
        with atomic_path(Path(out) / f"{which.id}.{stem}.flac") as temporary:
            temporary.write_bytes(encoded.getbuffer())
    write_json(Path(out) / f"{which.id}.json", describe(song, which, font))
    return which


def plan(hours: float, first: Which, bands: int = 1) -> Iterator[Which]:
    """Which pieces make `hours`, in order; with several bands all versions of a piece stand together, and count.

    Composing is cheap beside rendering, so durations are exact; an hour takes most of a second.
    """
    seconds, index = 0.0, 0
    while seconds < hours * 3600:
        piece = replace(first, index=index)
        duration = piece.compose().duration
        yield from [replace(piece, arrangement=band, band=band + 1) for band in range(bands)] if bands > 1 else [piece]
        seconds += duration * bands
        index += 1


def _check_same(folder: Path, note: dict[str, Any], wanted: Which, fonts: Sequence[str]) -> None:
    """Raises UserError where a folder that holds a piece with that description must not get pieces like `wanted`."""
    edition, band = note.get("edition", 1), note.get("band", 0)
    if edition != wanted.edition:
        raise UserError(f"{str(folder)!r} holds edition {edition} of these pieces: edition {wanted.edition} wants a folder of its own.")
    if bool(band) != bool(wanted.band):
        has, other = ("several bands", "one band") if band else ("one band", "several bands")
        raise UserError(f"{str(folder)!r} holds these pieces by {has}: those by {other} want a folder of their own.")
    if not band and note.get("arrangement", 0) != wanted.arrangement:
        raise UserError(
            f"{str(folder)!r} holds arrangement {note.get('arrangement', 0)} of these pieces: "
            f"arrangement {wanted.arrangement} wants a folder of its own."
        )
    if "soundfont" in note:
        same = replace(wanted, index=int(note["id"][-6:]), arrangement=note["arrangement"], band=band)
        if (font := Path(fonts[same.draw_font(len(fonts))]).name) != note["soundfont"]:
            raise UserError(f"{str(folder)!r} holds these pieces with other SoundFonts: {note['id']} has {note['soundfont']}, not {font}.")


@dataclass(frozen=True)
class PlannedSet:
    """A set that is to be composed into a folder.

    Attributes:
        folder: gets `<id>.mix.flac`, `<id>.drums.flac`, `<id>.drumless.flac` (32 kHz mono, 16 bit) and `<id>.json`.
        fonts: SoundFonts, one of which each piece gets by its hash.
        hours, first, bands: as for `plan`.
    """

    folder: Path
    fonts: Sequence[str]
    hours: float
    first: Which
    bands: int

    def pieces(self) -> Iterator[Which]:
        """In the order of composing."""
        return plan(self.hours, self.first, self.bands)

    def path(self, piece: Which) -> Path:
        """The JSON of a piece, which is written last."""
        return self.folder / f"{piece.id}.json"

    def job(self, piece: Which) -> tuple[str, Which]:
        """What `write_piece` takes."""
        return str(self.folder), piece


def plan_set(
    out: str | os.PathLike[str],
    hours: float,
    seed: int,
    split: str,
    soundfont: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    arrangement: int = 0,
    edition: int = 1,
    bands: int = 1,
) -> PlannedSet:
    """Check what is asked for and what the folder holds; arguments and errors as of `compose_set`."""
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}: one of {', '.join(SPLITS)} is accepted.")
    if not hours > 0 or hours > 100_000:
        raise UserError(f"hours is {hours}: a positive number is accepted.")
    if arrangement < 0:
        raise UserError(f"arrangement is {arrangement}: 0 (the pieces) or more (other bands) is accepted.")
    if edition not in EDITIONS:
        raise UserError(f"unknown edition {edition}: one of {', '.join(map(str, EDITIONS))} is accepted.")
    if bands < 1 or (bands > 1 and arrangement):
        raise UserError(
            f"{bands} bands a piece and arrangement {arrangement}: 1 or more is accepted, and more than 1 without an arrangement."
        )
    named = soundfont if isinstance(soundfont, Sequence) and not isinstance(soundfont, str) else [soundfont]
    fonts = [str(find_soundfont(font)) for font in named]
    if len(fonts) > 1 and edition == 1:
        raise UserError("pieces of edition 1 have one SoundFont: give a single one, or another edition.")
    planned = PlannedSet(Path(out), fonts, hours, Which(seed, split, 0, arrangement, edition), bands)
    if there := next(planned.folder.glob(f"{split}-{seed}-*.json"), None):
        _check_same(planned.folder, read_typed(there, dict[str, Any]), next(planned.pieces()), fonts)
    return planned


def compose_set(
    out: str | os.PathLike[str],
    hours: float,
    seed: int,
    split: str,
    soundfont: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    workers: int = 1,
    progress: bool = True,
    arrangement: int = 0,
    edition: int = 1,
    bands: int = 1,
) -> list[Path]:
    """Compose and render a split into a folder; a piece whose JSON exists is skipped.

    Args:
        out: the folder, see `PlannedSet`.
        hours: amount of audio wanted; the last piece goes over it.
        seed: any whole number; splits of one seed share nothing.
        split: `train`, `valid` or `test`.
        soundfont: file, or a name of `FONTS`; of several each piece gets one by its hash; None looks for one (see `find_soundfont`).
        workers: processes; the result does not depend on it.
        progress: show a bar.
        arrangement: 0 for the pieces, 1, 2, ... for other bands that play them (`compose`); a folder holds one arrangement.
        edition: see `EDITIONS`; a folder holds one.
        bands: versions of each piece, by so many bands, under names of their own: `arrangement` 0 to `bands` - 1.

    Returns: the JSON files of the set, in order.

    Raises:
        UserError: unknown split or edition, hours, workers or bands not positive, arrangement negative or together with several bands, no
            SoundFont, a folder that cannot be written or that holds another arrangement, edition or font.
    """
    if workers < 1:
        raise UserError(f"workers is {workers}: 1 or more is accepted.")
    planned = plan_set(out, hours, seed, split, soundfont, arrangement, edition, bands)
    pieces = list(planned.pieces())
    jobs = [planned.job(piece) for piece in pieces if not planned.path(piece).exists()]
    bar = tqdm(total=len(pieces), initial=len(pieces) - len(jobs), desc=f"compose {split}", unit="piece", disable=not progress)
    with bar:
        for _ in _run(jobs, planned.fonts, workers):
            bar.update()
    return list(map(planned.path, pieces))


def _run(jobs: list[tuple[str, Which]], fonts: Sequence[str], workers: int) -> Iterator[Which]:
    if not jobs:
        return
    if workers == 1:
        start_worker(fonts)
        yield from map(write_piece, jobs)
        return
    with pool(workers, start_worker, (fonts,)) as processes:
        yield from processes.map(write_piece, jobs)


class _Note(TypedDict):
    """What all descriptions have; names of stems begin with the id."""

    id: str
    chords: list[tuple[str | int, float]]
    melody: list[tuple[float, float, float]]
    captions: list[str]


def read_note(path: Path) -> dict[str, Any]:
    """The description of a composed piece.

    Raises:
        UserError: the file is damaged or something else.
    """
    try:
        note = loads(path.read_bytes())
        if not is_bare(typed(note, _Note)["id"]):
            raise ValueError(f"its id {note['id']!r} is no name of a file")
    except (OSError, ValueError) as error:
        raise UserError(f"{str(path)!r} does not describe a composed piece: {str(error).rstrip('.')}.") from error
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

    @property
    def beats(self) -> NDArray[np.float32]:
        """Phases of beat and bar of the stretch, [T, 2]."""
        beats = [(float(time), int(number)) for time, number in self.note.get("beats", [])]
        return phases(beats, self.total, self.frame_rate)[self.first : self.first + self.frames]


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
