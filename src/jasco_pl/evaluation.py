"""How a checkpoint follows its conditions, measured on composed pieces by real extractors (paper, section 4.1).

Every row generates one clip a piece from the reference's own conditions and listens to it:
chords as Chordino hears them in the reference (the paper's protocol), the composed melody, the drum stem. The ceiling is the reference
itself through the codec; "no control" gets the caption alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio import read_audio, write_audio
from jasco_pl.controls import harmony
from jasco_pl.data.build import melody_frames, read_note
from jasco_pl.errors import UserError
from jasco_pl.extract.chordino import chordino_frames
from jasco_pl.extract.onsets import onset_times
from jasco_pl.files import write_json
from jasco_pl.flow.solver import SolverConfig
from jasco_pl.generate import Jasco
from jasco_pl.metrics.chord_iou import chord_iou
from jasco_pl.metrics.chroma import chroma_similarity, prominent_pitch_class
from jasco_pl.metrics.melody import bins_to_pitch_class, pitch_class_accuracy
from jasco_pl.metrics.onset_f1 import onset_f1
from jasco_pl.metrics.report import Column, Figure, Row
from jasco_pl.seeding import stable_hash

CEILING, NO_CONTROL, ALL = "codec ceiling", "no control", "all controls"
COLUMNS = [
    Column("chord_iou", "chord IoU", 3, True),
    Column("chord_iou_triads", "chord IoU, triads", 3, True),
    Column("onset_f1", "onset F1", 3, True),
    Column("melody_accuracy", "melody accuracy", 3, True),
    Column("chroma_similarity", "chroma similarity", 3, True),
]


@dataclass(frozen=True)
class Settings:
    """What the figures depend on, besides the pieces."""

    checkpoint: str
    guidance: str
    solver: SolverConfig = field(default_factory=SolverConfig)
    seconds: float = 10.0
    seed: int = 0

    def key(self) -> str:
        """Short hash of the settings and the checkpoint's bytes: results of other settings are kept apart."""
        digest = hashlib.blake2b(json.dumps(asdict(self), sort_keys=True).encode(), digest_size=4)
        for path in sorted(Path(self.checkpoint).glob("*.safetensors")):
            digest.update(path.read_bytes())
        return digest.hexdigest()


@dataclass
class Reference:
    """A stretch of a composed piece and what is known of it."""

    id: str
    caption: str
    mix: Tensor
    drums: Tensor
    chords: np.ndarray  # Chordino on the whole piece, cut
    heard: np.ndarray  # Chordino on the stretch alone, as on generated clips
    melody: np.ndarray
    onsets: np.ndarray


def load_reference(path: Path, seconds: float, sample_rate: int, frame_rate: float) -> Reference:
    """A stretch of `seconds` from the piece described by a JSON, placed by the hash of its id."""
    note = read_note(path)
    mix, drums = (read_audio(path.with_name(f"{note['id']}.{stem}.flac"), sample_rate) for stem in ("mix", "drums"))
    frames, hop = round(seconds * frame_rate), round(sample_rate / frame_rate)
    total = mix.shape[-1] // hop
    if total < frames:
        raise UserError(f"the piece {note['id']!r} is shorter than {seconds:g} seconds.")
    first = stable_hash("evaluation", note["id"]) % (total - frames + 1)
    inside = slice(first * hop, (first + frames) * hop)
    chords = chordino_frames(mix, sample_rate, total)[first : first + frames]
    melody = melody_frames(note["melody"], total, frame_rate)[first : first + frames]
    mix, drums = mix[:, inside], drums[:, inside]
    heard = chordino_frames(mix, sample_rate, frames)
    return Reference(note["id"], note["captions"][0], mix, drums, chords, heard, melody, onset_times(mix, sample_rate))


def measure(audio: Tensor, sample_rate: int, reference: Reference) -> dict[str, float]:
    """Figures of one clip against its reference; NaN where the reference has nothing to follow (no melody, no drums, no harmony)."""
    frames = len(reference.heard)
    heard = chordino_frames(audio, sample_rate, frames)
    harmonic = bool((reference.heard != harmony.N).mean() > 0.5)
    drums = float(reference.drums.abs().max()) > 1e-3
    voiced = int((reference.melody >= 0).sum()) >= frames // 10
    nan = float("nan")
    return {
        "chord_iou": chord_iou(heard, reference.heard) if harmonic else nan,
        "chord_iou_triads": chord_iou(heard, reference.heard, "triad") if harmonic else nan,
        "onset_f1": onset_f1(onset_times(audio, sample_rate), reference.onsets) if drums else nan,
        "melody_accuracy": pitch_class_accuracy(prominent_pitch_class(audio, sample_rate, frames), bins_to_pitch_class(reference.melody))
        if voiced
        else nan,
        "chroma_similarity": chroma_similarity(audio, reference.mix, sample_rate),
    }


