"""Clips as files."""

from __future__ import annotations

import itertools
import os
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jasco_pl.audio.files import loudness_normalize, measure_loudness, write_audio
from jasco_pl.audio.suffixes import SUBTYPES
from jasco_pl.audio.wav_tags import INFO, write_tags
from jasco_pl.generation.jasco import Clip
from jasco_pl.generation.sheet import sheet_of, tags_of
from jasco_pl.notation.midi_writer import write_midi
from jasco_pl.system.errors import WriteError
from jasco_pl.system.files import explain_os_error, write_json

LOUDNESS = -14.0
"""LUFS of a clip, as far as its peaks allow."""
_UNTOLD = 1.0  # LU below it of which nobody is told


def save_clip(clip: Clip, path: Path, settings: dict[str, Any], compression: float | None = None) -> None:
    """Sound at -14 LUFS with what was asked for in its tags, and JSON beside it; `compression` as for `write_audio`.

    A clip whose peaks keep it quieter gets a note that says so. A recording that is painted stays at its level, unless full scale is too
    little for it.
    """
    if clip.recording is None:
        reach = clip.sample_rate // 10 if clip.request.loop else 0  # the limiter hears what comes before and after
        before, after = clip.audio[:, clip.audio.shape[-1] - reach :], clip.audio[:, :reach]
        audio, loudness = loudness_normalize(torch.cat([before, clip.audio, after], dim=1), clip.sample_rate, LOUDNESS)
        audio = audio[:, before.shape[-1] : audio.shape[-1] - after.shape[-1]]
        if loudness is not None and loudness < LOUDNESS - _UNTOLD:
            clip.notes = list(dict.fromkeys([*clip.notes, f"{loudness:.1f} LUFS: louder, its peaks would clip"]))
    else:
        audio = clip.audio / clip.audio.abs().max().clamp(min=1.0)
        loudness = measure_loudness(audio, clip.sample_rate)
    tags = tags_of(clip)
    if path.suffix.lower() == ".wav":
        write_audio(path, audio, clip.sample_rate)
        write_tags(path, tags)
    else:
        write_audio(path, audio, clip.sample_rate, compression=compression, said={INFO[name]: text for name, text in tags.info if text})
    write_json(path.with_suffix(".json"), {**settings, "notes": clip.notes, "loudness_lufs": loudness, "sound": checksum(audio)})


def checksum(audio: Tensor) -> str:
    """Of sound [1, S] as 16 bits, whatever it is written as."""
    return f"{zlib.crc32((audio.clamp(-1, 1) * 32767).round().to(torch.int16).numpy().tobytes()):08x}"


def save_take(clip: Clip, path: Path, settings: dict[str, Any], midi: bool = False) -> Path:
    """The same, over nothing that is there: where `song.wav` or what goes with it exists, as `song-2.wav`, `song-3.wav`, ...

    `midi` also writes chords, melody and drum onsets that were asked for as `song.mid`. All of it appears whole. Of several processes that
    write into a folder at once each gets a name of its own.

    Returns:
        The path of the sound.

    Raises:
        UserError: it cannot be written.
    """

    def write(fresh: Path) -> None:
        save_clip(clip, fresh, settings)
        if midi:
            write_midi(fresh.with_suffix(".mid"), sheet_of(clip))

    return place_take(path, write)


def place_take(path: Path, write: Callable[[Path], None]) -> Path:
    """What `write` writes under a name and beside it, a sound and its JSON at least, over nothing that is there, as `save_take`.

    Returns:
        The path of the sound.

    Raises:
        UserError: it cannot be written.
    """
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{path.stem[:32]}.", suffix=".part.d") as name:
            write(Path(name) / f"take{path.suffix}")
            return _placed(sorted(Path(name).iterdir(), key=lambda file: file.suffix != ".json"), path)
    except OSError as error:
        raise explain_os_error(error, path) from error
    except WriteError as error:  # it names a file in the folder that is gone
        raise explain_os_error(error.__cause__, path) if isinstance(error.__cause__, OSError) else error from error


def _placed(files: list[Path], path: Path) -> Path:
    """Move files under the first free name; whoever gets the first of them, the JSON, has the name."""
    for number in itertools.count(1):
        place = path.with_name(f"{path.stem}-{number}{path.suffix}" if number > 1 else path.name)
        if any(place.with_suffix(suffix).exists() for suffix in (*SUBTYPES, ".json", ".mid")):
            continue
        try:
            _claim(files[0], place.with_suffix(files[0].suffix))
        except FileExistsError:
            continue
        for file in files[1:]:
            file.replace(place.with_suffix(file.suffix))
        return place
    raise AssertionError


def _claim(file: Path, place: Path) -> None:
    """Move a file to where nothing is, or raise FileExistsError; a link can do so in one step, but not on every file system."""
    try:
        os.link(file, place)
    except FileExistsError:
        raise
    except OSError:
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        file.replace(place)
