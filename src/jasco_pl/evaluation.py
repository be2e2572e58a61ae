"""How a checkpoint follows its conditions, measured on composed pieces by real extractors (paper, section 4.1).

Every row generates one clip a piece from the reference's own conditions and listens to it:
chords as Chordino hears them in the reference (the paper's protocol), the composed melody, the drum stem. The ceiling is the reference
itself through the codec; "no control" gets the caption alone. In/outpainting is left out, as in the paper's tables: it hands over
a part of the clip itself.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio import read_audio, write_audio
from jasco_pl.controls import AudioControl, Painting, harmony
from jasco_pl.data.build import melody_frames, read_note
from jasco_pl.errors import UserError
from jasco_pl.files import write_json
from jasco_pl.flow.solver import SolverConfig
from jasco_pl.generate import Jasco
from jasco_pl.heard import Heard
from jasco_pl.metrics.chord_iou import chord_iou
from jasco_pl.metrics.chroma import chroma_similarity
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
FOLLOWING = ("chord_iou", "onset_f1", "melody_accuracy")  # one figure a control, for choosing between settings


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
        for path in sorted(file for file in Path(self.checkpoint).glob("*") if file.suffix in (".json", ".safetensors")):
            digest.update(path.read_bytes())
        return digest.hexdigest()


@dataclass
class Reference:
    """A stretch of a composed piece and what is known of it."""

    id: str
    caption: str
    stems: dict[str, Tensor]  # mix, drums, drumless
    chords: np.ndarray  # Chordino on the whole piece, cut
    melody: np.ndarray
    heard: Heard  # the stretch alone, as generated clips are heard


def load_reference(path: Path, seconds: float, sample_rate: int, frame_rate: float, cache: Path) -> Reference:
    """A stretch of `seconds` from the piece described by a JSON, placed by the hash of its id.

    What the extractors hear in it is kept in the folder `cache`, under the hash of the piece's audio: every row of the table, every
    guidance and every checkpoint needs it.
    """
    note = read_note(path)
    files = {stem: path.with_name(f"{note['id']}.{stem}.flac") for stem in ("mix", "drums", "drumless")}
    stems = {stem: read_audio(file, sample_rate) for stem, file in files.items()}
    frames, hop = round(seconds * frame_rate), round(sample_rate / frame_rate)
    total = stems["mix"].shape[-1] // hop
    if total < frames:
        raise UserError(f"the piece {note['id']!r} is shorter than {seconds:g} seconds.")
    first = stable_hash("evaluation", note["id"]) % (total - frames + 1)
    audio = hashlib.blake2b(files["mix"].read_bytes(), digest_size=8).hexdigest()
    whole = _known(Heard(stems["mix"], sample_rate), cache / f"{audio}-whole.npz", ["chords"])
    melody = melody_frames(note["melody"], total, frame_rate)[first : first + frames]
    cut = {stem: wav[:, first * hop : (first + frames) * hop] for stem, wav in stems.items()}
    heard = _known(Heard(cut["mix"], sample_rate), cache / f"{audio}-{first}-{frames}.npz", ["chords", "onsets"])
    return Reference(note["id"], note["captions"][0], cut, whole.chords[first : first + frames], melody, heard)


def _known(heard: Heard, path: Path, names: Sequence[str]) -> Heard:
    if path.exists():
        return heard.recall(path)
    heard.save(path, names)
    return heard


def measure(audio: Tensor, sample_rate: int, reference: Reference) -> dict[str, float]:
    """Figures of one clip against its reference; NaN where the reference has nothing to follow (no melody, no drums, no harmony)."""
    clip, heard = Heard(audio, sample_rate), reference.heard
    harmonic = bool((heard.chords != harmony.N).mean() > 0.5)
    drums = float(reference.stems["drums"].abs().max()) > 1e-3
    voiced = int((reference.melody >= 0).sum()) >= heard.frames // 10
    nan = float("nan")
    return {
        "chord_iou": chord_iou(clip.chords, heard.chords) if harmonic else nan,
        "chord_iou_triads": chord_iou(clip.chords, heard.chords, "triad") if harmonic else nan,
        "onset_f1": onset_f1(clip.onsets, heard.onsets) if drums else nan,
        "melody_accuracy": pitch_class_accuracy(clip.pitch_classes, bins_to_pitch_class(reference.melody)) if voiced else nan,
        "chroma_similarity": chroma_similarity(audio, reference.stems["mix"], sample_rate),
    }


def rows_of(controls: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Rows of the table: name -> the controls that are given."""
    measured = [name for name in controls if name != Painting.name]
    rows: dict[str, tuple[str, ...]] = {CEILING: (), NO_CONTROL: (), **{name: (name,) for name in measured}}
    if len(measured) > 1:
        rows[ALL] = tuple(measured)
    return rows


@lru_cache(maxsize=1)
def _jasco(checkpoint: str) -> Jasco:
    if os.environ.get("JASCO_EVALUATION_WORKER"):
        torch.set_num_threads(1)
    return Jasco.from_pretrained(checkpoint)


def _references(settings: Settings, paths: Sequence[str], cache: str) -> list[Reference]:
    codec = _jasco(settings.checkpoint).codec
    return [load_reference(Path(path), settings.seconds, codec.sample_rate, codec.frame_rate, Path(cache)) for path in paths]


