"""Jobs: what is made for a visitor."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter
from fastapi.responses import FileResponse, JSONResponse, Response

from jasco_pl.app.asking import Asking, solver_of
from jasco_pl.app.dependencies import ServingNow, VisitorNow
from jasco_pl.app.engine import ASKED, Work
from jasco_pl.app.errors import MissingError, RefusedError
from jasco_pl.app.jobs import Job
from jasco_pl.app.schema import Make, dumped
from jasco_pl.app.serving import Serving
from jasco_pl.app.store import Visitor, new_id
from jasco_pl.audio.files import read_audio, write_audio
from jasco_pl.audio.wav_tags import said_in

Kind = Literal["wav", "flac", "ogg", "json"]
_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg", "json": "application/json"}
_NEW_SEEDS = 10**6


def jobs_router() -> APIRouter:
    """Its routes."""
    router = APIRouter(prefix="/api/jobs", tags=["jobs"])

    @router.post("", status_code=202)
    def make(make: Make, serving: ServingNow, visitor: VisitorNow) -> dict[str, Any]:
        """Ask for takes; they wait for their turn. 400 says what cannot be, 503 that too much waits already."""
        if make.takes > serving.limits.takes:
            raise RefusedError(f"{make.takes} takes were asked for, where {serving.limits.takes} are the most at a time.")
        asking = Asking(make, visitor)
        length, solver = asking.check(serving.outline, serving.guidance), solver_of(make, serving.fitted)
        serving.engine.check(solver)
        visitor.check_room("jobs")
        first = secrets.randbelow(_NEW_SEEDS) if make.seed is None else make.seed
        identity = new_id()
        seeds = [first + number for number in range(make.takes)]
        settings = {**dumped(make), "seed": first}
        job = Job(visitor.job_folder(identity), identity, settings, seeds, notes=asking.remarks(length))
        serving.engine.submit(Work(job, asking, length, asking.seconds(length), solver))
        return shown(job, serving)

    @router.get("")
    def jobs(visitor: VisitorNow) -> list[dict[str, Any]]:
        """All that are kept for you, the newest first, in short."""
        return [job.summary() for job in visitor.jobs()]

    @router.get("/{identity}")
    def one(identity: str, serving: ServingNow, visitor: VisitorNow) -> dict[str, Any]:
        """How a job stands, with its takes."""
        return shown(_find(identity, serving, visitor), serving)

    @router.post("/{identity}/cancel")
    def cancel(identity: str, serving: ServingNow, visitor: VisitorNow) -> dict[str, Any]:
        """Stop it before its next step; takes that are made stay."""
        job = _find(identity, serving, visitor)
        serving.engine.cancel(identity)
        return shown(job, serving)

    @router.delete("/{identity}", status_code=204)
    def remove(identity: str, serving: ServingNow, visitor: VisitorNow) -> None:
        """Stop it and delete all of it."""
        job = _find(identity, serving, visitor)
        serving.engine.cancel(identity)
        with job.lock:
            job.removed = True
            visitor.remove("jobs", identity)

    @router.get("/{identity}/settings.json")
    def settings(identity: str, serving: ServingNow, visitor: VisitorNow) -> JSONResponse:
        """What was asked for, as it can be asked for again."""
        job = _find(identity, serving, visitor)
        return JSONResponse(job.settings, headers=_attachment(job, job.seeds[0], "json"))

    @router.get("/{identity}/asked.mid", response_class=Response)
    def asked(identity: str, serving: ServingNow, visitor: VisitorNow) -> FileResponse:
        """Chords, melody and drum hits as they were asked for; there once the first take was listened to."""
        job = _find(identity, serving, visitor)
        path = job.folder / ASKED
        if not path.is_file():
            raise MissingError("what was asked for is not written down yet; it is, once the first take was listened to.")
        return FileResponse(path, media_type="audio/midi", headers=_attachment(job, job.seeds[0], "mid"))

    @router.get("/{identity}/takes/{number}.{kind}", response_class=Response)
    def take(identity: str, number: int, kind: Kind, serving: ServingNow, visitor: VisitorNow, download: bool = False) -> FileResponse:
        """A take's sound, or all its settings."""
        job = _find(identity, serving, visitor)
        if not 0 <= number < len(job.takes):
            raise MissingError(f"this job has no take {number}.")
        path = job.folder / f"take-{number}.{kind}"
        if not path.is_file():
            _convert(path)
        return FileResponse(path, media_type=_TYPES[kind], headers=_attachment(job, job.takes[number].seed, kind) if download else None)

    return router


def _find(identity: str, serving: Serving, visitor: Visitor) -> Job:
    """A job of this visitor, as it is now; raises MissingError."""
    folder = visitor.job_folder(identity)
    live = serving.engine.find(identity)
    return live if live is not None and live.folder == folder and not live.removed else visitor.job(identity)


def shown(job: Job, serving: Serving) -> dict[str, Any]:
    """All that is told of a job."""
    with job.lock:
        told = job.written()
    return {**told, "share": round(job.share, 4), **serving.engine.outlook(job.id)}


def _convert(path: Path) -> None:
    """Make FLAC or Ogg of a take's WAV."""
    source = path.with_suffix(".wav")
    if path.suffix == ".json" or not source.is_file():
        raise MissingError("this file was deleted.")
    write_audio(path, read_audio(source, 32000), 32000, said=said_in(source))


def _attachment(job: Job, seed: int, kind: str) -> dict[str, str]:
    words = re.sub(r"[^a-z0-9]+", "-", str(job.settings.get("text", "")).lower()).strip("-")[:40].strip("-") or "take"
    return {"Content-Disposition": f'attachment; filename="{words}-seed{seed}.{kind}"'}
