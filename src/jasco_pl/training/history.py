"""What a run was: each of its sessions says so in the run's TensorBoard files, from which a model card can be written."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import yaml
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from jasco_pl.system.environment import machine
from jasco_pl.system.errors import UserError

TAG, LOSS = "session", "train/loss"


class SessionRecord(Callback):
    """Writes what a session begins with, as a text beside its figures: step, batch, length of the crops, precision, seed, machine."""

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Once, on rank 0."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        facts = {
            "first_step": trainer.global_step,
            "batch_size": data.batch_size,
            "seconds": data.seconds,
            "seed": data.seed,
            "precision": str(trainer.precision),
            "processes": trainer.world_size,
            "machine": machine(module.device),
        }
        for logger in trainer.loggers:
            if trainer.is_global_zero and isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text(TAG, json.dumps(facts), trainer.global_step)


@dataclass
class Session:
    """One start of `jasco fit`, as far as it is known.

    Attributes:
        facts: what `SessionRecord` wrote; empty for runs from before it.
        first: step at which it began.
        last: the last step that it logged, counted from 1.
        hours: from its beginning to that step.
    """

    facts: dict[str, Any]
    first: int
    last: int
    hours: float


@dataclass
class History:
    """All sessions of a run, oldest first.

    Attributes:
        steps: optimiser steps that the last checkpoint has behind it; without a checkpoint, the last that was logged.
        model: the model's configuration, from the checkpoint; None without one.
        config: the last session's configuration, from config.yaml; empty without one.
    """

    sessions: list[Session]
    steps: int | None
    model: dict[str, Any] | None
    config: dict[str, Any] = field(default_factory=dict)

    def spans(self) -> list[tuple[Session, int]]:
        """Every session with the steps of it that lasted: what was lost by a kill and done again counts in the later one."""
        if not self.sessions:
            return []
        ends = [*(session.first for session in self.sessions[1:]), self.steps or 0]
        return [(session, max(0, end - session.first)) for session, end in zip(self.sessions, ends, strict=True)]

    def batch_of(self, session: Session) -> int | None:
        """Samples a step; what an old session did not write down is taken from config.yaml."""
        batch = session.facts.get("batch_size", self.config.get("data", {}).get("batch_size"))
        return None if batch is None else int(batch)

    def samples(self) -> int | None:
        """Samples learned from, with repetition; None where a batch size is not known."""
        counts = [(steps, self.batch_of(session)) for session, steps in self.spans()]
        return sum(steps * (batch or 0) for steps, batch in counts) if counts and all(batch for _, batch in counts) else None

    def audio_hours(self) -> float | None:
        """Hours of audio that those are; None where a session did not write down how long its crops were."""
        spans = self.spans()
        if not spans or any("seconds" not in session.facts for session, _ in spans):
            return None
        return sum(steps * (self.batch_of(session) or 0) * session.facts["seconds"] for session, steps in spans) / 3600


def read_history(run: str | Path) -> History:
    """What is known of a run's folder; what is not there is left empty.

    Raises:
        UserError: it holds neither TensorBoard files of a training nor a last checkpoint.
    """
    folder = Path(run)
    sessions: list[Session] = []
    for path in sorted(folder.glob("events.out.tfevents.*")):  # by the time at which they were begun
        if session := _session(path, sessions[-1].last if sessions else 0):
            sessions.append(session)
    steps, model = _last_checkpoint(folder / "checkpoints" / "last.ckpt")
    if not sessions and steps is None:
        raise UserError(f"{str(run)!r} is no folder of a training: it holds neither TensorBoard files nor checkpoints/last.ckpt.")
    config = folder / "config.yaml"
    try:
        found = yaml.safe_load(config.read_text(encoding="utf-8")) if config.is_file() else {}
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{str(config)!r} is no configuration of a run ({type(error).__name__}).") from error
    return History(sessions, steps if steps is not None else sessions[-1].last, model, found if isinstance(found, dict) else {})


def _session(path: Path, first: int) -> Session | None:
    """What one file tells; None where nothing was trained, as in a validation."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(path), {"scalars": 0, "tensors": 0, "images": 1, "audio": 1})
    events.Reload()
    tags = events.Tags()
    losses = events.Scalars(LOSS) if LOSS in tags["scalars"] else []
    text = events.Tensors(f"{TAG}/text_summary")[0] if f"{TAG}/text_summary" in tags["tensors"] else None
    if text is None and not losses:
        return None
    facts = json.loads(text.tensor_proto.string_val[0]) if text else {}
    first = facts.get("first_step", first)
    begun = text.wall_time if text else losses[0].wall_time
    last, ended = (losses[-1].step + 1, losses[-1].wall_time) if losses else (first, begun)  # ended before anything was logged
    return Session(facts, first, last, (ended - begun) / 3600)


def _last_checkpoint(path: Path) -> tuple[int | None, dict[str, Any] | None]:
    from jasco_pl.training.checkpoint_io import AtomicCheckpointIO

    if not path.exists():
        return None, None
    state = AtomicCheckpointIO().load_checkpoint(str(path), map_location="cpu", weights_only=True)
    return state.get("global_step"), state.get("model_config")
