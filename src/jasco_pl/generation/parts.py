"""What a clip is made of, as checksums: the folders of checkpoint, codec and text encoder, and the files that a request names.

They are kept in the clip's JSON, and compared before it is made again.
"""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jasco_pl.controls import all_options
from jasco_pl.network.text import resolve
from jasco_pl.notation.chords.files import names_a_file
from jasco_pl.system.errors import UserError
from jasco_pl.system.resources import locate

_WEIGHTS = {".json", ".safetensors", ".bin", ".model", ".txt"}  # in a folder; not cards and pictures
_BLOCK = 1 << 20


def parts_of(checkpoint: str | Path, asked: Mapping[str, Any], files: Mapping[str, str | Path] | None = None) -> dict[str, str]:
    """Checksums by what they are of: `checkpoint`, `codec`, `text encoder`, options of a request that name files, and further files.

    What lies on a Hub, and what was given in Python as an array, has none.
    """
    folder = Path(locate(checkpoint))
    found = {"checkpoint": _of_folder(str(folder)) if folder.is_dir() else None}
    if folder.is_dir():
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        found["codec"] = _of_folder(locate(config["codec"], folder))
        found["text encoder"] = _of_folder(resolve(config["text_encoder"]))
    for name in all_options():
        value = asked.get(name)
        if isinstance(value, str | Path) and (path := file_of(name, str(value))) is not None:
            found[name] = _of_file(path)
    found |= {name: _of_file(Path(path)) for name, path in (files or {}).items()}
    return {name: value for name, value in found.items() if value is not None}


def file_of(option: str, value: str) -> Path | None:
    """The file that a value of an option names; None where it names none."""
    kind = all_options()[option].kind
    if kind == "file" or (option in ("chords", "dynamics") and names_a_file(value)):
        return Path(value)
    return None


def check_parts(told: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise UserError if a part is another one, or is not there, and say which."""
    for name, checksum in told.items():
        if now.get(name) != checksum:
            state = "is not there any more" if name not in now else "is not what it was"
            raise UserError(f"the clip cannot be made again: its {name} {state} ({now.get(name, 'none')} in place of {checksum}).")


def _of_folder(name: str) -> str | None:
    """None where there is no such folder: it may be a Hub id."""
    folder = Path(name)
    if not folder.is_dir():
        return None
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in _WEIGHTS)
    return _of_files(tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files))


@functools.cache
def _of_files(files: tuple[tuple[str, int, int], ...]) -> str:
    """Of files by path, size and time: of many clips they are read once."""
    whole = 0
    for name, _, _ in files:
        whole = zlib.crc32(f"{Path(name).name} {_of_file(Path(name))}".encode(), whole)
    return f"{whole:08x}"


def _of_file(path: Path) -> str | None:
    whole = 0
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                whole = zlib.crc32(block, whole)
    except OSError:
        return None
    return f"{whole:08x}"
