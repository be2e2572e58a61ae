"""Asked against heard: how far music follows a control, for every place that measures it or shows it.

A control names its adherence; those that ask for the same thing share one. Tables, pages, pictures and TensorBoard take figures, columns
and lanes from there, so that what a control says here appears everywhere.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from jasco_pl.extract import chordino
from jasco_pl.extract.heard import Heard, Part
from jasco_pl.metrics.following import (
    VOCABULARIES,
    WINDOW,
    bins_to_pitch_class,
    chord_accuracy,
    chord_iou,
    chord_matches,
    melody_accuracy,
    onset_f1,
    pitch_class_accuracy,
)
from jasco_pl.metrics.report import Column
from jasco_pl.notation import harmony
from jasco_pl.notation.melody import LOWEST_MIDI, has_melody
from jasco_pl.pages.lanes import FREE, NEAR, RIGHT, WRONG, Colour, Events, Labels, Lane, Notes, Side, tint


class Adherence(ABC):
    """What was asked for against what is heard.

    Attributes:
        lane: how pages and pictures show it.
        columns: of its figures, the one that says most first.
        further: columns that an evaluation has besides.
        extracted: attributes of `Heard` that it is heard by, which are worth keeping for a recording that is heard often.
        heard_field: field of a stored sample that holds what was heard in it, if there is one.
    """

    lane: ClassVar[Lane]
    columns: ClassVar[Sequence[Column]]
    further: ClassVar[Sequence[Column]] = ()
    extracted: ClassVar[Sequence[str]] = ()
    heard_field: ClassVar[str | None] = None

    @property
    def name(self) -> str:
        """Of its lane, and of what is kept of it for a page."""
        return self.lane.name

    def missing(self) -> str | None:
        """Why it cannot be heard on this machine, in a sentence."""
        return None

    def asked(self, conditions: Mapping[str, Side], given: Heard | None) -> Side | None:
        """What was asked for; None where nothing was.

        Args:
            conditions: raw frames [T] by the control's name.
            given: the audio from which conditions were taken, if there is any: a drum part, a reference.
        """
        return conditions.get(self.name)

    def target(self, conditions: Mapping[str, Side], reference: Heard) -> Side | None:
        """What a clip is measured by that shall be like a reference; None where that has nothing to follow."""
        return self.asked(conditions, reference)

    @abstractmethod
    def heard(self, clip: Heard, asked: Side | None = None) -> Side | None:
        """What is heard in a clip; None where that cannot be said, or not without knowing what was asked for."""

    @abstractmethod
    def figures(self, clip: Heard, asked: Side, part: Part) -> dict[str, float]:
        """By the keys of `columns` and `further`, those that can be had; NaN where there is nothing to follow.

        Args:
            clip: in which it can be heard.
            asked: as long as the clip.
            part: of the clip that is measured.
        """

    def written(self, clip: Heard, asked: Side | None = None) -> dict[str, list[Any]]:
        """What is heard in a clip, to be kept for a page: by its name, and by others that `judged` knows."""
        found = self.heard(clip)
        return {self.name: [] if found is None else self.lane.written(found)}

    def judged(self, asked: Sequence[Any], heard: Mapping[str, Sequence[Any]], seconds: float) -> dict[str, Any]:
        """The lane of a page, of what its lane and `written` wrote."""
        return self.lane.judged(asked, heard.get(self.name) or [], seconds)


class _ChordLane(Labels):
    """Chords: near is the same triad with another bass, sixth or seventh; nothing right can be played to an unknown chord."""

    def verdicts(self, asked: Side, heard: Side) -> Side:
        if not len(asked):
            return np.zeros(0, dtype=np.int64)
        near = np.where(chord_matches(heard, asked, "triad"), NEAR, WRONG)
        return np.where(asked > harmony.N, FREE, np.where(chord_matches(heard, asked), RIGHT, near))

    def score(self, verdicts: Side) -> str:
        return f"{100 * (verdicts == RIGHT).mean():.0f} % exact\n{100 * (verdicts != WRONG).mean():.0f} % triads"

    def pretty(self, label: str) -> str:
        """As musicians write it: F♯m7♭5."""
        return {"N": "–", "UNK": "?"}.get(label, label.replace("#", "♯").replace("b", "♭"))

    def colour(self, index: int) -> Colour:
        """By root around the circle of fifths, so near keys look near; minor and diminished chords darker; no chord is grey."""
        if index >= harmony.N:
            return 0xEE / 255, 0xEE / 255, 0xEE / 255
        minor = harmony.triad(index) % 4 in (1, 2)
        return tint(0.78 if minor else 0.87, (index // 16 * 7 % 12) / 12)


class ChordAdherence(Adherence):
    """Chords as Chordino hears them, against the same of a reference, or as they were typed."""

    lane = _ChordLane("chords", harmony.LABELS, harmony.N, "hatched = other chord, dotted = same triad")
    columns = (Column("chord_iou", "chord IoU", 3, True), Column("chord_iou_triads", "chord IoU, triads", 3, True))
    further = tuple(Column(f"chord_{name}", f"chords, {name}", 3, True) for name in VOCABULARIES)
    extracted = ("chords",)
    heard_field = "chords_heard"

    def missing(self) -> str | None:
        return None if chordino.available() else "Chordino is not installed: `make setup` brings it on Linux, x86-64."

    def target(self, conditions: Mapping[str, Side], reference: Heard) -> Side | None:
        """What is heard in the same stretch of the reference, so that what the recogniser misses in both costs nothing."""
        chords = self.heard(reference)
        return chords if chords is not None and harmony.has_chords(chords) else None

    def heard(self, clip: Heard, asked: Side | None = None) -> Side | None:
        return None if self.missing() else clip.chords

    def figures(self, clip: Heard, asked: Side, part: Part) -> dict[str, float]:
        pair = clip.chords[part.frames], asked[part.frames]
        figures = {"chord_iou": chord_iou(*pair), "chord_iou_triads": chord_iou(*pair, "triad")}
        return figures | {f"chord_{name}": chord_accuracy(*pair, name) for name in VOCABULARIES}


class MelodyAdherence(Adherence):
    """The melody's pitch classes, against the strongest above middle C, and against deep salience's melody where that has listened."""

    lane: ClassVar[Notes] = Notes("melody", LOWEST_MIDI)
    columns = (Column("melody_accuracy", "melody accuracy", 3, True),)
    further = (Column("melody_accuracy_salience", "melody accuracy, salience", 3, True),)
    extracted = ("pitch_classes",)
    _classes = Notes("pitch classes", 0)

    def asked(self, conditions: Mapping[str, Side], given: Heard | None) -> Side | None:
        bins = conditions.get(self.name)
        return bins if bins is not None and (bins >= 0).any() else None

    def target(self, conditions: Mapping[str, Side], reference: Heard) -> Side | None:
        bins = conditions.get(self.name)
        return bins if bins is not None and has_melody(bins) else None

    def heard(self, clip: Heard, asked: Side | None = None) -> Side | None:
        """Deep salience's melody; without that the pitch classes, in the octave nearest to what was asked for."""
        if clip.melody is not None or asked is None:
            return clip.melody
        return self.lane.nearest(clip.pitch_classes, asked)

    def figures(self, clip: Heard, asked: Side, part: Part) -> dict[str, float]:
        wanted = asked[part.frames]
        figures = {"melody_accuracy": pitch_class_accuracy(clip.pitch_classes[part.frames], bins_to_pitch_class(wanted))}
        if clip.melody is not None:
            figures["melody_accuracy_salience"] = melody_accuracy(clip.melody[part.frames], wanted)
        return figures

    def written(self, clip: Heard, asked: Side | None = None) -> dict[str, list[Any]]:
        """The melody where salience heard it; `pitch_classes` [0 = C .. 11, onset, offset] stand in where something was asked for."""
        return {**super().written(clip), "pitch_classes": [] if asked is None else self._classes.written(clip.pitch_classes)}

    def judged(self, asked: Sequence[Any], heard: Mapping[str, Sequence[Any]], seconds: float) -> dict[str, Any]:
        sung = heard.get(self.name)
        return self.lane.judged(asked, sung or heard.get("pitch_classes") or [], seconds, octaves=bool(sung))


class OnsetAdherence(Adherence):
    """Onsets, against those of the audio that was given."""

    lane = Events("onsets", WINDOW)
    columns = (Column("onset_f1", "onset F1", 3, True),)
    extracted = ("onsets",)

    def asked(self, conditions: Mapping[str, Side], given: Heard | None) -> Side | None:
        return None if given is None else given.onsets

    def heard(self, clip: Heard, asked: Side | None = None) -> Side | None:
        return clip.onsets

    def figures(self, clip: Heard, asked: Side, part: Part) -> dict[str, float]:
        return {"onset_f1": onset_f1(part.times(clip.onsets), part.times(asked))}


CHORDS, MELODY, ONSETS = ChordAdherence(), MelodyAdherence(), OnsetAdherence()


def main_figure(adherence: Adherence, clip: Heard, asked: Side | None, part: Part | None = None) -> float:
    """The figure that says most, of a part or of all of a clip; NaN where nothing was asked for or it cannot be heard."""
    if asked is None or adherence.missing():
        return math.nan
    return adherence.figures(clip, asked, part or clip.whole)[adherence.columns[0].key]
