"""Where music comes from: a folder, a manifest or a table -> tracks with captions."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import soundfile
from tqdm import tqdm

from jasco_pl.audio.decoding import AudioFile
from jasco_pl.prepare.captions import CaptionOptions, Tags, make_captions, read_tags
from jasco_pl.prepare.listing import (
    AUDIO_ENDINGS,
    CAPTION_COLUMNS,
    LIST_ENDINGS,
    NOTE_ENDINGS,
    Entry,
    decode_text,
    is_list,
    portable,
    read_list,
    scan,
)
from jasco_pl.prepare.rules import Rejected
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import loads

log = logging.getLogger(__name__)

_MOST_BYTES = 4 << 20  # of a file of captions or tags
_CLIP_SLACK = 1.0  # seconds by which a file may outlast a stretch and still be that stretch cut out already


@dataclass(frozen=True)
class Track:
    """A file, or a stretch of one, that is to become a sample."""

    path: str
    """Absolute path of the audio file."""
    name: str
    """Relative to the source, with forward slashes, as the user knows it; of a stretch with its seconds, e.g. `a.wav[30-40]`."""
    captions: list[str]
    """What is said about it; may be empty."""
    start: float = 0.0
    """Seconds."""
    stop: float | None = None
    """Seconds; None for the end of the file."""


@dataclass
class _Known:
    """What is said about a track before captions are made of it."""

    path: str
    start: float = 0.0
    stop: float | None = None
    given: list[str] = field(default_factory=list)
    tags: Tags = field(default_factory=dict)


def find_tracks(source: str | Path, captions: CaptionOptions, audio_dir: str | Path | None = None) -> tuple[list[Track], list[Rejected]]:
    """Everything that a source names.

    A folder gives its audio files at any depth, each with the same-name `.txt` (a caption a line) and `.json` (description, tags)
    beside it. A list (`listing.read_list`) gives what its lines name; a line without words is completed by the files beside its audio,
    as in audiocraft's manifests. Several lines about the same stretch of a file are several captions of it.

    Args:
        source: a folder, or a file with one of `LIST_ENDINGS`.
        captions: what to make of what is said about a track.
        audio_dir: what paths of a list are relative to, before the folder of the list and the working directory; for MusicCaps the
            folder whose files are named by YouTube id (`ID.wav`, `[ID]-[30-40].wav`, `ID_30_40.wav`).

    Returns:
        Tracks and what cannot become one, both sorted by name. Nothing is decoded: a file that is no music is found out later.

    Raises:
        UserError: `source` is neither a folder nor a list, or names nothing.
    """
    if os.path.isdir(source):
        known, rejected = _from_folder(Path(source))
    elif not os.path.exists(source):
        raise UserError(
            f"the source {os.fspath(source)!r} does not exist: a folder of audio, or a list ({', '.join(LIST_ENDINGS)}), is accepted."
        )
    elif is_list(source):
        known, rejected = _from_list(Path(source), None if audio_dir is None else Path(audio_dir))
    else:
        raise UserError(f"the source {os.fspath(source)!r} is neither a folder of audio nor a list ({', '.join(LIST_ENDINGS)}).")
    if captions.file_tags and captions.tags != "none":
        _read_inside([one for one in known.values() if not (one.given or one.tags)])
    tracks = [Track(one.path, name, make_captions(name, one.given, one.tags, captions), one.start, one.stop) for name, one in known.items()]
    return sorted(tracks, key=lambda track: track.name), sorted(rejected, key=lambda one: (one.name, one.reason))


def _from_folder(folder: Path) -> tuple[dict[str, _Known], list[Rejected]]:
    found = scan(folder)
    if not found.files and not found.rejected:
        raise UserError(f"the folder {str(folder)!r} holds no audio ({', '.join(AUDIO_ENDINGS)}).")
    if found.skipped:
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(found.skipped.items()))
        tqdm.write(f"passed over in {folder}: {counted}", file=sys.stderr)
    known = {name: _Known(path) for name, path in found.files.items()}
    for one in known.values():
        _read_notes(one, [path for path in _beside(one.path) if path in found.notes])
    return known, found.rejected


def _from_list(path: Path, audio_dir: Path | None) -> tuple[dict[str, _Known], list[Rejected]]:
    entries, rejected = read_list(path)
    places = [place for place in (audio_dir, path.parent, Path()) if place is not None]
    videos = _Videos(audio_dir or path.parent) if any(entry.video and not entry.path for entry in entries) else None
    known: dict[str, _Known] = {}
    names: dict[tuple[str, float, float | None], str] = {}
    for entry in entries:
        if entry.path:
            name, file, start, stop = portable(os.path.normpath(entry.path)), _locate(entry.path, places), entry.start, entry.stop
        else:
            assert videos is not None
            name, (file, start, stop) = entry.video, videos.find(entry)
        if entry.start or entry.stop is not None:
            name = f"{name}[{entry.start:g}-{'' if entry.stop is None else format(entry.stop, 'g')}]"
        if file is None:
            where = " or ".join(repr(str(place)) for place in (places if entry.path else places[:1]))
            rejected.append(Rejected(name, "missing", f"it is not found in {where}."))
            continue
        one = known.setdefault(names.setdefault((file, start, stop), name), _Known(file, start, stop))
        one.given.extend(entry.captions)
        one.tags.update(tags := read_tags(entry.tags))
        if not (entry.captions or tags):
            _read_notes(one, [*_beside(one.path), entry.info_path and _locate(entry.info_path, places)])
    return known, rejected


def _locate(path: str, places: Iterable[Path]) -> str | None:
    """Absolute path of the first existing file among the places; an absolute path stands for itself."""
    for place in places:
        candidate = os.path.abspath(place / os.path.expanduser(path))
        if os.path.isfile(candidate):
            return candidate
    return None


class _Videos:
    """Audio files of a folder, by the YouTube id that their names begin with."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"the audio folder {str(folder)!r} does not exist: files named by YouTube id are looked for there.")
        self._files: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for name, path in sorted(scan(folder).files.items()):
            stem = os.path.splitext(os.path.basename(name))[0].removeprefix("[")
            self._files[stem[:11]].append((stem[11:], path))

    def find(self, entry: Entry) -> tuple[str | None, float, float | None]:
        """The file of an entry, and where in it the stretch lies: all of it, if the file is the stretch cut out already."""
        whole = None
        for rest, path in self._files.get(entry.video, ()):
            numbers = [int(number) for number in re.findall(r"\d+", rest)]
            if not numbers:
                whole = whole or path
            elif numbers[0] in (int(entry.start), int(entry.start * 1000)):
                return path, 0.0, None
        if whole is None or entry.stop is None:
            return whole, entry.start, entry.stop
        try:
            seconds = AudioFile(whole).claimed_seconds
        except UserError:
            return whole, entry.start, entry.stop  # will be rejected by whoever decodes it
        is_clip = seconds <= entry.stop - entry.start + _CLIP_SLACK
        return (whole, 0.0, None) if is_clip else (whole, entry.start, entry.stop)


