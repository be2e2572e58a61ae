"""One row of a few pieces: generate, write down, listen, measure. What an interrupted run has written is not made again.

    OUT/<key of the settings>/<set>/<row>/<id>.flac, .json, .npz     a clip, its figures, and what the networks made of it
    OUT/references/<set>/...                                         what is heard in the references, for all rows, settings and checkpoints

A clip's JSON is written last and says what the clip was heard with; one that lacks something which can be had by now is heard again from
its FLAC, not generated again.
"""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jasco_pl.audio.files import read_audio, write_audio
from jasco_pl.controls import ADHERENCES, AudioControl, Painting
from jasco_pl.controls.adherence import CHORDS
from jasco_pl.evaluation.measure import OF_CROSSED, Crossed, asked_lanes, cross_of, heard_lanes, measure
from jasco_pl.evaluation.pretrained import Listeners
from jasco_pl.evaluation.references import Reference, Source, recalled
from jasco_pl.evaluation.seams import seam_figures
from jasco_pl.evaluation.settings import CEILING, CROSSED, FORM, OTHER_AUDIO, REDONE, Finished, Settings, folder_of, remade
from jasco_pl.extract.heard import Heard, Part
from jasco_pl.generation.jasco import Jasco, Request
from jasco_pl.generation.painting import splice
from jasco_pl.network.model import read_config
from jasco_pl.notation.timed_text import Passage, Prompt, written
from jasco_pl.system.device import Precision
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path, write_json
from jasco_pl.system.seeding import stable_hash
from jasco_pl.system.typed import read_typed

REFERENCE = "reference "  # before the names of what the networks make of a part of the reference
WORKER = "JASCO_EVALUATION_WORKER"  # set in processes of one thread each


@dataclass(frozen=True)
class Task:
    """Some clips of a row.

    Attributes:
        given: the controls.
        other: take audio conditions from another piece, and hear the clip by the networks alone: for FAD, KL and CLAP.
        names: ids of the pieces.
        clips, references: folders.
        finished: the audio of a row that no model makes.
    """

    settings: Settings
    source: Source
    listeners: Listeners
    row: str
    given: tuple[str, ...]
    other: bool
    names: tuple[str, ...]
    clips: Path
    references: Path
    finished: Finished | None = None

    @property
    def jasco(self) -> Jasco:
        """The model of the settings."""
        return load_jasco(self.settings.checkpoint, self.listeners.device, self.settings.precision)

    def path(self, name: str) -> Path:
        """A clip's JSON."""
        return self.clips / (folder_of(self.row) + (OTHER_AUDIO if self.other else "")) / f"{name}.json"

    def reference_path(self, name: str) -> Path:
        """What the networks make of a reference; beside it .flac, .json and .heard.npz."""
        by = f"-{self.settings.codec_digest}" if self.source.decoded else ""
        return self.references / f"{self.source.digest(name)}{by}-{self.settings.seconds:g}s.npz"

    def made_of(self, name: str) -> dict[str, Any]:
        """Digests of the music that a clip is made from and compared with, and what else tells where its conditions come from."""
        return {
            "reference": self.source.digest(name),
            "other": self.source.other(name, seconds=self.settings.seconds) if self.other else None,
            "crossed": cross_of(self.source, name, self.settings.seconds).mark(self.source) if self.row == CROSSED else None,
            "finished": self.finished.digest(name) if self.finished else None,
            "told": [list(part) for part in self.told(name)] if self.row == FORM else None,
        }

    def told(self, name: str) -> list[Passage]:
        """What the sections are called that the stretch of a piece touches."""
        return self.source.told(name, self.settings.seconds, read_config(Path(self.settings.checkpoint)).frame_rate)

    def state(self, name: str) -> str:
        """What is there of a clip: "done", "heard again" (with more than it was) or "made"."""
        try:
            record = read_typed(self.path(name), dict[str, Any])
        except (OSError, UserError):
            return "made"
        if any(record.get(key) != value for key, value in self.made_of(name).items()):
            return "made"
        return "done" if set(self.listeners.heard_with) <= set(record.get("heard_with", ())) else "heard again"


