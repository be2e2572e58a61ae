"""Uploads: taken while they are not too large, decoded in another process, kept for their visitor."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from jasco_pl.app.errors import BusyError, RefusedError, TooLargeError
from jasco_pl.app.limits import Limits
from jasco_pl.app.metrics import Metrics
from jasco_pl.app.store import Visitor, new_id, write_upload
from jasco_pl.system.files import is_unicode

_PATIENCE = 4  # times as much as is taken, that is read of what is too large
_NAME = 100  # characters of a name that are kept


class Uploads:
    """Takes uploads for all visitors.

    Args:
        limits: of size, time and number.
        metrics: what is counted.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self.limits, self.metrics = limits, metrics
        self._slots = asyncio.Semaphore(limits.decoding)
        self._inside = 0

    async def take(self, visitor: Visitor, name: str, body: AsyncIterator[bytes], claimed: int | None) -> dict[str, Any]:
        """Read, decode and keep one; what is known of it.

        Args:
            visitor: whose it is.
            name: as the visitor calls it; no more than a word that is shown.
            body: its bytes.
            claimed: how many it is said to have.

        Raises:
            RefusedError: it is too large or too long, nothing that is taken, or no more are taken now.
        """
        try:
            told = await self._take(visitor, shown(name), body, claimed)
        except RefusedError as error:
            self.metrics.uploads.labels("busy" if isinstance(error, BusyError) else "refused").inc()
            raise
        self.metrics.uploads.labels("taken").inc()
        return told

    async def _take(self, visitor: Visitor, name: str, body: AsyncIterator[bytes], claimed: int | None) -> dict[str, Any]:
        most = self.limits.upload_bytes
        if claimed is not None and claimed > most:
            await discard(body, _PATIENCE * most)
            raise TooLargeError(f"{name!r} has {claimed >> 20} MiB, where {most >> 20} MiB are the most that is taken.")
        if self._inside >= self.limits.decoding + self.limits.decodes_waiting:
            raise BusyError("busy: too many uploads are being read; try again in a minute.")
        self._inside += 1
        try:
            await asyncio.to_thread(visitor.check_room, "uploads")
            identity = new_id()
            folder = visitor.upload_folder(identity)
            folder.mkdir(parents=True)
            try:
                return await self._keep(folder, identity, name, body)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        finally:
            self._inside -= 1

    async def _keep(self, folder: Path, identity: str, name: str, body: AsyncIterator[bytes]) -> dict[str, Any]:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".upload.", suffix=".part.bin") as file:
            size = 0
            try:
                async with asyncio.timeout(self.limits.receive_seconds):
                    async for chunk in body:
                        size += len(chunk)
                        if size > self.limits.upload_bytes:
                            await discard(body, _PATIENCE * self.limits.upload_bytes)
                            raise TooLargeError(f"{name!r} has more than the {self.limits.upload_bytes >> 20} MiB that are taken.")
                        file.write(chunk)
            except TimeoutError:
                raise RefusedError(f"{name!r} did not come within {self.limits.receive_seconds:g} s.") from None
            if not size:
                raise RefusedError(f"{name!r} is empty.")
            file.flush()
            async with self._slots:
                told = await self._decode(Path(file.name), folder, name)
        if "error" in told:
            raise RefusedError(told["error"])
        told |= {"id": identity, "name": name, "created": time.time()}
        write_upload(folder, told)
        return told

    async def _decode(self, source: Path, folder: Path, name: str) -> dict[str, Any]:
        limits = self.limits
        numbers = [limits.upload_seconds, limits.decode_seconds, limits.decode_bytes]
        command = [sys.executable, "-m", "jasco_pl.app.decode", str(source), str(folder), name, *map(str, numbers)]
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": ":".join(filter(None, sys.path)),
                "OPENBLAS_NUM_THREADS": "1",
                "NUMBA_NUM_THREADS": "1",
            },
        )
        try:
            out, _ = await asyncio.wait_for(child.communicate(), 3 * limits.decode_seconds)
            told: dict[str, Any] = json.loads(out)
        except (TimeoutError, ValueError):
            raise RefusedError(
                f"{name!r} could not be read within the limits of an upload: it is damaged, or larger than it looks."
            ) from None
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        return told


async def discard(body: AsyncIterator[bytes], most: int) -> None:
    """Read on, so that whoever sends comes to hear the answer; no further than `most` bytes."""
    async for chunk in body:
        most -= len(chunk)
        if most < 0:
            return


def shown(name: str) -> str:
    """A name that only is shown: its last part, without what cannot be printed."""
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(sign for sign in last if sign.isprintable())[:_NAME].strip()
    return kept if kept and is_unicode(kept) else "upload"