def _listen(task: tuple[Settings, list[str], str]) -> int:
    """Hear a few references, for all rows."""
    return len(_references(*task))


def _make(task: tuple[Settings, str, tuple[str, ...], list[str], str, str]) -> int:
    """Generate and measure one row of a few pieces; every clip's figures are written as soon as they are known."""
    settings, row, given, paths, out, cache = task
    jasco = _jasco(settings.checkpoint)
    codec = jasco.codec
    references = _references(settings, paths, cache)
    frames = jasco.frames(settings.seconds)
    if row == CEILING:
        with torch.inference_mode():
            audios = [codec.decode(codec.encode(reference.stems["mix"][None]))[0] for reference in references]
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
    asked = {"chords": reference.chords, "melody": reference.melody}
    for name in given:
        control = jasco.model.controls[name]
        if isinstance(control, AudioControl):
            wav = control.filtered(reference.stems[control.asked_by], jasco.codec.sample_rate)
            with torch.inference_mode():
                asked[name] = jasco.codec.codes(jasco.codec.encode(wav[None]))[0].numpy()
    return {name: asked[name] for name in given}


def _clip_path(out: str | Path, row: str, name: str) -> Path:
    return Path(out) / row.replace(" ", "-") / f"{name}.json"


def _jsonable(figures: dict[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else value for name, value in figures.items()}


def evaluate(
    pieces: str | Path,
    settings: Settings,
    out: str | Path,
    limit: int = 64,
    workers: int = 1,
    batch: int = 4,
    rows: Mapping[str, tuple[str, ...]] | None = None,
) -> list[Row]:
    """Make and measure what is missing, then read all figures.

    Args:
        pieces: folder that `jasco compose` filled (held-out).
        settings: checkpoint, guidance, solver, seed.
        out: folder for a folder of clips a setting, and one of what is heard in the references; a second run with the same settings
            computes only what the first did not.
        limit: number of pieces.
        workers: processes of one thread each; with one, all threads of the machine.
        batch: clips that are generated together; their number does not change them.
        rows: name -> controls that are given; None is all of `rows_of`.

    Returns:
        One row a condition set, with 95 % bootstrap intervals over clips.

    Raises:
        UserError: there are no pieces.
    """
    paths = sorted(Path(pieces).glob("*.json"))[:limit]
    if not paths:
        raise UserError(f"{str(pieces)!r} holds no composed pieces (*.json); `jasco compose --split test --out {pieces}` makes some.")
    rows = rows_of(_jasco(settings.checkpoint).model.controls.names) if rows is None else rows
    clips, cache = Path(out) / settings.key(), str(Path(out) / "references")
    tasks = [
        (settings, row, given, missing[start : start + batch], str(clips), cache)
        for row, given in rows.items()
        if (missing := [str(path) for path in paths if not _clip_path(clips, row, path.stem).exists()])
        for start in range(0, len(missing), batch)
    ]
    needed = sorted({path for task in tasks for path in task[3]})
    total, todo = len(rows) * len(paths), sum(len(task[3]) for task in tasks)
    with _pool(workers) as run:
        with tqdm(total=len(needed), desc="references", unit="piece", disable=not needed) as bar:
            for done in run(_listen, [(settings, [path], cache) for path in needed]):
                bar.update(done)
        with tqdm(total=total, initial=total - todo, desc="evaluate", unit="clip") as bar:
            for done in run(_make, tasks):
                bar.update(done)
    return [_row(row, [json.loads(_clip_path(clips, row, path.stem).read_text(encoding="utf-8")) for path in paths]) for row in rows]


@contextmanager
def _pool(workers: int) -> Iterator[Callable[..., Iterator[int]]]:
    """A `map` over processes of one thread each, or over nothing but this one."""
    if workers <= 1:
        yield map
        return
    os.environ["JASCO_EVALUATION_WORKER"] = "1"
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield pool.map


def _row(name: str, clips: list[dict[str, Any]]) -> Row:
    return Row(
        name, {column.key: Figure.of([np.nan if clip[column.key] is None else clip[column.key] for clip in clips]) for column in COLUMNS}
    )


def guidance_grid() -> list[str]:
    """The paper's coefficients (section 4): (text, local, both) in {0, 0.5} x {0, -0.5} x {1.5, 2}."""
    return [f"all={both:g} text={text:g} local={local:g}" for text, local, both in itertools.product((0.0, 0.5), (0.0, -0.5), (1.5, 2.0))]


def evaluate_grid(pieces: str | Path, settings: Settings, out: str | Path, **options: Any) -> list[Row]:
    """One row a combination of `guidance_grid`, every clip given all that its piece has; arguments as for `evaluate`.

    Raises:
        UserError: the model has no local control to weigh against the text.
    """
    *_, (row, given) = rows_of(_jasco(settings.checkpoint).model.controls.names).items()
    if not given:
        raise UserError(f"the guidance grid weighs local controls against the text, and {settings.checkpoint!r} has none that is measured.")
    return [
        Row(guidance, evaluate(pieces, replace(settings, guidance=guidance), out, rows={row: given}, **options)[0].figures)
        for guidance in guidance_grid()
    ]


def best_of(rows: Sequence[Row]) -> Row:
    """The row with the highest mean of `FOLLOWING` (those that are defined); the first of several."""
    return max(rows, key=lambda row: np.nanmean([row.figures[key].mean for key in FOLLOWING]))
