"""What a server counts, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector


class Metrics:
    """Of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.takes = Counter("jasco_takes", "Takes that were made", registry=self.registry)
        self.seconds = Counter("jasco_audio_seconds", "Seconds of sound that were made", registry=self.registry)
        self.refused = Counter("jasco_busy", "Jobs that were refused because too many waited", registry=self.registry)
        self.uploads = Counter("jasco_uploads", "Uploads by what came of them", ["result"], registry=self.registry)
        self.batches = Histogram("jasco_batch_takes", "Takes that were made together", buckets=(1, 2, 4, 8, 16), registry=self.registry)
        self.requests = Counter("jasco_http_requests", "Answers by status", ["status"], registry=self.registry)

    def watch(self, waiting: Callable[[], int], running: Callable[[], int]) -> None:
        """Show what the engine has to do."""
        Gauge("jasco_jobs_waiting", "Jobs that wait", registry=self.registry).set_function(waiting)
        Gauge("jasco_jobs_running", "Jobs that are made", registry=self.registry).set_function(running)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self.registry)
