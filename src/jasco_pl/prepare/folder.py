"""The audio files of a folder, at any depth."""

from __future__ import annotations

import os
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from jasco_pl.prepare.rejected import Rejected

NOTE_ENDINGS = (".txt", ".json")
AUDIO_ENDINGS = (".wav", ".flac", ".ogg", ".oga", ".mp3", ".opus", ".aiff", ".aif")
# Music all the same, but nothing that libsndfile decodes: whoever has a folder of it must be told.
_FOREIGN_ENDINGS = (".m4a", ".aac", ".wma", ".ape", ".wv", ".mpc", ".mka", ".alac", ".dsf", ".dff", ".amr", ".ra", ".mp4", ".webm")
_MAGIC = {b"RIFF": "wav", b"fLaC": "flac", b"OggS": "ogg", b"ID3\x02": "mp3", b"ID3\x03": "mp3", b"ID3\x04": "mp3"}


@dataclass
class Contents:
    """What lies in a folder; names are relative to it."""

    files: dict[str, str] = field(default_factory=dict)
    """Name -> absolute path of each audio file."""
    notes: set[str] = field(default_factory=set)
    """Absolute paths of texts and JSON with the name of an audio file: to ask a distant disk about each possible one would take long."""
    rejected: list[Rejected] = field(default_factory=list)
    """Folders that cannot be opened, audio under an ending that is not read."""
    skipped: Counter[str] = field(default_factory=Counter)
    """How many files and folders were passed over: `hidden`, `not audio`."""


def portable(path: str) -> str:
    """A path with forward slashes that can be written as UTF-8: bytes of another encoding become escapes such as `\\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace").replace(os.sep, "/")


def scan(folder: str | Path) -> Contents:
    """Walk a folder; what it holds is decided by names alone, nothing is decoded.

    Links to folders are followed, after everything that lies there itself and each folder once, so that a loop ends and a file keeps
    the name of the place where it lies.

    Args:
        folder: must exist.

    Returns:
        The contents; `files` in no particular order.
    """
    found = Contents()
    top = os.path.abspath(folder)
    seen: set[tuple[int, int]] = set()
    pending, links = deque([top]), deque[str]()
    while pending or links:
        place = pending.popleft() if pending else links.popleft()
        try:
            status = os.stat(place)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(place) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            name = portable(os.path.relpath(place, top))
            found.rejected.append(Rejected(name, "unreadable", f"the folder cannot be read: {error.strerror}."))
            continue
        for entry in inside:
            if entry.name.startswith("."):
                found.skipped["hidden"] += 1
            elif os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():  # the former bears links to themselves
                (links if entry.is_symlink() else pending).append(entry.path)
            else:
                _take(entry.path, portable(os.path.relpath(entry.path, top)), found)
    stems = {os.path.splitext(path)[0] for path in found.files.values()}
    for note in sorted(note for note in found.notes if os.path.splitext(note)[0] not in stems):
        found.notes.remove(note)
        _pass_over(note, portable(os.path.relpath(note, top)), found)
    return found


def _take(path: str, name: str, found: Contents) -> None:
    ending = os.path.splitext(name)[1].lower()
    if ending in NOTE_ENDINGS:
        found.notes.add(path)
    elif ending not in AUDIO_ENDINGS:
        _pass_over(path, name, found)
    elif os.path.isfile(path):
        found.files[name] = path
    elif os.path.islink(path) and not os.path.exists(path):
        found.rejected.append(Rejected(name, "missing", "it is a link that leads nowhere."))
    else:
        found.rejected.append(Rejected(name, "unreadable", "it is not a regular file."))


def _pass_over(path: str, name: str, found: Contents) -> None:
    accepted = ", ".join(ending[1:] for ending in AUDIO_ENDINGS)
    if os.path.splitext(name)[1].lower() in _FOREIGN_ENDINGS:
        found.rejected.append(Rejected(name, "not audio", f"files of its kind are not read: convert it to one of {accepted}."))
    elif kind := _kind_by_content(path):
        detail = f"it begins like {kind} but is not named so: give it one of the endings {accepted}."
        found.rejected.append(Rejected(name, "wrong ending", detail))
    else:
        found.skipped["not audio"] += 1


def _kind_by_content(path: str) -> str | None:
    try:
        if not os.path.isfile(path):
            return None  # opening a pipe would wait for its writer
        with open(path, "rb") as file:
            start = file.read(12)
    except OSError:
        return None
    if start.startswith(b"RIFF") and start[8:] != b"WAVE":
        return None
    return _MAGIC.get(start[:4])
