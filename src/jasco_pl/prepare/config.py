"""What `jasco prepare` can be told, in YAML or on the command line."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from jasco_pl.data.schema import STAGES
from jasco_pl.prepare.captions import CaptionOptions
from jasco_pl.prepare.rules import Rules
from jasco_pl.system.errors import UserError

HEARD = {name: stage for name, stage in STAGES.items() if stage.hears_recordings()}
"""Stages that recordings can go through, in their order."""


@dataclass
class PrepareConfig:
    """Options of a preparation; `data_prep/folder.yaml` has them with reasons."""

    codec: str = "checkpoints/codec-mini"
    """Codec folder or Hub id (facebook/encodec_32khz is the paper's)."""
    stages: str = "codec, chords"
    """Which of codec, chords, melody, drums, beats, dynamics, with commas; others can be added to a finished set later."""
    segment_seconds: float = 60.0
    """Recordings are cut into samples of about that length."""
    shard_minutes: float = 30.0
    """Music in one shard."""
    captions: CaptionOptions = field(default_factory=CaptionOptions)
    """Where the texts come from."""
    rules: Rules = field(default_factory=Rules)
    """What is not taken."""
    salience: str | None = None
    """File with the weights of deep salience, for the melody; null takes the cache, or fetches them."""
    separator: str = "htdemucs"
    """How drums are found: a model of Demucs (htdemucs; hdemucs_mmi, the paper's), or hpss, which needs no weights and is no separation."""
    demucs_repo: str | None = None
    """Folder with Demucs' weights; null takes its own cache, or fetches them."""
    device: str = "cpu"
    """Where networks run: cpu, cuda, mps; workers share it."""
    workers: int | None = None
    """Processes of one thread each; null is one a core, at most eight, 0 works in this process. The result is the same."""
    ray: str | None = None
    """A Ray cluster to work on, `auto` or an address; `--out` then lies on a file system that all its machines share."""
    ray_actors: int | None = None
    """Processes on the cluster that hold the extractors; null is as many as fit."""
    ray_cpus: float = 1.0
    """CPUs that each of them takes."""
    ray_gpus: float = 0.0
    """GPUs that each of them takes; 0.25 puts four on one."""

    def __post_init__(self) -> None:
        """Look at what can be looked at without any data."""
        chosen = [part.strip() for part in self.stages.split(",") if part.strip()]
        if unknown := [stage for stage in chosen if stage not in HEARD]:
            raise UserError(f"there is no stage {unknown[0]!r}; there are: {', '.join(HEARD)}.")
        if not self.segment_seconds >= 1 or not self.shard_minutes > 0:
            raise UserError(
                f"segment_seconds must be at least 1 and shard_minutes positive, not {self.segment_seconds:g} and {self.shard_minutes:g}."
            )
        if self.workers is not None and self.workers < 0:
            raise UserError(f"workers must not be negative, as {self.workers} is.")

    @property
    def chosen(self) -> tuple[str, ...]:
        """The stages asked for, in the order of `HEARD`; latents are part of every sample, so that codec is always among them."""
        named = {part.strip() for part in self.stages.split(",")}
        return tuple(stage for stage in HEARD if stage in named or stage == "codec")

    @property
    def processes(self) -> int:
        """How many work on this machine, 0 for none but this one."""
        if self.workers is not None:
            return self.workers
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # which macOS has not
        return min(usable, 8)
