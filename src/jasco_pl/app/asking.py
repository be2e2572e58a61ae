"""What a visitor asks for -> requests of `Jasco`, with files that are the visitor's own and nothing else's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jasco_pl.app.chord_line import read_line
from jasco_pl.app.drums import render
from jasco_pl.app.errors import MissingError
from jasco_pl.app.schema import Make, Melody, Paint, Vary
from jasco_pl.app.store import Visitor
from jasco_pl.audio.decoding import AudioFile
from jasco_pl.audio.suffixes import AUDIO_SUFFIXES
from jasco_pl.controls import all_options
from jasco_pl.controls.inputs import INPUTS
from jasco_pl.controls.keeping import kept_frames
from jasco_pl.controls.melody import read_melody
from jasco_pl.controls.options import BARS, LOOP, VARIATION, VARY
from jasco_pl.generation.jasco import Request
from jasco_pl.generation.outline import Length, Outline
from jasco_pl.generation.whole import check_reach, clip_seconds
from jasco_pl.network.flow.config import SolverConfig
from jasco_pl.network.flow.guidance import TEXT, Written
from jasco_pl.notation.beats import read_meter
from jasco_pl.notation.harmony import first_frame
from jasco_pl.notation.level_curve import SHAPES, read_points
from jasco_pl.notation.melody import UNVOICED, melody_frames
from jasco_pl.notation.melody_files import no_track
from jasco_pl.notation.timed_text import read_prompt
from jasco_pl.system.errors import UserError

OPTIONS = ("chords", "melody", "drums", "mix", "drumless", "dynamics", "paint")
"""Those parts of what is asked that belong to controls; each is called as the option of a request."""
TEMPO = 120.0  # of a pattern without one
_SHORT = 1e-3  # of a frame by which a recording may miss its end, as it does where it is resampled to whole samples


def solver_of(make: Make, fitted: bool) -> SolverConfig:
    """The quality's, for models with or without fitted times, or what is said in its place; raises UserError where that would not count."""
    said = SolverConfig(make.solver or "auto", make.steps, make.tolerance or SolverConfig.tolerance).heeded()
    usual = SolverConfig.of(make.quality, fitted)
    return replace(said, steps=said.steps or usual.steps, student=usual.student)


def guidance_of(make: Make, controls: Sequence[str], default: str) -> str | None:
    """The common weight and those of single controls as one guidance, as the checkpoint's own in all else; None is that itself."""
    usual = Written.read(default)
    weights = dict(usual.weights) if make.guidance is None else {"all": make.guidance}
    text = make.text_guidance if make.text else 0.0
    given = [option for option in OPTIONS if getattr(make, option) is not None]
    extra: dict[str, float] = {}
    for option in given:
        names = [name for name in controls if name in INPUTS and INPUTS[name].option.name == option]
        if names:
            extra["+".join(names)] = getattr(make, option).guidance
    extra = {name: weight for name, weight in extra.items() if weight}
    if make.guidance is None and not extra and not text:
        return None
    for name, more in extra.items():
        weights[name] = weights.get(name, 0.0) + more
    beat = make.bpm is not None and "beat" in controls
    # as equation 4 has it: the text over nothing, all else over the text
    if text and usual.over == TEXT and (beat or set(given) - {"paint"}):
        weights = {name if {TEXT, "all"} & set(name.split("+")) else f"{TEXT}+{name}": weight for name, weight in weights.items()}
        weights[TEXT] = weights.get(TEXT, 0.0) + 1 - sum(weights.values())
        usual = replace(usual, over="")
    if text:
        weights[TEXT] = weights.get(TEXT, 0.0) + text
    return str(replace(usual, weights=tuple(weights.items())))


