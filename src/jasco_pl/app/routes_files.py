"""Uploads: what a visitor gives."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse

from jasco_pl.app.dependencies import ServingNow, VisitorNow
from jasco_pl.app.errors import MissingError

_BODY = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}


def files_router() -> APIRouter:
    """Its routes."""
    router = APIRouter(prefix="/api/uploads", tags=["uploads"])

    @router.post("", status_code=201, openapi_extra=_BODY)
    async def upload(
        request: Request, serving: ServingNow, visitor: VisitorNow, name: Annotated[str, Query(max_length=1000)]
    ) -> dict[str, Any]:
        """Take a file: its bytes are the body. Audio of any kind that libsndfile reads, or MIDI; what it is, and the id it is known by."""
        claimed = request.headers.get("content-length", "")
        return await serving.uploads.take(visitor, name, request.stream(), int(claimed) if claimed.isdecimal() else None)

    @router.get("")
    def uploads(visitor: VisitorNow) -> list[dict[str, Any]]:
        """All that are kept for you, the newest first."""
        return visitor.uploads()

    @router.get("/{identity}")
    def one(identity: str, visitor: VisitorNow) -> dict[str, Any]:
        """What is known of an upload."""
        return visitor.upload(identity)

    @router.get("/{identity}/audio")
    def audio(identity: str, visitor: VisitorNow) -> FileResponse:
        """Its sound, as it is followed."""
        if visitor.upload(identity)["kind"] != "audio":
            raise MissingError("this upload is MIDI and has no sound of its own.")
        return FileResponse(visitor.upload_folder(identity) / "upload.wav", media_type="audio/wav")

    @router.get("/{identity}/tracks/{number}")
    def track(identity: str, number: int, visitor: VisitorNow) -> list[list[float]]:
        """Notes [MIDI pitch, onset, offset] of a track of a MIDI upload, one at a time, as they are followed."""
        if visitor.upload(identity)["kind"] != "midi":
            raise MissingError("this upload is audio and has no tracks.")
        tracks = json.loads((visitor.upload_folder(identity) / "tracks.json").read_text())
        if str(number) not in tracks:
            raise MissingError(f"this upload has no track {number} with a melody.")
        found: list[list[float]] = tracks[str(number)]
        return found

    @router.delete("/{identity}", status_code=204)
    def remove(identity: str, visitor: VisitorNow) -> None:
        """Delete it."""
        visitor.upload(identity)
        visitor.remove("uploads", identity)

    return router
