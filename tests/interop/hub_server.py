"""A Hub on this machine: the few endpoints by which huggingface_hub reads a repository, makes one and commits to it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

SHA = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What there is.

    Attributes:
        files: repository -> path -> content.
        gated: repositories whose files are not given.
        token: that may write.
        asked: method and path of every request.
    """

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    token: str = "hf_writes"
    private: dict[str, bool] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve it until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def answer(self, status: int, body: bytes | Any = b"", **headers: str) -> None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def do_GET(self) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            path = self.path.partition("?")[0]
            if match := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)(/revision/([\w.-]+)|/tree/([\w.-]+))?", path):
                self.about(match[1], match[3], tree=match[4] is not None)
            elif match := re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/([\w.-]+)/(.+)", path):
                self.file(match[1], match[3])
            else:
                self.answer(404)

        do_HEAD = do_GET  # noqa: N815

        def about(self, repository: str, revision: str | None, tree: bool) -> None:
            if repository not in hub.files:
                self.answer(401, {"error": "Invalid username or password."}, X_Error_Code="RepoNotFound")
            elif revision not in (None, "main", SHA):
                self.answer(404, {"error": "Invalid rev id"}, X_Error_Code="RevisionNotFound")
            elif tree:
                entries = [
                    {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                    for name, content in hub.files[repository].items()
                ]
                self.answer(200, entries)
            else:
                self.answer(200, {"id": repository, "sha": SHA, "siblings": [{"rfilename": name} for name in hub.files[repository]]})

        def file(self, repository: str, name: str) -> None:
            if repository in hub.gated:
                self.answer(403, {"error": "Access to this model is restricted."}, X_Error_Code="GatedRepo")
                return
            content = hub.files[repository].get(name)
            if content is None:
                self.answer(404, X_Error_Code="EntryNotFound")
            else:
                self.answer(200, content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit=SHA)

        def do_POST(self) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = self.chunks()
            if self.headers.get("Authorization") != f"Bearer {hub.token}":
                self.answer(401, {"error": "Invalid credentials in Authorization header"})
            elif self.path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked['organization']}/{asked['name']}"
                status = 409 if name in hub.files else 200
                hub.files.setdefault(name, {})
                hub.private.setdefault(name, asked.get("private", asked.get("visibility") == "private"))
                self.answer(status, {"url": f"{hub.url}/{name}"})
            elif self.path.startswith("/api/validate-yaml"):
                self.answer(200, {"errors": [], "warnings": []})
            elif match := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path.partition("?")[0]):
                files = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in json.loads(body)["files"]]
                self.answer(200, {"files": files})
            elif match := re.fullmatch(r"/api/models/(.+)/commit/main", self.path.partition("?")[0]):
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        hub.files[match[1]][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                self.answer(200, {"commitUrl": f"{hub.url}/{match[1]}/commit/{SHA}", "commitOid": SHA})
            else:
                self.answer(404)

        def chunks(self) -> bytes:
            found = b""
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