def rows_of(controls: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Rows of the table: name -> the controls that are given."""
    rows: dict[str, tuple[str, ...]] = {CEILING: (), NO_CONTROL: (), **{name: (name,) for name in controls}}
    if len(controls) > 1:
        rows[ALL] = tuple(controls)
    return rows


@lru_cache(maxsize=1)
def _jasco(checkpoint: str) -> Jasco:
    if os.environ.get("JASCO_EVALUATION_WORKER"):
        torch.set_num_threads(1)
    return Jasco.from_pretrained(checkpoint)


def _make(task: tuple[Settings, str, tuple[str, ...], list[str], str]) -> int:
    """Generate and measure one row of a few pieces; every clip's figures are written as soon as they are known."""
    settings, row, given, paths, out = task
    jasco = _jasco(settings.checkpoint)
    codec = jasco.codec
    references = [load_reference(Path(path), settings.seconds, codec.sample_rate, codec.frame_rate) for path in paths]
    frames = jasco.frames(settings.seconds)
    if row == CEILING:
        with torch.inference_mode():
            audios = [codec.decode(codec.encode(reference.mix[None]))[0] for reference in references]
    else:
        asked = [_asked(reference, given, jasco) for reference in references]
        conditions = jasco.conditions([reference.caption for reference in references], asked, frames)
        seeds = [stable_hash(settings.seed, reference.id) for reference in references]
        latents, _ = jasco.sample(conditions, seeds, settings.guidance, settings.solver)
        audios = list(jasco.decode(latents))
    for reference, audio in zip(references, audios, strict=True):
        path = _clip_path(out, row, reference.id)
        write_audio(path.with_suffix(".flac"), (audio / audio.abs().max().clamp(min=1.0)), codec.sample_rate)
        write_json(path, {"id": reference.id, "caption": reference.caption, **_jsonable(measure(audio, codec.sample_rate, reference))})
    return len(paths)


def _asked(reference: Reference, given: Sequence[str], jasco: Jasco) -> dict[str, np.ndarray]:
    with torch.inference_mode():
        every = {
            "chords": reference.chords,
            "melody": reference.melody,
            "drums": jasco.codec.codes(jasco.codec.encode(reference.drums[None]))[0].numpy(),
        }
    return {name: every[name] for name in given}


def _clip_path(out: str | Path, row: str, name: str) -> Path:
    return Path(out) / row.replace(" ", "-") / f"{name}.json"


def _jsonable(figures: dict[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else value for name, value in figures.items()}


def evaluate(pieces: str | Path, settings: Settings, out: str | Path, limit: int = 64, workers: int = 1, batch: int = 4) -> list[Row]:
    """Make and measure what is missing in `out`, then read all figures.

    Args:
        pieces: folder that `jasco compose` filled (held-out).
        settings: checkpoint, guidance, solver, seed.
        out: folder of the clips; a second run with the same settings computes only what the first did not.
        limit: number of pieces.
        workers: processes of one thread each; with one, all threads of the machine.
        batch: clips that are generated together; their number does not change them.

    Returns:
        One row a condition set, with 95 % bootstrap intervals over clips.

    Raises:
        UserError: there are no pieces.
    """
    paths = sorted(Path(pieces).glob("*.json"))[:limit]
    if not paths:
        raise UserError(f"{str(pieces)!r} holds no composed pieces (*.json); `jasco compose --split test --out {pieces}` makes some.")
    rows = rows_of(_jasco(settings.checkpoint).model.controls.names)
    tasks = [
        (settings, row, given, missing[start : start + batch], str(out))
        for row, given in rows.items()
        if (missing := [str(path) for path in paths if not _clip_path(out, row, path.stem).exists()])
        for start in range(0, len(missing), batch)
    ]
    clips = len(rows) * len(paths)
    todo = sum(len(task[3]) for task in tasks)
    with tqdm(total=clips, initial=clips - todo, desc="evaluate", unit="clip") as bar:
        for done in _run(tasks, workers):
            bar.update(done)
    return [_row(row, [json.loads(_clip_path(out, row, path.stem).read_text(encoding="utf-8")) for path in paths]) for row in rows]


def _run(tasks: list[Any], workers: int) -> Iterator[int]:
    if workers <= 1:
        yield from map(_make, tasks)
        return
    os.environ["JASCO_EVALUATION_WORKER"] = "1"
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_make, tasks)


def _row(name: str, clips: list[dict[str, Any]]) -> Row:
    return Row(
        name, {column.key: Figure.of([np.nan if clip[column.key] is None else clip[column.key] for clip in clips]) for column in COLUMNS}
    )
