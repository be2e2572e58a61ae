"""Clips that `jasco generate` and `jasco edit` wrote, a recording with its JSON beside it, measured against what that says was asked for.

Chords are compared as they were read, in the seconds for which they held; a melody, drums or dynamics that came from a file are read from
it again, so that it has to be where it was, or beside the clip. There is no reference: a clip is compared with the request alone.

Of a song that `jasco edit` wrote the stretch is measured that was made anew: what was asked for counts from where that begins. What lies
around it is heard with it, as recognisers of chords and beats need it, and not counted.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch.nn import functional
from tqdm import tqdm

from jasco_pl.audio.files import SAMPLE_RATE, read_audio
from jasco_pl.audio.suffixes import SUBTYPES
from jasco_pl.codec import Codec
from jasco_pl.controls import ADHERENCES, CONTROLS, Adherence, AudioControl, Control
from jasco_pl.controls.adherence import CHORDS, ONSETS
from jasco_pl.controls.audio import Drums
from jasco_pl.controls.base import FrameGrid
from jasco_pl.extract.heard import Heard, Part
from jasco_pl.generation.outline import MAX_SECONDS
from jasco_pl.metrics.report import Figure, Row, aligned_table, markdown_table
from jasco_pl.notation import harmony
from jasco_pl.notation.harmony import FRAME_RATE, first_frame
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import or_beside, write_json, write_text
from jasco_pl.system.typed import read_typed, typed

_AROUND = 4.0  # seconds heard on either side of what was made anew
_UNREADABLE = (TypeError, ValueError, AttributeError, OSError)  # whatever somebody wrote into the JSON
COLUMNS = [column for adherence in ADHERENCES for column in adherence.columns]
"""Of the figures."""


@dataclass
class Said:
    """What the JSON of a clip says of what was asked for; the rest of it is not needed."""

    request: dict[str, Any]
    controls: list[str] = field(default_factory=list)
    chords_read: list[tuple[str, float]] = field(default_factory=list)
    during: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    edit: dict[str, Any] = field(default_factory=dict)

    @property
    def stretch(self) -> tuple[float, float] | None:
        """Of a song that was edited, the seconds that were made anew."""
        return (float(self.edit["from"]), float(self.edit["to"])) if self.edit else None


@dataclass
class Measured:
    """One clip: its figures by the keys of `COLUMNS`, and why there are none where there might be."""

    name: str
    figures: dict[str, float]
    notes: list[str]


def find_clips(folder: str | Path) -> list[tuple[Path, Path]]:
    """(recording, JSON) of every clip in a folder.

    Raises:
        UserError: there is no such folder, or no clip in it.
    """
    place = Path(folder)
    if not place.is_dir():
        raise UserError(f"{str(folder)!r} is no folder of clips.")
    pairs = [(note.with_suffix(suffix), note) for note in sorted(place.glob("*.json")) for suffix in SUBTYPES]
    found = [(audio, note) for audio, note in pairs if audio.is_file()]
    if not found:
        raise UserError(f"{str(folder)!r} holds no clip with a JSON of the same name beside it, as `jasco generate` writes them.")
    return found


def measure_clip(audio: Path, note: Path) -> Measured:
    """One clip against its request.

    Raises:
        UserError: the recording cannot be read, or the JSON is not that of a clip.
    """
    said = _read(note)
    heard, made = _heard(audio, said)
    notes: list[str] = []
    conditions = dict(_conditions(said, heard, made, note, notes))
    drums = _drums(said, made, note, notes)
    figures: dict[str, float] = {}
    for adherence in ADHERENCES:
        asked = adherence.asked(conditions, drums)
        if asked is None:
            continue
        if missing := adherence.missing():
            notes.append(f"{adherence.name}: {missing}")
            continue
        found = adherence.figures(heard, asked, _part(adherence, said, made))
        figures |= {column.key: found[column.key] for column in adherence.columns if not math.isnan(found[column.key])}
    if not figures and not notes:
        notes.append("nothing was asked for that can be measured")
    return Measured(audio.name, figures, notes)


def _read(note: Path) -> Said:
    values = read_typed(note, dict[str, Any])
    try:
        said = typed({name: values[name] for name in Said.__dataclass_fields__ if name in values}, Said)
        if unknown := [label for label, _ in said.chords_read if label not in harmony.LABELS]:
            raise ValueError(f"there is no chord {unknown[0]!r}")
        times = [start for _, start in said.chords_read] + [time for held in said.during.values() for pair in held for time in pair]
        if beyond := [time for time in times if not 0 <= time <= MAX_SECONDS]:
            raise ValueError(f"{beyond[0]:g} is no second of a clip")
        if said.edit and not all(isinstance(said.edit.get(name), int | float) for name in ("from", "to")):
            raise ValueError("it does not say which stretch was made anew")
        if said.stretch and not 0 <= said.stretch[0] < said.stretch[1] <= said.stretch[0] + MAX_SECONDS:
            raise ValueError(f"{said.stretch[0]:g}-{said.stretch[1]:g} s is no stretch of a song")
    except (ValueError, OverflowError) as error:  # whole numbers may be too large
        raise UserError(f"{str(note)!r} is not the JSON of a clip, as `jasco generate` writes it: {error}.") from None
    return said


def _heard(audio: Path, said: Said) -> tuple[Heard, Part]:
    """What is heard of a recording, and the part of it that was made: all, or of an edited song a stretch whose first frame begins it."""
    if said.stretch is None:
        heard = Heard(read_audio(audio, SAMPLE_RATE, max_seconds=MAX_SECONDS), SAMPLE_RATE)
        return heard, heard.whole
    begin, end = said.stretch
    before = int(min(begin, _AROUND) * FRAME_RATE)
    song = read_audio(audio, SAMPLE_RATE, max_seconds=end + _AROUND)
    heard = Heard(song[:, round((begin - before / FRAME_RATE) * SAMPLE_RATE) :].clone(), SAMPLE_RATE)
    made = Part(before, min(before + first_frame(end - begin, FRAME_RATE), heard.frames))
    if made.last <= made.first:
        raise UserError(f"{str(audio)!r} ends at {song.shape[-1] / SAMPLE_RATE:.2f} s, before {begin:g}-{end:g} s, which were made anew.")
    return heard, made


def _conditions(said: Said, heard: Heard, made: Part, note: Path, notes: list[str]) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Raw frames of what was asked for, by control, as long as what is heard; but for what is audio."""
    frames = made.last - made.first

    def laid(raw: NDArray[np.generic], null: float) -> NDArray[np.generic]:
        around = [(made.first, heard.frames - made.last), *[(0, 0)] * (raw.ndim - 1)]
        return np.pad(raw, around, constant_values=cast(Any, null))

    if said.chords_read:
        yield CHORDS.name, laid(harmony.changes_to_frames(said.chords_read, frames, FRAME_RATE), CONTROLS[CHORDS.name].null)
    still = SimpleNamespace(sample_rate=SAMPLE_RATE, hop=SAMPLE_RATE // FRAME_RATE, frame_rate=float(FRAME_RATE))
    grid = FrameGrid(frames, cast(Codec, still), lambda latents: latents, frames)
    for name in said.controls:
        kind = CONTROLS.get(name)
        if kind is None or kind.adherence is None or kind.adherence is CHORDS or issubclass(kind, AudioControl):
            continue
        if said.request.get(kind.option.name) is None:
            continue
        try:
            yield name, laid(cast(Any, kind)().read(_asked(said, kind, note), grid).raw, kind.null)
        except _UNREADABLE as error:
            notes.append(f"{kind.option.name} cannot be read again: {str(error).rstrip('.')}")


def _asked(said: Said, kind: type[Control], note: Path) -> dict[str, Any]:
    """What the request says to a control, by option, with the file beside the clip where it is not where it was."""
    asked = {option.name: said.request.get(option.name, option.default) for option in kind.options()}
    source = asked[kind.option.name]
    if kind.option.kind == "file" and not isinstance(source, str):  # a number would be opened as one of this process's own files
        raise TypeError(f"{source!r} is no file")
    return {**asked, kind.option.name: or_beside(source, note)} if isinstance(source, str) else asked


def _drums(said: Said, made: Part, note: Path, notes: list[str]) -> Heard | None:
    """The drum part as the clip was to follow it; None where none was asked for or it is gone."""
    if not isinstance(said.request.get("drums"), str):
        return None
    try:
        place = made.samples(SAMPLE_RATE)
        wav, _ = Drums.waveform(_asked(said, Drums, note), SAMPLE_RATE, place.stop - place.start)
    except _UNREADABLE as error:
        notes.append(f"drums cannot be read again: {str(error).rstrip('.')}")
        return None
    given = Heard(functional.pad(wav, (place.start, 0)), SAMPLE_RATE)
    given.onsets = _part(ONSETS, said, made).times(given.onsets)
    return given


def _part(adherence: Adherence, said: Said, made: Part) -> Part:
    """The frames in which a clip was to follow what is measured, of what was made."""
    masks = []
    for name, stretches in said.during.items():
        if name in CONTROLS and CONTROLS[name].adherence is adherence:
            mask = np.full(made.last, False)
            for start, end in stretches:
                mask[made.first :][first_frame(max(start, 0.0), FRAME_RATE) : first_frame(max(end, 0.0), FRAME_RATE)] = True
            masks.append(mask)
    return Part.of(np.logical_and.reduce(masks)) if masks else made


def evaluate_clips(folder: str | Path, out: str | Path) -> str:
    """Measure all clips of a folder; writes report.md, clips.csv and results.json into `out`.

    Returns:
        The report, in Markdown.

    Raises:
        UserError: as `find_clips` and `measure_clip`; nothing is written then.
    """
    found = find_clips(folder)
    for _, note in found:  # what cannot be read is told before anything is heard
        _read(note)
    clips = [measure_clip(audio, note) for audio, note in tqdm(found, desc="hear", unit="clip")]
    shown = [column for column in COLUMNS if any(column.key in clip.figures for clip in clips)]
    means = {column.key: Figure.of([clip.figures.get(column.key, math.nan) for clip in clips]) for column in shown}
    title = f"# {len(clips)} clips of {Path(folder).resolve().name or folder} against their requests\n"
    parts = [title, "Mean over the clips that were asked for it, and of two or more half of its 95 % interval:\n"]
    parts += [markdown_table([Row("mean", means)], shown)] if shown else []
    heading = ["clip", *(column.title for column in shown)]
    parts.append(aligned_table([heading, *(_line(clip, [column.key for column in shown]) for clip in clips)]))
    notes = [f"- {clip.name}: {note}" for clip in clips for note in clip.notes]
    text = "\n".join([*parts, *notes]) + "\n"
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["clip", *(column.key for column in shown)])
    writer.writerows([clip.name, *(clip.figures.get(column.key, "") for column in shown)] for clip in clips)
    write_text(Path(out) / "report.md", text)
    write_text(Path(out) / "clips.csv", table.getvalue())
    results = {clip.name: {"figures": clip.figures, "notes": clip.notes} for clip in clips}
    write_json(Path(out) / "results.json", {"clips": results, "means": {key: figure.mean for key, figure in means.items()}})
    return text


def _line(clip: Measured, keys: Sequence[str]) -> list[str]:
    return [clip.name, *(f"{clip.figures[key]:.3f}" if key in clip.figures else "–" for key in keys)]
