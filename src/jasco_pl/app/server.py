"""The application: page, API, health and metrics, around one engine and one store."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from jasco_pl import __version__
from jasco_pl.app.access import Access
from jasco_pl.app.errors import BusyError, RefusedError
from jasco_pl.app.routes_files import files_router
from jasco_pl.app.routes_jobs import jobs_router
from jasco_pl.app.routes_read import read_router
from jasco_pl.app.serving import Serving
from jasco_pl.app.store import Store
from jasco_pl.system.errors import UserError

_LOG = logging.getLogger(__name__)
_CLEAN_SECONDS = 600
_NO_OBJECT = ("model_attributes_type", "model_type", "dict_type")  # of a body, by pydantic's names
_TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
_SHARED = ("base.css", "lanes.css", "lanes.js")  # of all pages of the project


def create_app(serving: Serving, hosts: frozenset[str] | None = None, password: str | None = None) -> FastAPI:
    """The application.

    Args:
        serving: its parts.
        hosts: names by which it may be called (see `Access`).
        password: `user:password`, or None.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        interrupted = await asyncio.to_thread(serving.store.recover)
        if interrupted:
            _LOG.warning("%d job(s) were interrupted when the server ended last time", interrupted)
        serving.engine.start()
        cleaning = asyncio.create_task(_clean(serving.store))
        yield
        cleaning.cancel()
        await asyncio.to_thread(serving.engine.close)

    app = FastAPI(
        title="JASCO-PL",
        version=__version__,
        description="Text to music that follows chords, a melody and drums in time. docs/serve.md has examples.",
        docs_url=None,  # their scripts come from elsewhere
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
    )
    app.state.serving = serving
    app.include_router(read_router())
    app.include_router(files_router())
    app.include_router(jobs_router())
    _add_pages(app, serving)
    _add_errors(app)
    app.add_middleware(Access, limits=serving.limits, metrics=serving.metrics, hosts=hosts, password=password)
    return app


async def _clean(store: Store) -> None:
    while True:
        with contextlib.suppress(OSError):
            await asyncio.to_thread(store.clean)
        await asyncio.sleep(_CLEAN_SECONDS)


def static_files() -> dict[str, Path]:
    """What the page is made of, by the names it is asked by."""
    own = Path(str(files("jasco_pl.app").joinpath("static")))
    shared = Path(str(files("jasco_pl.pages")))
    found = {path.name: path for path in own.iterdir() if path.suffix in _TYPES}
    return found | {name: shared / name for name in _SHARED}


def _add_pages(app: FastAPI, serving: Serving) -> None:
    known = static_files()

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return Response(known["index.html"].read_bytes(), media_type=_TYPES[".html"])

    @app.get("/static/{name}", include_in_schema=False)
    def static(name: str) -> Response:
        path = known.get(name)
        if path is None:
            raise HTTPException(404)
        return Response(path.read_bytes(), media_type=_TYPES[path.suffix], headers={"Cache-Control": "no-cache"})

    @app.get("/health", tags=["server"])
    def health() -> JSONResponse:
        """200 while jobs are taken, 503 where the model could not be loaded."""
        engine = serving.engine
        state = "failed" if engine.failure else "loading" if engine.jasco is None else "ready"
        return JSONResponse({"status": state, "version": __version__}, 503 if engine.failure else 200)

    @app.get("/metrics", tags=["server"])
    def metrics() -> Response:
        """In Prometheus' text format."""
        return Response(serving.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_errors(app: FastAPI) -> None:
    def answer(status: int, sentence: str) -> JSONResponse:
        text = sentence.encode(errors="backslashreplace").decode()
        return JSONResponse({"error": text}, status, headers={"Retry-After": "30"} if status == BusyError.status else None)

    @app.exception_handler(UserError)
    async def refused(_: Request, error: UserError) -> JSONResponse:
        return answer(error.status if isinstance(error, RefusedError) else 400, str(error))

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        return answer(422, in_words(error, request.headers.get("content-type", "")))

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=499)  # which nobody hears

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> JSONResponse:
        return answer(
            error.status_code, {404: "there is nothing here.", 405: "that cannot be done here."}.get(error.status_code, str(error.detail))
        )


def in_words(error: RequestValidationError, content_type: str) -> str:
    """The first thing that is wrong with what was sent, in a sentence.

    Args:
        error: what is wrong.
        content_type: as the header says it; what is not said to be JSON is not read as such.
    """
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
    given, what = first.get("input"), str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "json_invalid":
        reason = str(first["ctx"]["error"])
        return f"the body is no JSON: {reason[:1].lower()}{reason[1:]}, at character {first['loc'][-1] + 1}."
    if not where and first["type"] == "missing":
        return "the body is empty, where a JSON object is accepted."
    if not where and first["type"] in _NO_OBJECT:
        unread = isinstance(given, bytes) and "json" not in content_type.lower()
        return "the header Content-Type: application/json is missing." if unread else "the body is JSON, but no object, as {} is one."
    if isinstance(given, float) and not math.isfinite(given):
        what = f"{json.dumps(given)} is no number that JSON has, where a finite one is accepted"
    return (f"{where[:80]}: {what}" if where else what)[:400].rstrip(".") + "."
