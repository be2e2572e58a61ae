"""One track through the stages. What is done lies in files, a stage each, so that nothing is done twice."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from jasco_pl.audio.long_audio import LongAudio
from jasco_pl.codec import Codec, load_codec
from jasco_pl.data.schema import STAGES
from jasco_pl.extract.stage import Stage
from jasco_pl.prepare.config import PrepareConfig
from jasco_pl.prepare.rules import Rejected, facts, levels, refuse_length, refuse_levels
from jasco_pl.system.errors import UserError, WriteError
from jasco_pl.system.files import atomic_path, write_json

T = TypeVar("T")
FACTS, REJECTED = "facts.json", "rejected.json"


class Stages:
    """The stages of a preparation by name, and their codec; each is made when it is first asked for and then kept.

    Args:
        config: names codec, weights and device.
    """

    def __init__(self, config: PrepareConfig) -> None:
        self.config = config
        self._made: dict[str, Stage] = {}

    @cached_property
    def codec(self) -> Codec:
        """The codec, on the device."""
        return load_codec(self.config.codec).to(self.config.device)

    def __getitem__(self, name: str) -> Stage:
        if name not in self._made:
            self._made[name] = STAGES[name](self.codec, self.config)
        return self._made[name]

    @torch.inference_mode()
    def __call__(self, name: str, audio: LongAudio) -> dict[str, Tensor]:
        """What a stage hears in a recording; raises as `Stage.of_recording`."""
        return self[name].of_recording(audio)


@dataclass(frozen=True)
class Job:
    """What is to be done for one track."""

    id: str
    path: str
    name: str
    start: float
    stop: float | None
    seconds: float
    """What the file's header claims, for the progress bar."""
    stages: dict[str, str]
    """Stage -> fingerprint of its extractor."""
    folder: str
    """Where the results go."""

    def result(self, stage: str) -> Path:
        """The file of a stage's tensors."""
        return Path(self.folder) / f"{stage}-{self.stages[stage]}.safetensors"

    @property
    def done(self) -> bool:
        """Whether the track is through: all its stages, or refused."""
        folder = Path(self.folder)
        return (folder / REJECTED).exists() or ((folder / FACTS).exists() and all(self.result(stage).exists() for stage in self.stages))

    def rejected(self) -> Rejected | None:
        """Why it was refused, None if it was not."""
        path = Path(self.folder) / REJECTED
        return Rejected(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    def refuse(self, reason: str, detail: str, seconds: float | None = None) -> None:
        """Put down that the track is not taken; `seconds` is its length where that is known better than from its header."""
        write_json(Path(self.folder) / REJECTED, asdict(Rejected(self.name, reason, detail, seconds or self.seconds or None)))

    def record(self) -> dict[str, Any]:
        """What is known of the recording, with the wall seconds of every stage."""
        known: dict[str, Any] = json.loads((Path(self.folder) / FACTS).read_text(encoding="utf-8"))
        seconds = {}
        for stage in self.stages:
            with safe_open(self.result(stage), "pt") as file:
                seconds[stage] = float(file.metadata()["seconds"])
        return {**known, "stage_seconds": {**known["stage_seconds"], **seconds}}

    def tensors(self) -> dict[str, Tensor]:
        """All fields."""
        fields: dict[str, Tensor] = {}
        for stage in self.stages:
            with safe_open(self.result(stage), "pt") as file:
                fields |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  safetensors' handle is no mapping
        return fields

    def clear(self) -> None:
        """Remove the results: they stand in a shard now."""
        shutil.rmtree(self.folder, ignore_errors=True)


class TrackWorker:
    """Holds the extractors and takes one track after the other; lives in a process of its own.

    Args:
        config: of the preparation.
    """

    def __init__(self, config: PrepareConfig) -> None:
        # one thread each, on every machine: sums then have one order and results one set of bits, however many work
        torch.set_num_threads(1)
        self.rules, self.stages = config.rules, Stages(config)

    def __call__(self, job: Job) -> Job:
        """Do what is missing; whatever is wrong with the track becomes its refusal.

        Raises:
            UserError: the results cannot be written, or a stage's extractor is not to be had.
        """
        folder = Path(job.folder)
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.iterdir():  # of a worker that was killed
            if leftover.is_dir():
                shutil.rmtree(leftover)
            elif leftover.name.startswith("."):
                leftover.unlink()
        audio = self._tried(job, "not audio", lambda: LongAudio(job.path, folder, start=job.start, stop=job.stop))
        if audio is None:
            return job
        with audio:
            if not (folder / FACTS).exists():
                known = self._tried(job, "broken", lambda: self._examine(job, audio))
                if known is None:
                    return job
                write_json(folder / FACTS, known)
            for stage in job.stages:
                if not job.result(stage).exists():
                    began = time.perf_counter()
                    tensors = self._tried(job, "unusable", lambda: self.stages(stage, audio))  # noqa: B023  called at once
                    if tensors is None:
                        return job
                    with atomic_path(job.result(stage)) as temporary:
                        save_file(
                            {name: tensor.contiguous() for name, tensor in tensors.items()},
                            temporary,
                            {"seconds": f"{time.perf_counter() - began:.3f}"},
                        )
        return job

    def _tried(self, job: Job, reason: str, work: Callable[[], T | None]) -> T | None:
        """What `work` gives; None when the track was refused in it, or is refused for what it raised."""
        try:
            return work()
        except (WriteError, OSError, MemoryError):
            raise  # the machine's fault, not the track's
        except UserError as error:
            job.refuse(reason, str(error))
        except Exception as error:  # libraries meet what nobody thought of: one odd file must not end days of work
            job.refuse("failed", f"{type(error).__name__}: {error}")
        return None

    def _examine(self, job: Job, audio: LongAudio) -> dict[str, Any] | None:
        began = time.perf_counter()
        samples = audio.samples(self.stages.codec.sample_rate)
        found = levels(samples)
        if refusal := refuse_length(audio, self.rules) or refuse_levels(found, self.rules):
            job.refuse(*refusal, audio.seconds)
            return None
        heard = facts(samples)
        return {
            "seconds": audio.seconds,
            "source_rate": audio.source_rate,
            "channels": audio.channels,
            "peak": found.peak,
            **heard,
            "stage_seconds": {"facts": time.perf_counter() - began},
        }