def _beside(path: str) -> list[str]:
    return [os.path.splitext(path)[0] + ending for ending in NOTE_ENDINGS]


def _read_notes(one: _Known, paths: Iterable[str | None]) -> None:
    """Add what text files (a caption a line) and JSON files (description and tags) say; a missing one says nothing."""
    for path in dict.fromkeys(filter(None, paths)):
        if (text := _read(path)) is None:
            continue
        if path.endswith(NOTE_ENDINGS[0]):
            one.given.extend(filter(str.strip, text.splitlines()))
            continue
        try:
            note = loads(text)
            if not isinstance(note, dict):
                continue
            given: list[str] = []
            for key in ("captions", *CAPTION_COLUMNS):
                value = note.pop(key, None)
                given.extend(filter(None, map(str, value if isinstance(value, list) else [value or ""])))
            tags = read_tags(note)
        except (ValueError, RecursionError):  # the latter of lists in lists that JSON could just hold
            log.warning("%s is not JSON: what it says about the music is not used", path)
            continue
        one.given.extend(given)
        one.tags.update(tags)


def _read_inside(silent: list[_Known]) -> None:
    """Add the tags that files carry themselves, as far as libsndfile passes them on: title, artist and genre, no key and no tempo."""

    def read(one: _Known) -> Tags:
        try:
            with soundfile.SoundFile(os.fsencode(one.path)) as file:  # as bytes: it may be no UTF-8
                return read_tags(file.copy_metadata())
        except (soundfile.LibsndfileError, RuntimeError, OSError):
            return {}  # will be rejected by whoever decodes it

    with ThreadPoolExecutor(8) as pool:  # waiting for the file system is most of it
        for one, tags in zip(silent, tqdm(pool.map(read, silent), "tags in files", len(silent), unit="file", delay=2), strict=True):
            one.tags = tags


def _read(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError:
        return None
    if len(content) > _MOST_BYTES:
        log.warning("%s is larger than %d MiB, which no caption is: it is not used", path, _MOST_BYTES >> 20)
        return None
    return decode_text(content)
