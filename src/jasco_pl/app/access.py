"""Who may ask, and what every answer says: an ASGI layer around the application."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jasco_pl.app.limits import Limits
from jasco_pl.app.metrics import Metrics
from jasco_pl.app.store import is_token, new_token

COOKIE = "jasco_visitor"
OPEN = ("/health",)
UPLOADS = "/api/uploads"
_PATIENCE = 64 << 20  # bytes
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}


class Access:
    """Refuses other sites' pages, wrong passwords and large bodies; gives each visitor a token in a cookie.

    Args:
        app: what answers.
        limits: of a body.
        metrics: what is counted.
        hosts: names by which the server may be called, without ports; so a page of another site whose name leads here (DNS rebinding) is
            refused. None takes any.
        password: `user:password`, or None.
    """

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics, hosts: frozenset[str] | None, password: str | None) -> None:
        self.app, self.limits, self.metrics, self.hosts, self.password = app, limits, metrics, hosts, password

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        token, known = self._token(headers)
        scope.setdefault("state", {})["token"] = token
        taken, too_large = 0, False

        async def counted() -> Message:
            nonlocal taken, too_large
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.limits.body_bytes and scope["path"] != UPLOADS:
                too_large = True
                return {"type": "http.request", "body": b"", "more_body": False}
            return message

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                if too_large:
                    message["status"] = 413
                found = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    found[name] = value
                if scope["path"].startswith("/api/"):
                    found["Cache-Control"] = "no-store"
                if not known and message["status"] < 400:
                    age = round(3600 * self.limits.keep_hours)
                    found.append("Set-Cookie", f"{COOKIE}={token}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict")
                self.metrics.requests.labels(str(message["status"])).inc()
            await send(message)

        if (refusal := self._refusal(scope, headers)) is not None:
            await _discard(receive, _PATIENCE)
            await _refuse(answer, *refusal)
            return
        await self.app(scope, counted, answer)

    def _token(self, headers: Headers) -> tuple[str, bool]:
        """The visitor's, and whether the visitor has it already."""
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        if cookie is not None and is_token(cookie.value):
            return cookie.value, True
        return new_token(), False

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str, dict[str, str]] | None:
        host = headers.get("host", "")
        if self.hosts is not None and host_name(host) not in self.hosts:
            return 421, f"this server is not called {host[:80]!r}.", {}
        origin = headers.get("origin")
        if origin is not None and scope["method"] not in ("GET", "HEAD") and origin.partition("://")[2] != host:
            return 403, "another site's page may not ask for anything here.", {}
        if self.password is not None and scope["path"] not in OPEN and not self._knows(headers.get("authorization", "")):
            return 401, "a user and a password are needed.", {"WWW-Authenticate": 'Basic realm="jasco", charset="UTF-8"'}
        claimed = headers.get("content-length", "0")
        if scope["path"] != UPLOADS and (not claimed.isdecimal() or int(claimed) > self.limits.body_bytes):
            return 413, f"more was sent than the {self.limits.body_bytes >> 10} KiB that are read.", {}
        return None

    def _knows(self, said: str) -> bool:
        kind, _, coded = said.partition(" ")
        try:
            given = base64.b64decode(coded, validate=True)
        except (binascii.Error, ValueError):
            return False
        return kind.lower() == "basic" and secrets.compare_digest(given, (self.password or "").encode())


def host_name(host: str) -> str:
    """Of a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()


async def _discard(receive: Receive, most: int) -> None:
    """Read a body of some bytes at most, so that whoever sends it comes to hear the answer."""
    while most > 0:
        message = await receive()
        most -= len(message.get("body", b""))
        if not message.get("more_body", False):
            return


async def _refuse(send: Send, status: int, sentence: str, headers: dict[str, str]) -> None:
    body = json.dumps({"error": sentence}).encode()
    told: dict[str, Any] = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    raw = [(name.lower().encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
