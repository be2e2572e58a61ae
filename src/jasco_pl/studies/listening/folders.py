"""Which recordings a folder holds, also where an evaluation has put them deeper than one would look."""

from __future__ import annotations

from pathlib import Path

from jasco_pl.system.errors import UserError
from jasco_pl.system.files import loads

SUFFIXES = (".flac", ".wav", ".ogg", ".mp3")
_DEEPEST = 3  # folders under one that is named, in which recordings are looked for
_LISTED = 8


def find_clips(folder: str | Path) -> dict[str, Path]:
    """Audio files of a folder by stem; where it has none, of the only folder under it that has.

    An evaluation writes OUT/KEY/SET/ROW, so that OUT/ROW stands for it as well, and OUT where there is one row.

    Raises:
        UserError: no such folder, no audio in it or in several under it, or one stem twice.
    """
    folder = _meant(Path(folder))
    found: dict[str, Path] = {}
    for path in sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")):
        if path.stem in found:
            raise UserError(f"{str(folder)!r} holds {found[path.stem].name} and {path.name}: one recording of a name is wanted.")
        found[path.stem] = path
    if not found:
        raise UserError(f"{str(folder)!r} holds no audio files ({', '.join(suffix[1:] for suffix in SUFFIXES)}).")
    return found


def find_references(path: str | Path) -> dict[str, Path]:
    """Original recordings by clip: a folder's, or those that the results.json of an evaluation names.

    Raises:
        UserError: as `find_clips`; the file holds no results, or names recordings that are not there.
    """
    if not Path(path).is_file():
        return find_clips(path)
    try:
        found = {name: Path(path).parent / entry["audio"] for name, entry in loads(Path(path).read_bytes())["references"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{str(path)!r} is no results.json of an evaluation; that, or a folder of recordings, is wanted.") from None
    for recording in found.values():
        if not recording.is_relative_to(Path(path).parent) or ".." in recording.relative_to(Path(path).parent).parts:
            raise UserError(f"{str(path)!r} names the recording {str(recording)!r}, which lies outside of its folder.")
        if not recording.is_file():
            raise UserError(f"{str(path)!r} names the recording {str(recording)!r}, which is not there.")
    return found


def _meant(folder: Path) -> Path:
    if _has_audio(folder):
        return folder
    inside, name = (folder, "*") if folder.is_dir() else (folder.parent, folder.name)
    found = [path for depth in range(_DEEPEST) for path in sorted(inside.glob("*/" * depth + name)) if _has_audio(path)]
    if len(found) > 1:
        listed = ", ".join(map(str, found[:_LISTED])) + (f" and {len(found) - _LISTED} more" if len(found) > _LISTED else "")
        raise UserError(f"several folders under {str(folder if folder.is_dir() else inside)!r} hold recordings: name one of {listed}.")
    if found:
        return found[0]
    if not folder.is_dir():
        raise UserError(f"there is no folder {str(folder)!r}.")
    return folder


def _has_audio(folder: Path) -> bool:
    return folder.is_dir() and any(path.suffix.lower() in SUFFIXES and not path.name.startswith(".") for path in folder.iterdir())
