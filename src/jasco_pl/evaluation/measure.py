"""The figures of one clip against its reference."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jasco_pl.evaluation.references import Reference
from jasco_pl.evaluation.settings import takes_audio
from jasco_pl.extract import chordino
from jasco_pl.extract.heard import Heard
from jasco_pl.metrics.chords import VOCABULARIES, chord_accuracy, chord_iou
from jasco_pl.metrics.melody import bins_to_pitch_class, chroma_similarity, melody_accuracy, melody_similarity, pitch_class_accuracy
from jasco_pl.metrics.onset_f1 import onset_f1
from jasco_pl.metrics.report import Column
from jasco_pl.notation import harmony
from jasco_pl.notation.melody import LOWEST_MIDI

CHORDS = [
    Column("chord_iou", "chord IoU", 3, True),
    Column("chord_iou_triads", "chord IoU, triads", 3, True),
    *(Column(f"chord_{name}", f"chords, {name}", 3, True) for name in VOCABULARIES),
]
ONSETS = [Column("onset_f1", "onset F1", 3, True)]
MELODY = [Column("melody_accuracy", "melody accuracy", 3, True)]
SALIENCE = [
    Column("melody_accuracy_salience", "melody accuracy, salience", 3, True),
    Column("melody_similarity", "melody similarity, salience", 3, True),
]
CHROMA = [Column("chroma_similarity", "chroma similarity", 3, True)]
FOLLOWS = [*CHORDS, *ONSETS, *MELODY, *SALIENCE, *CHROMA]
"""Columns of what `measure` returns."""
OF_ASKED = {column.key for column in (*CHORDS, *ONSETS, *MELODY, SALIENCE[0])}
"""Those that look at one control each; the others compare with the music as a whole."""


@dataclass(frozen=True)
class Part:
    """Frames [first, last) of a clip: what is measured of it."""

    first: int
    last: int

    @property
    def frames(self) -> slice:
        """Of what is heard, at 50 Hz."""
        return slice(self.first, self.last)

    def samples(self, sample_rate: int) -> slice:
        """Of the audio."""
        return slice(self.first * sample_rate // harmony.FRAME_RATE, self.last * sample_rate // harmony.FRAME_RATE)

    def times(self, onsets: NDArray[np.float64]) -> NDArray[np.float64]:
        """Those of the onset times that lie inside."""
        return onsets[(onsets >= self.first / harmony.FRAME_RATE) & (onsets < self.last / harmony.FRAME_RATE)]


def measure(
    clip: Heard,
    reference: Reference,
    melody: NDArray[np.int8] | None = None,
    wanted: NDArray[np.generic] | None = None,
    part: Part | None = None,
) -> dict[str, float]:
    """Figures by the keys of `FOLLOWS`; NaN where the reference has nothing to follow (no melody, no drums, no harmony).

    Args:
        clip: as long as the reference.
        reference: what it is compared with, by the same extractors.
        melody: what deep salience heard in the clip, bins [T]; None leaves its two figures out.
        wanted: what deep salience heard in the reference.
        part: measure these frames alone, of the clip as it was heard whole.
    """
    heard, inside = reference.heard, part or Part(0, reference.heard.frames)
    figures = dict.fromkeys((column.key for column in FOLLOWS), float("nan"))
    if reference.harmonic:
        pair = clip.chords[inside.frames], heard.chords[inside.frames]
        figures |= {"chord_iou": chord_iou(*pair), "chord_iou_triads": chord_iou(*pair, "triad")}
        figures |= {f"chord_{name}": chord_accuracy(*pair, name) for name in VOCABULARIES}
    if reference.drums:
        figures["onset_f1"] = onset_f1(inside.times(clip.onsets), inside.times(heard.onsets))
    if reference.melody is not None:
        asked = reference.melody[inside.frames]
        figures["melody_accuracy"] = pitch_class_accuracy(clip.pitch_classes[inside.frames], bins_to_pitch_class(asked))
        if melody is not None:
            figures["melody_accuracy_salience"] = melody_accuracy(melody[inside.frames], asked)
    if melody is not None and wanted is not None:
        figures["melody_similarity"] = melody_similarity(melody[inside.frames], wanted[inside.frames])
    samples = inside.samples(clip.sample_rate)
    figures["chroma_similarity"] = chroma_similarity(clip.audio[:, samples], reference.audio[:, samples], clip.sample_rate)
    return figures


def lanes(heard: Heard, reference: Reference, melody: NDArray[np.int8] | None) -> dict[str, Any]:
    """What is heard in a clip, for a page: chords [label, start], melody [MIDI, onset, offset] where salience heard it, the strongest pitch
    classes above middle C [0 = C .. 11, onset, offset], and onset times; in seconds.
    """
    classes = heard.pitch_classes if reference.melody is not None else np.zeros(0, dtype=np.int64)
    return {
        "chords": chord_lane(heard.chords) if chordino.available() else [],
        "melody": [] if melody is None else note_lane(melody, LOWEST_MIDI),
        "pitch_classes": note_lane(classes),
        "onsets": onset_lane(heard.onsets),
    }


def asked_lanes(reference: Reference, given: tuple[str, ...]) -> dict[str, Any]:
    """The same of what a row gave; as onsets, where it gave drums or music that has some, those that are heard in the reference."""
    chords, melody = (reference.conditions.get(name) if name in given else None for name in ("chords", "melody"))
    return {
        "chords": [] if chords is None else chord_lane(chords),
        "melody": [] if melody is None else note_lane(melody, LOWEST_MIDI),
        "onsets": onset_lane(reference.heard.onsets) if takes_audio(given) and reference.drums else [],
    }


def chord_lane(frames: NDArray[np.generic]) -> list[list[Any]]:
    """Changes as [label, start]."""
    return [[label, round(start, 3)] for label, start in harmony.frames_to_changes(np.minimum(frames, harmony.UNK))]


def note_lane(frames: NDArray[np.generic], lowest: int = 0) -> list[list[float]]:
    """Runs of one pitch as [pitch, onset, offset]; -1 is none."""
    notes, last = [], 0
    for pitch, run in itertools.groupby(frames.tolist()):
        first, last = last, last + len(list(run))
        if pitch >= 0:
            notes.append([pitch + lowest, round(first / harmony.FRAME_RATE, 3), round(last / harmony.FRAME_RATE, 3)])
    return notes


def onset_lane(times: NDArray[np.float64]) -> list[float]:
    """Rounded to milliseconds."""
    return [round(float(time), 3) for time in times]
