"""What DAWs read of a WAV besides its sound: tempo, meter and root (acid), a loop (smpl), markers (cue, LIST adtl), title and comment (LIST
INFO).

The layout of RIFF chunks is Microsoft's "Multimedia Programming Interface and Data Specifications 1.0"; that of acid, which Sony never
published, is as ACID, Reaper, Live and libsndfile read it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from jasco_pl.system.files import write_bytes

INFO = {"INAM": "title", "ICMT": "comment", "ISFT": "software"}
"""RIFF's names, and what other formats call the same."""
_HAS_ROOT, _STRETCHES = 2, 4
_MIDDLE_C = 60
_ROOT_OCTAVE = 48  # C3 in MIDI's count from C-1: the octave in which ACID writes roots


@dataclass(frozen=True)
class Tags:
    """Of a WAV; what is empty is not written.

    Attributes:
        bpm: tempo of the meter's beat.
        meter: beats in a bar, and the beat's note value.
        root: pitch class of the tonic; is written with a tempo only.
        markers: (name, seconds).
        info: by RIFF's names of four letters: INAM (title), ICMT (comment), ISFT (software), ...
        loop: whether all of it is to be played over and over.
    """

    bpm: float | None = None
    meter: tuple[int, int] = (4, 4)
    root: int | None = None
    markers: Sequence[tuple[str, float]] = ()
    info: Sequence[tuple[str, str]] = ()
    loop: bool = False


def write_tags(path: str | os.PathLike[str], tags: Tags) -> None:
    """Put tags behind the sound of a WAV that has none.

    Raises:
        UserError: it cannot be written. ValueError: it is no WAV of the plain kind.
    """
    content = Path(path).read_bytes()
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise ValueError(f"{os.fspath(path)!r} is no RIFF WAVE file")
    rate, frames = _shape(content)
    content += b"\0" * (len(content) % 2) + _chunks(tags, rate, frames)
    write_bytes(path, b"RIFF" + struct.pack("<I", len(content) - 8) + content[8:])


def said_in(path: str | os.PathLike[str]) -> dict[str, str]:
    """Title, comment and software that lie in a WAV, by the names that other formats have for them."""
    with soundfile.SoundFile(path) as file:
        return {name: text for name in INFO.values() if (text := getattr(file, name))}


def chunks(content: bytes) -> dict[bytes, bytes]:
    """The chunks of a WAV by their names; of several of a name the last, of lists by their kind."""
    found, place = {}, 12
    while place + 8 <= len(content):
        name, size = content[place : place + 4], int.from_bytes(content[place + 4 : place + 8], "little")
        data = content[place + 8 : place + 8 + size]
        found[data[:4] if name == b"LIST" else name] = data
        place += 8 + size + size % 2
    return found


def _shape(content: bytes) -> tuple[int, int]:
    """Samples a second, and frames."""
    found = chunks(content)
    rate, _, size = struct.unpack("<IIH", found[b"fmt "][4:14])
    return rate, len(found[b"data"]) // size


def _chunks(tags: Tags, rate: int, frames: int) -> bytes:
    written = b""
    if tags.bpm is not None:
        beats = round(frames / rate * tags.bpm / 60)
        flags = _STRETCHES | (0 if tags.root is None else _HAS_ROOT)
        root = _ROOT_OCTAVE + (tags.root or 0)
        written += _chunk(b"acid", struct.pack("<IHHfIHHf", flags, root, 0x8000, 0.0, beats, tags.meter[1], tags.meter[0], tags.bpm))
    if tags.loop:  # one forward loop without end over all frames, of a sample that plays as it is at middle C
        header = struct.pack("<9I", 0, 0, round(1e9 / rate), _MIDDLE_C, 0, 0, 0, 1, 0)
        written += _chunk(b"smpl", header + struct.pack("<6I", 0, 0, 0, frames - 1, 0, 0))
    if tags.markers:
        points, names = b"", b""
        for number, (name, seconds) in enumerate(tags.markers, 1):
            sample = min(round(seconds * rate), frames)
            points += struct.pack("<II4sIII", number, sample, b"data", 0, 0, sample)
            names += _chunk(b"labl", struct.pack("<I", number) + name.encode() + b"\0")
        written += _chunk(b"cue ", struct.pack("<I", len(tags.markers)) + points) + _chunk(b"LIST", b"adtl" + names)
    texts = b"".join(_chunk(name.encode(), text.encode(errors="replace") + b"\0") for name, text in tags.info if text)
    return written + (_chunk(b"LIST", b"INFO" + texts) if texts else b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
