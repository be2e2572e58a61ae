"""What a server gives to whoever asks: how much, how long, how many."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Of one server.

    Attributes:
        waiting: jobs that may wait; beyond them it says that it is busy.
        takes: of one job.
        at_once: takes of all jobs that are made side by side.
        body_bytes: of a request that is no upload.
        upload_bytes, upload_seconds: of an upload, as it comes and as it plays.
        receive_seconds: in which an upload has to come.
        decode_seconds, decode_bytes: of processor time and memory that the process has which decodes an upload.
        decoding: uploads that are decoded side by side.
        decodes_waiting: uploads that may wait for that.
        visitor_bytes, visitor_uploads, visitor_jobs: kept for one visitor.
        free_bytes: of the disk, below which nothing more is taken.
        keep_hours: after which what a visitor made or gave is deleted.
    """

    waiting: int = 64
    takes: int = 8
    at_once: int = 8
    body_bytes: int = 256 << 10
    upload_bytes: int = 32 << 20
    upload_seconds: float = 600.0
    receive_seconds: float = 300.0
    decode_seconds: int = 20
    decode_bytes: int = 2 << 30
    decoding: int = 2
    decodes_waiting: int = 32
    visitor_bytes: int = 1 << 30
    visitor_uploads: int = 200
    visitor_jobs: int = 500
    free_bytes: int = 1 << 29
    keep_hours: float = 168.0