@dataclass
class Asking:
    """What one visitor asks for at one time.

    Args:
        make: its form has been checked.
        visitor: whose files it may name.
    """

    make: Make
    visitor: Visitor

    def check(self, outline: Outline, default_guidance: str) -> Length:
        """Look at everything that can be said of it without a network; how long the takes will be.

        Raises:
            UserError: something cannot be read, is not there, or is nothing that the model takes.
        """
        make = self.make
        length = outline.length(self._lasting(outline.learnt))
        if make.vary is not None:
            check_reach(AudioFile(self._recording(make.vary, "varied")).claimed_seconds, length)
        read_prompt(make.text, length.frames, length.frame_rate)
        read_meter(make.meter)
        if make.chords is not None:
            read_line(make.chords.text, make.bpm, make.meter, length.seconds, make.key)
        if make.dynamics is not None:
            if Path(make.dynamics.curve.strip()).suffix.lower() in AUDIO_SUFFIXES:
                raise UserError("the dynamics name a file; here they are points, as in 0:-30, 5:-10, or a word, as build.")
            if make.dynamics.curve.strip().lower() not in SHAPES:
                read_points(make.dynamics.curve.strip(), files=False)
        asked = self._values(length, None)
        outline.check(asked, guidance_of(make, outline.controls, default_guidance), length)
        if make.paint is not None:
            available = int(AudioFile(asked["paint"]).claimed_seconds * length.frame_rate + _SHORT)
            kept_frames(length.frames, available, length.frame_rate, asked["keep"], asked["redo"])
        if make.melody is not None:
            _check_melody(asked["melody"], make.melody.start, length)
        return length

    def remarks(self, length: Length) -> list[str]:
        """What is to be said of how it was read, beside what the model's own reading says."""
        notes = (self.make.melody and self.make.melody.notes) or []
        late = sum(first_frame(onset, length.frame_rate) >= length.frames for _, onset, _ in notes)
        said = f"{late} of {len(notes)} notes of the melody begin past the clip's end at {length.seconds:g} s and were left out"
        return [said] if late else []

    def requests(self, seeds: Sequence[int], length: Length, sample_rate: int) -> list[Request]:
        """One a take, all of the same but the seed."""
        values = self._values(length, sample_rate)
        return [Request(self.make.text, seed=seed, **values) for seed in seeds]

    def seconds(self, length: Length) -> float:
        """How long the takes last: as many frames, but for loops, which are exact to the sample."""
        return self._lasting(length.seconds) if self.make.loop else length.seconds

    def _lasting(self, learnt: float) -> float:
        return clip_seconds({**self._whole(), BARS.name: self.make.bars}, self.make.seconds, learnt)

    def _whole(self) -> dict[str, Any]:
        """What belongs to no control; all else as where it was not asked for."""
        make = self.make
        values: dict[str, Any] = {name: option.default for name, option in all_options().items()}
        values |= {"bpm": make.bpm, "meter": make.meter, "key": make.key, LOOP.name: make.loop or None}
        if make.vary is not None:
            values |= {VARY.name: self._recording(make.vary, "varied"), VARIATION.name: make.vary.variation}
        return values

    def _values(self, length: Length, sample_rate: int | None) -> dict[str, Any]:
        """Of the options of a request; without a sample rate, sound stays unread."""
        make = self.make
        values = self._whole()
        if make.chords is not None:
            values["chords"] = make.chords.text
        if make.melody is not None:
            values |= {"melody": self._melody(make.melody, length), "melody_from": make.melody.start}
        if make.drums is not None:
            if make.drums.pattern is None:
                values |= {"drums": self._audio(make.drums.upload, "drums"), "fit_loop": make.drums.fit or None}
            else:
                values["drums"] = "pattern" if sample_rate is None else self._pattern(sample_rate)
        for name in ("mix", "drumless"):
            if (asked := getattr(make, name)) is not None:
                values[name] = self._audio(asked.upload, name)
        if make.dynamics is not None:
            values["dynamics"] = make.dynamics.curve
        if make.paint is not None:
            values |= {"paint": self._recording(make.paint, "painted"), "keep": make.paint.keep or None, "redo": make.paint.redo or None}
        parts = {name: asked.during for name in OPTIONS if (asked := getattr(make, name)) is not None and getattr(asked, "during", None)}
        values["during"] = parts or None
        return values

    def _pattern(self, sample_rate: int) -> torch.Tensor:
        assert self.make.drums is not None
        assert self.make.drums.pattern is not None
        return torch.from_numpy(render(self.make.drums.pattern, self.make.bpm or TEMPO, sample_rate))[None]

    def _melody(self, asked: Melody, length: Length) -> Any:
        """Of notes their bins in the clip, of a MIDI track its own, of audio the file; the engine takes both up where it is said."""
        if asked.upload is None:
            return melody_frames(asked.notes or [], length.frames, length.frame_rate)
        told = self.visitor.upload(asked.upload)
        if told["kind"] != "midi":
            no_track(told["name"], asked.track)
            return self._audio(asked.upload, "melody")
        notes = self._track(told, asked.track)
        # as much as a clip can need that takes it up at its first note or later: notes may last for hours
        most = max(notes[0][1], asked.start or 0.0) + length.seconds
        last = min(most, max(offset for _, _, offset in notes))
        return melody_frames(notes, first_frame(last, length.frame_rate), length.frame_rate)

    def _track(self, told: Mapping[str, Any], track: int | None) -> Sequence[Sequence[float]]:
        wanted = told["track"] if track is None else track
        if all(one["number"] != wanted for one in told["tracks"]):
            listed = ", ".join(str(one["number"]) for one in told["tracks"])
            raise UserError(f"{told['name']!r} has no track {wanted} with a melody; it has {listed}.")
        path = self.visitor.upload_folder(told["id"]) / "tracks.json"
        found: Sequence[Sequence[float]] = json.loads(path.read_text())[str(wanted)]
        return found

    def _audio(self, upload: str | None, what: str) -> str:
        told = self.visitor.upload(upload or "")
        if told["kind"] != "audio":
            raise UserError(f"{told['name']!r} is a MIDI file, where {what} is audio.")
        return str(self.visitor.upload_folder(told["id"]) / "upload.wav")

    def _recording(self, asked: Paint | Vary, done: str) -> str:
        if asked.take is None:
            return self._audio(asked.upload, f"what is {done}")
        path = self.visitor.job_folder(asked.take.job) / f"take-{asked.take.take}.wav"
        if not path.is_file():
            raise MissingError(f"the take that is to be {done} was deleted, or belongs to somebody else.")
        return str(path)


def _check_melody(melody: Any, start: float | None, length: Length) -> None:
    """Raise UserError if nothing of it, a file of audio or bins, is in the clip; what is in audio is not heard here."""
    if isinstance(melody, str):  # how long it is can be said of silence, too
        silence = np.full(round(AudioFile(melody).claimed_seconds * length.frame_rate), UNVOICED, dtype=np.int8)
        read_melody(silence, length.frames, length.frame_rate, start=start)
    elif not (read_melody(melody, length.frames, length.frame_rate, start=start).bins >= 0).any():
        raise UserError(f"no note of the melody sounds in the {length.seconds:g} s of the clip.")
