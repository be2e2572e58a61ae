"""A job: what was asked for at one time, the takes that came of it, and how far it is."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from jasco_pl.system.errors import UserError
from jasco_pl.system.files import write_json

_LOG = logging.getLogger(__name__)

State = Literal["waiting", "running", "done", "failed", "cancelled", "interrupted"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled", "interrupted")


@dataclass
class Take:
    """One clip.

    Attributes:
        seed: of its noise.
        seconds: its length.
        sha256: of its WAV file.
        peaks: of its waveform, 0 to 100, at equal distances.
        lanes: by name, what was asked for and heard (`Lane.judged`); None until somebody has listened.
        words: how far it follows, in words.
    """

    seed: int
    seconds: float
    sha256: str
    peaks: list[int]
    lanes: dict[str, Any] | None = None
    words: list[str] = field(default_factory=list)


@dataclass
class Job:
    """What was asked for at one time. Written to its folder whenever it changes; how far it is stays in memory.

    Attributes:
        folder: where it lies.
        id: its name.
        settings: as they were asked for (`schema.Make`), the seed known.
        created, ended: seconds since 1970.
        state: how it stands.
        error: why there is nothing more of it.
        notes: what was done to the request on the way.
        chords: as they were read, [label, start].
        takes: in the order of their seeds.
        share: how much of it is made.
    """

    folder: Path
    id: str
    settings: dict[str, Any]
    seeds: list[int]
    created: float = field(default_factory=time.time)
    state: State = "waiting"
    ended: float | None = None
    error: str | None = None
    notes: list[str] = field(default_factory=list)
    chords: list[list[Any]] = field(default_factory=list)
    made_with: dict[str, Any] = field(default_factory=dict)
    takes: list[Take] = field(default_factory=list)
    share: float = 0.0

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.removed = False

    @classmethod
    def read(cls, folder: Path, told: dict[str, Any]) -> Job:
        """As `written` wrote it."""
        return cls(folder, **{**told, "takes": [Take(**take) for take in told["takes"]]}, share=1.0)

    def written(self) -> dict[str, Any]:
        """What is kept of it."""
        return {name: value for name, value in asdict(self).items() if name not in ("folder", "share")}

    def save(self) -> None:
        """Write it down, unless somebody deleted it."""
        with self.lock:
            if not self.removed:
                write_json(self.folder / "job.json", self.written())

    def _try_to_save(self) -> None:
        """The same where nobody could be told that it failed, as of a full disk: what is known here still holds."""
        try:
            self.save()
        except UserError as error:
            _LOG.error("a job could not be written down: %s", error)

    def begin(self) -> None:
        """It is being made, unless somebody ended it."""
        with self.lock:
            if self.state == "waiting":
                self.state = "running"
                self._try_to_save()

    def end(self, state: State, error: str | None = None) -> None:
        """The last word on it; a second one is not heard."""
        with self.lock:
            if self.state not in ENDED:
                self.state, self.error, self.ended = state, error, time.time()
                self._try_to_save()

    @property
    def left(self) -> list[int]:
        """Seeds whose takes are not kept yet: where a batch failed, some are."""
        return self.seeds[len(self.takes) :]

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in ENDED

    def summary(self) -> dict[str, Any]:
        """For a list."""
        return {
            "id": self.id,
            "created": self.created,
            "state": self.state,
            "takes": len(self.takes),
            "text": self.settings.get("text", ""),
        }
