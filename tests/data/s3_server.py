"""A real S3 server (moto) behind a reverse proxy that fails on demand, in a process of its own: `python s3_server.py` prints the URL.

GET  /-/stats    what was asked for: {"GET /bucket/key": times}, and "failed": responses spoilt
POST /-/faults   JSON of `Faults`: from now on
"""

from __future__ import annotations

import http.client
import json
import logging
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from moto.server import ThreadedMotoServer


@dataclass
class Faults:
    fail_every: int = 0  # every n-th request gets a 503
    truncate_every: int = 0  # every n-th body ends in the middle
    bytes_per_second: int = 0  # of bodies


class Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.target, self.faults, self.stats, self.requests, self.lock = target, Faults(), Counter(), 0, threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that was killed


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = self.server
        if self.path == "/-/stats":
            return self._answer(200, json.dumps(server.stats).encode())
        if self.path == "/-/faults":
            with server.lock:
                server.faults, server.requests, server.stats = Faults(**json.loads(body)), 0, Counter()
            return self._answer(200, b"")
        with server.lock:
            server.requests += 1
            server.stats[f"{self.command} {self.path.split('?')[0]}"] += 1
            faults = server.faults
            fail = faults.fail_every and server.requests % faults.fail_every == 0
            truncate = faults.truncate_every and server.requests % faults.truncate_every == 0 and self.command == "GET"
            server.stats["failed"] += bool(fail or truncate)
        if fail:
            return self._answer(503, b"")
        upstream = http.client.HTTPConnection(*server.target)
        upstream.request(self.command, self.path, body, dict(self.headers))
        response = upstream.getresponse()
        data = response.read()
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = response.getheader("Content-Length") if self.command == "HEAD" else len(data)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if truncate:
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        elif faults.bytes_per_second:
            step = max(1, faults.bytes_per_second // 20)
            for start in range(0, len(data), step):
                self.wfile.write(data[start : start + step])
                time.sleep(0.05)
        else:
            self.wfile.write(data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    proxy = Proxy(moto.get_host_and_port())
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{proxy.server_port}", flush=True)
    sys.stdin.read()  # until the tests are over