@lru_cache(maxsize=1)
def load_jasco(checkpoint: str, device: str, precision: Precision = "fp32") -> Jasco:
    """The model of a checkpoint, kept for the tasks that follow."""
    if os.environ.get(WORKER):
        torch.set_num_threads(1)
    return Jasco.from_pretrained(checkpoint, device, precision)


def hear_references(task: Task) -> int:
    """Hear a few references, for all rows; their number."""
    for reference in _references(task):
        recall(task, reference)
    return len(task.names)


def make_clips(task: Task) -> int:
    """Make, hear and measure the clips of a task that are not there, each written down as soon as it is known; their number.

    Where one has to be made the others of the task are made beside it once more, and let go: the rounding of a clip depends on its batch,
    and a run that was interrupted shall have the figures of one that was not.
    """
    states = {name: task.state(name) for name in task.names}
    references = {reference.id: reference for reference in _references(task)}
    crossed = {name: _crossed(task, reference) for name, reference in references.items()} if task.row == CROSSED else {}
    asked = references | {name: three.asked for name, three in crossed.items()}
    missing = {name for name, state in states.items() if state == "made"}
    costs = dict(zip(asked, _generate(task, list(asked.values()), missing), strict=True)) if missing else {}
    for name, state in states.items():
        if state != "done":
            _hear(task, references[name], costs[name] if name in missing else None, crossed.get(name))
    return sum(state != "done" for state in states.values())


def _references(task: Task) -> list[Reference]:
    codec = task.jasco.codec
    return [task.source.reference(name, task.settings.seconds, codec, task.references) for name in task.names]


def _crossed(task: Task, own: Reference) -> Crossed:
    return Crossed.of(task.source, own, task.settings.seconds, task.jasco.codec)


def recall(task: Task, reference: Reference) -> None:
    """Let a reference recall what is heard in it, or hear it and write it down; the melody too, if there is salience."""
    path, marks = task.reference_path(reference.id), task.listeners.heard_with
    names = [name for adherence in ADHERENCES if adherence.missing() is None for name in adherence.extracted]
    recalled(reference.heard, path.with_suffix(".heard.npz"), names)
    found = read_arrays(path)
    if not path.exists() or not set(marks) <= set(found["heard_with"].tolist()):
        found = dict(task.listeners.hear(reference.audio, reference.sample_rate, reference.caption))
        melody = reference.heard.melody = task.listeners.melody(reference.audio, reference.sample_rate, reference.heard.frames)
        found |= {} if melody is None else {"salience": melody}
        write_audio(path.with_suffix(".flac"), reference.audio / reference.audio.abs().max().clamp(min=1.0), reference.sample_rate)
        write_json(path.with_suffix(".json"), heard_lanes(reference.heard, reference))
        _write_arrays(path, {**found, "heard_with": np.array(marks)})
    reference.heard.melody = found.get("salience")


@torch.inference_mode()
def _generate(task: Task, references: Sequence[Reference], missing: Collection[str]) -> list[dict[str, Any]]:
    """Make the clips together and write those that are missing as FLAC; what each cost."""
    settings, jasco = task.settings, task.jasco
    frames, rate = jasco.frames(settings.seconds), jasco.codec.sample_rate
    costs: list[dict[str, Any]] = [{} for _ in references]
    if task.finished:
        audios = [task.finished.clip(reference) for reference in references]
    elif task.row == CEILING:
        audios = [jasco.decode(jasco.codec.encode(reference.audio[None].to(jasco.device)))[0] for reference in references]
    else:
        sources = references
        if task.other:
            others = [task.source.other(reference.id, seconds=settings.seconds) for reference in references]
            sources = [task.source.reference(name, settings.seconds, jasco.codec) for name in others]
        asked = [conditions_of(reference, task.given, jasco, frames, audio) for reference, audio in zip(references, sources, strict=True)]
        seeds = [stable_hash(settings.seed, reference.id) for reference in references]
        started = time.perf_counter()
        texts: list[Prompt] = [reference.told if task.row == FORM else reference.caption for reference in references]
        conditions = jasco.conditions(texts, asked, frames)
        made = jasco.sample(conditions, seeds, settings.guidance, settings.solver, frames=frames)
        audios = list(jasco.decode(made.latents))
        seconds = (time.perf_counter() - started) / len(references)
        costs = [{"real_time_factor": seconds / settings.seconds, "evaluations": made.passes} for _ in references]
        if Painting.name in task.given:
            kept = [~np.isnan(item[Painting.name]).any(axis=1) for item in asked]
            audios = [splice(*item, jasco.codec.hop, rate) for item in zip(audios, [item.audio for item in references], kept, strict=True)]
    for reference, audio in zip(references, audios, strict=True):
        if reference.id not in missing:
            continue
        write_audio(task.path(reference.id).with_suffix(".flac"), audio / audio.abs().max().clamp(min=1.0), rate)
    return costs


