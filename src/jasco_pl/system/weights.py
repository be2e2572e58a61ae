"""Published weights as files: named by the user, found in a cache, or fetched once and compared with their checksum."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from pathlib import Path

from tqdm import tqdm

from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path

_SECONDS = 20
_BLOCK = 1 << 20


class FetchError(Exception):
    """A file cannot be fetched; the message is the reason alone."""


def offline() -> bool:
    """Whether nothing is to be fetched: the variable by which Hugging Face's libraries are told so."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def named_file(what: str, given: str | os.PathLike[str] | None, variable: str, accepted: str = "") -> Path | None:
    """The file that the user named, by an option or else by an environment variable; None where neither did.

    Raises:
        UserError: a named file does not exist; `what` it should hold and what is `accepted` are said.
    """
    for path, source in ((given, ""), (os.environ.get(variable), f" (from {variable})")):
        if path:
            if not Path(path).is_file():
                raise UserError(f"there is no file {os.fspath(path)!r}{source} with the weights of {what}{accepted and f'; {accepted}'}.")
            return Path(path)
    return None


def fetch(url: str, target: Path, sha256: str = "") -> Path:
    """Fetch a file with a bar, whole or not at all.

    Args:
        url: where it is published.
        target: where it goes.
        sha256: how its checksum must begin.

    Raises:
        FetchError: HF_HUB_OFFLINE is set, or it cannot be reached.
        UserError: what came is another file, or it cannot be written.
    """
    if offline():
        raise FetchError("HF_HUB_OFFLINE is set")
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer, atomic_path(target) as temporary:
            total = int(answer.headers.get("Content-Length") or 0) or None
            with temporary.open("wb") as file, tqdm(total=total, desc=target.name, unit="B", unit_scale=True) as bar:
                while block := answer.read(_BLOCK):
                    digest.update(block)
                    file.write(block)
                    bar.update(len(block))
            if not digest.hexdigest().startswith(sha256):
                raise UserError(f"what {url} gave is not the file of that name: its sha256 is {digest.hexdigest()}, expected was {sha256}.")
    except OSError as error:  # URLError and timeouts among them
        raise FetchError(str(getattr(error, "reason", error)) or type(error).__name__) from error
    return target


def checksum(path: str | os.PathLike[str]) -> str:
    """sha256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
