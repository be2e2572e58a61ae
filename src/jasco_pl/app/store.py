"""What visitors gave and made, as files: each visitor has a folder of its own, and everything in it is whole or absent.

    ROOT/VISITOR/uploads/ID/upload.json, upload.wav or upload.mid
    ROOT/VISITOR/jobs/ID/job.json, take-0.wav, take-0.json, ...

VISITOR is a hash of the visitor's token, so that who reads the disk cannot speak as anybody; all names are the server's own.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jasco_pl.app.errors import FullError, MissingError
from jasco_pl.app.jobs import Job
from jasco_pl.app.limits import Limits
from jasco_pl.system.files import remove_leftovers, write_json

_ID = re.compile(r"[0-9a-f]{16}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")


def new_id() -> str:
    """Of an upload or a job."""
    return secrets.token_hex(8)


def new_token() -> str:
    """What a visitor is known by."""
    return secrets.token_urlsafe(24)


def is_token(text: str) -> bool:
    """Whether it can be one of ours."""
    return _TOKEN.fullmatch(text) is not None


class Visitor:
    """The files of one visitor.

    Args:
        folder: theirs; made when something is first written.
        limits: what is kept for them.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder, self.limits, self.root = folder, limits, folder.parent

    def _at(self, kind: str, identity: str, what: str) -> Path:
        if not _ID.fullmatch(identity):
            raise MissingError(f"there is no {what} {identity[:40]!r}.")
        return self.folder / kind / identity

    def check_room(self, kind: str) -> None:
        """Raise FullError if no more `uploads` or `jobs` are kept."""
        held = sum(1 for _ in self._all(kind))
        most = self.limits.visitor_uploads if kind == "uploads" else self.limits.visitor_jobs
        if held >= most:
            raise FullError(f"{held} {kind} are kept for you already, which is the most: delete some from the history.")
        if shutil.disk_usage(self.root).free < self.limits.free_bytes:
            raise FullError("the disk of the server is nearly full; its owner has to make room.")
        size = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        if size >= self.limits.visitor_bytes:
            raise FullError(f"{size >> 20} MiB are kept for you already, which is the most: delete some takes from the history.")

    def _all(self, kind: str) -> Iterator[Path]:
        folder = self.folder / kind
        return (path for path in folder.iterdir() if _ID.fullmatch(path.name)) if folder.is_dir() else iter(())

    def upload_folder(self, identity: str) -> Path:
        """Where an upload lies or will lie."""
        return self._at("uploads", identity, "upload")

    def upload(self, identity: str) -> dict[str, Any]:
        """What is known of an upload; raises MissingError."""
        return _read(self.upload_folder(identity) / "upload.json", f"upload {identity!r}: it was deleted, or belongs to somebody else")

    def uploads(self) -> list[dict[str, Any]]:
        """All of them, the newest first."""
        found = [_read(path / "upload.json", "upload") for path in self._all("uploads") if (path / "upload.json").is_file()]
        return sorted(found, key=lambda one: -one["created"])

    def job_folder(self, identity: str) -> Path:
        """Where a job lies or will lie."""
        return self._at("jobs", identity, "job")

    def job(self, identity: str) -> Job:
        """A job as it was last written; raises MissingError."""
        folder = self.job_folder(identity)
        return Job.read(folder, _read(folder / "job.json", f"job {identity!r}: it was deleted, or belongs to somebody else"))

    def jobs(self) -> list[Job]:
        """All of them, the newest first."""
        found = [self.job(path.name) for path in self._all("jobs") if (path / "job.json").is_file()]
        return sorted(found, key=lambda job: -job.created)

    def remove(self, kind: str, identity: str) -> None:
        """Delete an upload or a job."""
        shutil.rmtree(self._at(kind, identity, kind[:-1]), ignore_errors=True)


class Store:
    """All visitors.

    Args:
        root: the folder.
        limits: what is kept, and for how long.
    """

    def __init__(self, root: Path, limits: Limits) -> None:
        self.root, self.limits = root, limits

    def visitor(self, token: str) -> Visitor:
        """Whose token it is."""
        return Visitor(self.root / hashlib.sha256(token.encode()).hexdigest()[:32], self.limits)

    def recover(self) -> int:
        """After a start: what a server that was killed left half done is cleared away or said; how many jobs that were."""
        self.root.mkdir(parents=True, exist_ok=True)
        interrupted = 0
        for job in self._jobs():
            if job.state in ("waiting", "running"):
                job.end("interrupted", "the server ended while this was being made; what is here of it is whole.")
                interrupted += 1
        for folder in [self.root, *self.root.glob("*/uploads"), *self.root.glob("*/uploads/*"), *self.root.glob("*/jobs/*")]:
            remove_leftovers(folder)
        for upload in self.root.glob("*/uploads/*"):
            if not (upload / "upload.json").is_file():
                shutil.rmtree(upload, ignore_errors=True)
        return interrupted

    def _jobs(self) -> Iterator[Job]:
        for path in self.root.glob("*/jobs/*/job.json"):
            yield Job.read(path.parent, _read(path, "job"))

    def clean(self, now: float | None = None) -> int:
        """Delete what is older than is kept; how many uploads and jobs that were."""
        oldest, deleted = (time.time() if now is None else now) - 3600 * self.limits.keep_hours, 0
        for path in [*self.root.glob("*/jobs/*/job.json"), *self.root.glob("*/uploads/*/upload.json")]:
            if path.stat().st_mtime < oldest:
                shutil.rmtree(path.parent, ignore_errors=True)
                deleted += 1
        for folder in [*self.root.glob("*/jobs"), *self.root.glob("*/uploads"), *self.root.glob("*")]:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        return deleted


def write_upload(folder: Path, told: dict[str, Any]) -> None:
    """Say what an upload is, last of its files: one without is none."""
    write_json(folder / "upload.json", told)


def _read(path: Path, what: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise MissingError(f"there is no {what}.") from None
    return found
