"""The parts of one server, for whoever answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from jasco_pl.app.engine import Engine
from jasco_pl.app.limits import Limits
from jasco_pl.app.metrics import Metrics
from jasco_pl.app.store import Store
from jasco_pl.app.uploads import Uploads
from jasco_pl.generation.jasco import Jasco
from jasco_pl.generation.outline import Outline


@dataclass
class Serving:
    """Everything that the routes need.

    Attributes:
        checkpoint: as it was named.
        outline: of the model, known before it is loaded.
        guidance: the checkpoint's own.
        fitted: whether it has flow times of its own (`SolverConfig.of`).
        load: gives the model; called in the engine's thread.
        limits, store, metrics, engine, uploads: one each.
    """

    checkpoint: str
    outline: Outline
    guidance: str
    fitted: bool
    load: Callable[[], Jasco]
    limits: Limits
    store: Store
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.engine = Engine(self.load, self.limits, self.metrics)
        self.uploads = Uploads(self.limits, self.metrics)
