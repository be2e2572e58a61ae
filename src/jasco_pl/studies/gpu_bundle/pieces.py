"""Results as pieces of limited size with a manifest, and back: what crosses from a machine that hands back small files only.

A save is `JOB-N.json`, its manifest, and `JOB-N.000`, `JOB-N.001`, ...: a tar of the results, cut. The manifest is written last, and only
then is the save before removed, so that a machine that disappears in between leaves one that is whole.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_folder, atomic_path, loads, replaceable, write_json

PIECE = 15 * 2**20
_PART = re.compile(r"(?P<job>[a-z]+)-(?P<save>\d+)\.(json|\d+)")
_BLOCK = 1 << 20
RECEIPT = "manifest.json"  # in a joined folder: what it was joined from


@dataclass(frozen=True)
class Save:
    """A save that is there: its job, its number, its manifest."""

    job: str
    number: int
    path: Path
    manifest: dict[str, Any]


def save(results: Path, out: Path, job: str, facts: Mapping[str, Any], piece: int = PIECE) -> Path:
    """Cut a folder of results into pieces in `out` and remove the saves of that job that were there before.

    Args:
        results: folder; all of it is taken.
        out: where the pieces go.
        job: its name, in small letters.
        facts: what the manifest says beside sizes and checksums.
        piece: largest size of a piece in bytes.

    Returns: the manifest.

    Raises:
        UserError: `out` cannot be written.
    """
    there = [(path, match) for path in out.glob(f"{job}-*") if (match := _PART.fullmatch(path.name))]
    number = 1 + max((int(match["save"]) for _, match in there), default=0)
    pieces = []
    with tempfile.TemporaryFile() as tar:
        with tarfile.open(fileobj=tar, mode="w") as archive:
            for path in sorted(results.rglob("*")):
                archive.add(path, path.relative_to(results).as_posix(), recursive=False)
        whole = tar.tell()
        tar.seek(0)
        for place in range(-(-whole // piece)):
            part = tar.read(piece)
            name = f"{job}-{number}.{place:03d}"
            with atomic_path(out / name) as temporary:
                temporary.write_bytes(part)
            pieces.append({"name": name, "bytes": len(part), "sha256": hashlib.sha256(part).hexdigest()})
    manifest = out / f"{job}-{number}.json"
    write_json(manifest, {"job": job, **facts, "bytes": whole, "pieces": pieces})
    for path, _ in there:
        path.unlink()
    return manifest


def find_saves(folder: Path) -> list[Save]:
    """The last save of every job in a folder.

    Raises:
        UserError: there is none, or a manifest is damaged.
    """
    last: dict[str, tuple[int, Path]] = {}
    for path in folder.glob("*.json"):
        if match := _PART.fullmatch(path.name):
            last[match["job"]] = max(last.get(match["job"], (0, path)), (int(match["save"]), path))
    if not last:
        raise UserError(f"{str(folder)!r} holds no results: a folder with a manifest such as train-1.json and its pieces is accepted.")
    return [Save(job, number, path, _read_manifest(path)) for job, (number, path) in sorted(last.items())]


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = loads(path.read_bytes())
        if sum(piece["bytes"] for piece in manifest["pieces"]) != manifest["bytes"] or not isinstance(manifest["job"], str):
            raise ValueError("its sizes do not add up")
        for piece in manifest["pieces"]:
            if Path(piece["name"]).name != piece["name"] or not isinstance(piece["sha256"], str):
                raise ValueError("it names no piece beside it")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{str(path)!r} is damaged and tells nothing of its pieces ({error}): bring it from the machine again.") from error
    return manifest


def faults(found: Save) -> list[str]:
    """What is missing or damaged of a save, a clause each."""
    wrong = []
    for piece in found.manifest["pieces"]:
        path = found.path.with_name(piece["name"])
        if not path.is_file():
            wrong.append(f"{piece['name']} is missing")
        elif (size := path.stat().st_size) != piece["bytes"]:
            wrong.append(f"{piece['name']} has {size} bytes, not {piece['bytes']}")
        elif _sha256(path) != piece["sha256"]:
            wrong.append(f"{piece['name']} is damaged")
    return wrong


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def join(folder: str | Path, out: str | Path) -> list[Path]:
    """Check the last save of every job in a folder and unpack each into `out/JOB`, in place of what was joined there before.

    Nothing is written unless everything is whole.

    Returns: the folders, one a job.

    Raises:
        UserError: pieces are missing or damaged; `out/JOB` holds something else; it cannot be written.
    """
    saves, out = find_saves(Path(folder)), Path(out)
    if wrong := [fault for found in saves for fault in faults(found)]:
        raise UserError(f"nothing was joined from {str(folder)!r}: {'; '.join(wrong)}; bring what is named from the machine again.")
    for found in saves:
        target = out / found.job
        if not replaceable(target, RECEIPT):
            raise UserError(f"{str(target)!r} holds something else than joined results: name another folder, or remove it.")
    return [_unpack(found, out / found.job) for found in saves]


def _unpack(found: Save, target: Path) -> Path:
    try:
        with atomic_folder(target) as fresh, tempfile.TemporaryFile() as tar:
            for piece in found.manifest["pieces"]:
                with open(found.path.with_name(piece["name"]), "rb") as file:
                    shutil.copyfileobj(file, tar, _BLOCK)
            tar.seek(0)
            with tarfile.open(fileobj=tar) as archive:
                archive.extractall(fresh, filter="data")
            write_json(fresh / RECEIPT, found.manifest)
    except tarfile.TarError as error:
        raise UserError(f"what {found.path.name} describes cannot be unpacked: {str(error).rstrip('.')}.") from error
    return target
