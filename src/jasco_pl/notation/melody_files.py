"""What a melody's file holds: its content says so, and its ending only where the content does not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from jasco_pl.notation.midi_file import is_audio, is_midi
from jasco_pl.system.errors import UserError

MIDI_SUFFIXES = (".mid", ".midi", ".kar", ".rmi", ".smf")
ARRAY_SUFFIXES = (".npy", ".pt", ".th", ".safetensors")
MOST_BYTES = 64 << 20  # of a file, and of the array in one: the salience of five hours


def kind_of(path: str | os.PathLike[str]) -> Literal["midi", "array", "audio"]:
    """What to read a file as; one that cannot be opened goes by its ending, and who opens it says why not."""
    try:
        with open(path, "rb") as file:
            head = file.read(256)
    except (OSError, ValueError):
        head = b""
    suffix = Path(path).suffix.lower()
    if is_midi(head):
        return "midi"
    if suffix in ARRAY_SUFFIXES:
        return "array"
    return "midi" if suffix in MIDI_SUFFIXES and not is_audio(head) else "audio"


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """All of a melody's file.

    Raises:
        UserError: it is not there, cannot be read, or is too large.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"melody file {os.fspath(path)!r} does not exist.") from None
    except OSError as error:
        raise UserError(f"melody file {os.fspath(path)!r} cannot be read: {error.strerror}.") from None
    if len(content) > MOST_BYTES:
        raise UserError(f"melody file {os.fspath(path)!r} is larger than {MOST_BYTES >> 20} MiB, which no melody is.")
    return content


def read_start(second: float | None) -> float | None:
    """The second of a melody at which a clip takes it up.

    Raises:
        UserError: there is no such second.
    """
    if second is not None and not 0 <= second < 360_000:
        raise UserError(f"the melody can be taken from a second between 0 and 360000 (melody_from), not from {second:g}.")
    return second


def check_details(melody: object, track: str | int | None, start: float | None) -> None:
    """Raise UserError if something is said of a melody and there is none."""
    if melody is None and (track is not None or start is not None):
        raise UserError("a track or a second of a melody was given (track, melody_from), but no melody to take it from.")


def no_track(path: str | os.PathLike[str], track: str | int | None) -> None:
    """Raise UserError if a track is asked for of a file that is no MIDI."""
    if track is not None:
        raise UserError(f"melody file {os.fspath(path)!r} is no MIDI file, so that it has no track {str(track)!r}.")


def begins_late(start: float) -> str:
    """The remark on a melody that begins after the clip has ended."""
    return f"the melody begins at {start:.2f} s, after the clip's end, and is taken from there; --melody-from takes it from elsewhere"
