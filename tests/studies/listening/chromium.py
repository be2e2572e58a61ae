"""A browser for tests: headless Chromium, driven over the pipe of its debugging protocol (Chrome DevTools Protocol)."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """One tab."""

    def __init__(self, commands: int, answers: int, downloads: Path) -> None:
        self.commands, self.answers, self.number, self.rest, self.session = commands, answers, 0, b"", None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.send("Page.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; events in between are dropped."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters, **({"sessionId": self.session} if self.session else {})}
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _receive(self, seconds: float = 60) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while b"\0" not in self.rest:
            assert select.select([self.answers], [], [], max(0, deadline - time.monotonic()))[0], "the browser does not answer"
            read = os.read(self.answers, 1 << 16)
            assert read, "the browser has ended"
            self.rest += read
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def open(self, address: str) -> None:
        """Go to a page and wait until it stands."""
        self.send("Page.navigate", url=address)
        deadline = time.monotonic() + 30
        while self.run("document.readyState + location.href") != f"complete{address}":
            assert time.monotonic() < deadline, f"{address} does not load"
            time.sleep(0.05)

    def run(self, script: str) -> Any:
        """Value of an expression in the page; a promise is waited for."""
        result = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")


@contextlib.contextmanager
def browser(work: Path) -> Iterator[Page]:
    """Start Chromium with an empty profile in `work`; downloads go there too."""
    (to_browser, commands), (answers, from_browser) = os.pipe(), os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in (to_browser, from_browser)]

    def place() -> None:  # the protocol's pipes are file descriptors 3 and 4
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    process = subprocess.Popen(
        [
            str(BROWSER),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--remote-debugging-pipe",
            "--autoplay-policy=no-user-gesture-required",
            f"--user-data-dir={work / 'profile'}",
        ],
        close_fds=False,
        preexec_fn=place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for end in (to_browser, from_browser, *high):
        os.close(end)
    try:
        yield Page(commands, answers, work)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(commands)
        os.close(answers)