def conditions_of(
    reference: Reference, given: Iterable[str], jasco: Jasco, frames: int, audio: Reference | None = None
) -> dict[str, np.ndarray]:
    """Raw conditions of one clip; those that are audio come from `audio`, where it is another reference."""
    asked: dict[str, np.ndarray] = {}
    for name in given:
        control = jasco.model.controls[name]
        if isinstance(control, AudioControl):
            asked[name] = (audio or reference).codes(control)
        elif isinstance(control, Painting):
            stretch = [(share * frames / jasco.codec.frame_rate) for share in REDONE]
            asked[name] = jasco.read(Request(paint=reference.audio, redo=[(stretch[0], stretch[1])]), frames).asked[name]
        else:
            asked[name] = reference.conditions[name]
    return asked


def _hear(task: Task, reference: Reference, cost: dict[str, Any] | None, crossed: Crossed | None = None) -> None:
    """Hear a clip as it was written and write down its figures; `cost` is None for one that is heard again.

    What three pieces were crossed for is like none of them, so that the networks that compare sounds do not hear it.
    """
    path, rate, listeners = task.path(reference.id), reference.sample_rate, task.listeners
    if cost is None:
        cost = read_typed(path, dict[str, Any])["cost"]
    audio = read_audio(path.with_suffix(".flac"), rate)[:, : reference.audio.shape[-1]]
    record: dict[str, Any] = {
        "id": reference.id,
        "caption": written(reference.told) if task.row == FORM else reference.caption,
        "given": list(task.given),
        "seconds": task.settings.seconds,
        **task.made_of(reference.id),
        "cost": cost,
        "heard_with": listeners.heard_with,
    }
    first, last = (round(share * reference.heard.frames) for share in REDONE)
    part = Part(first, last) if remade(task.row, task.given) else None
    inside = part.samples(rate) if part else slice(None)
    found = {} if crossed else listeners.hear(audio[:, inside], rate, reference.caption)  # CLAP has no ear for times
    if part:
        of_reference = listeners.hear(reference.audio[:, inside], rate, reference.caption)
        found |= {f"{REFERENCE}{name}": value for name, value in of_reference.items()}
    if not task.other:
        recall(task, reference)
        clip = Heard(audio, rate)
        clip.melody = listeners.melody(audio, rate, clip.frames)
        if crossed:
            reference = crossed.asked
            measured = measure(clip, reference)
            figures = {key: measured[key] for key in OF_CROSSED} | crossed.not_asked(clip)
        else:
            figures = measure(clip, reference, part)
            config = read_config(Path(task.settings.checkpoint))
            frames, window = (round(seconds * config.frame_rate) for seconds in (task.settings.seconds, config.seconds))
            if frames > window and part is None:
                chords = reference.target(CHORDS) if CHORDS.missing() is None else None
                figures |= seam_figures(clip, frames, window, config.frame_rate, chords)
        record["figures"] = {name: None if np.isnan(value) else value for name, value in figures.items()}
        record["heard"] = heard_lanes(clip, reference)
        record["asked"] = asked_lanes(reference, task.given)
    _write_arrays(path.with_suffix(".npz"), found)
    write_json(path, record)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """What `hear_references` and `make_clips` wrote as .npz, by name; nothing where there is no file.

    Raises:
        UserError: it is damaged.
    """
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{str(path)!r} is damaged: take it and the JSON beside it away, and they are made again ({error}).") from error


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
