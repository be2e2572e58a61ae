"""The figures of one clip against its reference; and of one that is crossed against the three that it comes from.

The row "crossed" takes chords and caption from a piece, the drums from a second, the melody from a third, transposed. No piece has the
three together, so that a clip follows each of them by its own control or not at all. Beside the figures of what was asked for stand those
of what another of the three pieces would have suggested.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jasco_pl.codec import Codec
from jasco_pl.controls import ADHERENCES, CONTROLS, Adherence
from jasco_pl.controls.adherence import CHORDS, MELODY, ONSETS, main_figure
from jasco_pl.evaluation.references import Reference, Source
from jasco_pl.evaluation.settings import OF_THREE
from jasco_pl.extract.heard import Heard, Part
from jasco_pl.extract.key import key_of
from jasco_pl.metrics.beats import key_score
from jasco_pl.metrics.following import chroma_similarity, melody_similarity
from jasco_pl.metrics.report import Column
from jasco_pl.notation import harmony
from jasco_pl.notation.melody import BINS
from jasco_pl.system.seeding import stable_hash

FOLLOWED: list[Adherence] = [found for name in OF_THREE if (found := CONTROLS[name].adherence)]
FOLLOWED += [adherence for adherence in ADHERENCES if adherence not in FOLLOWED]
"""What is measured, those of the row crossed first."""
SIMILARITY = Column("melody_similarity", "melody similarity, salience", 3, True)
SALIENCE = [*MELODY.further, SIMILARITY]
"""Columns that need deep salience."""
OF_ASKED = [column for adherence in FOLLOWED for column in (*adherence.columns, *adherence.further)]
"""Columns that look at one control each; the others compare with the music as a whole."""
OF_CROSSED = [column.key for name in OF_THREE if (found := CONTROLS[name].adherence) for column in (*found.columns, *found.further)]
"""Keys of the figures of a crossed clip: beat and dynamics are asked of it by nothing."""
FOLLOWS = [*OF_ASKED, SIMILARITY, Column("chroma_similarity", "chroma similarity", 3, True), Column("key", "key", 3, True)]
"""Columns of what `measure` returns."""


def measure(clip: Heard, reference: Reference, part: Part | None = None) -> dict[str, float]:
    """Figures by the keys of `FOLLOWS`; NaN where the reference has nothing to follow (no melody, no drums, no harmony).

    Args:
        clip: as long as the reference.
        reference: what it is compared with, by the same extractors.
        part: measure these frames alone, of the clip as it was heard whole.
    """
    inside = part or reference.heard.whole
    figures = dict.fromkeys((column.key for column in FOLLOWS), float("nan"))
    for adherence in FOLLOWED:
        target = reference.target(adherence)
        if target is not None and adherence.missing() is None:
            figures |= adherence.figures(clip, target, inside)
    if clip.melody is not None and reference.heard.melody is not None:
        figures[SIMILARITY.key] = melody_similarity(clip.melody[inside.frames], reference.heard.melody[inside.frames])
    samples = inside.samples(clip.sample_rate)
    figures["chroma_similarity"] = chroma_similarity(clip.audio[:, samples], reference.audio[:, samples], clip.sample_rate)
    clip_key, own_key = (
        key_of(heard.audio[:, samples], heard.sample_rate) or "" if part else heard.key for heard in (clip, reference.heard)
    )
    figures["key"] = key_score(clip_key, own_key if reference.key is None else reference.key)
    return figures


def heard_lanes(clip: Heard, reference: Reference) -> dict[str, Any]:
    """What is heard in a clip, for a page."""
    return {name: side for adherence in ADHERENCES for name, side in adherence.written(clip, reference.target(adherence)).items()}


def asked_lanes(reference: Reference, given: Collection[str]) -> dict[str, Any]:
    """What a row gave, for a page; as onsets, where it gave drums or music that has some, those that are heard in the reference."""
    following = {CONTROLS[name].adherence for name in given}
    sides = {adherence: reference.asked(adherence) if adherence in following else None for adherence in ADHERENCES}
    return {adherence.name: [] if side is None else adherence.lane.written(side) for adherence, side in sides.items()}


SHIFTS = (-5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6)
"""Semitones: to every other key, the nearer way."""
_STRAYED = {CHORDS: "chords of the melody's piece", ONSETS: "drums of the chords' piece", MELODY: "not transposed"}
NOT_ASKED = {
    adherence: Column(f"{adherence.columns[0].key}_not_asked", f"{adherence.columns[0].title}, {what}", 3, False)
    for adherence, what in _STRAYED.items()
}
"""Columns of what `Crossed.not_asked` returns."""


@dataclass(frozen=True)
class Cross:
    """What goes with the chords and the caption of a piece: ids, and by how many semitones the melody is transposed."""

    drums: str
    melody: str
    semitones: int

    def mark(self, source: Source) -> dict[str, Any]:
        """Changes with the music and the transposition."""
        return {**asdict(self), "digests": [source.digest(self.drums), source.digest(self.melody)]}


def cross_of(source: Source, name: str, seconds: float) -> Cross:
    """Two other pieces that last so long, with drums and with a melody, and a transposition, by the hash of the id; UserError without."""
    drums = source.other(name, "drums", seconds=seconds)
    return Cross(drums, source.other(name, "melody", but=drums, seconds=seconds), SHIFTS[stable_hash("transposed", name) % len(SHIFTS)])


def transposed(bins: ArrayLike, semitones: int) -> NDArray[np.int8]:
    """Melody bins [T] moved by that many; notes that would leave the range come back into it by an octave, -1 stays."""
    moved = np.asarray(bins, dtype=np.int64) + semitones
    moved += 12 * ((moved < 0).astype(int) - (moved >= BINS))
    return np.where(np.asarray(bins) < 0, -1, moved).astype(np.int8)


class _OfTwo(Heard):
    """What is to be heard in a clip: the chords of one recording, the onsets of another."""

    def __init__(self, chords: Heard, onsets: Heard) -> None:
        super().__init__(chords.audio, chords.sample_rate)
        self._of_chords, self._of_onsets = chords, onsets

    @cached_property
    def chords(self) -> NDArray[np.int16]:
        return self._of_chords.chords

    @cached_property
    def onsets(self) -> NDArray[np.float64]:
        return self._of_onsets.onsets


@dataclass(frozen=True)
class Crossed:
    """Three stretches of one length, and what is asked of a clip."""

    own: Reference
    drums: Reference
    melody: Reference
    semitones: int

    @classmethod
    def of(cls, source: Source, own: Reference, seconds: float, codec: Codec) -> Crossed:
        """With the other two pieces, read from the source."""
        cross = cross_of(source, own.id, seconds)
        drums, melody = (source.reference(name, seconds, codec) for name in (cross.drums, cross.melody))
        return cls(own, drums, melody, cross.semitones)

    @cached_property
    def asked(self) -> Reference:
        """What a clip is asked for and compared with, as a reference: its audio and caption are those of the chords' piece."""
        conditions = {**self.own.conditions, "melody": transposed(self.melody.conditions["melody"], self.semitones)}
        reference = replace(self.own, conditions=conditions, codes=self.drums.codes, lacking=self.drums.lacking)
        reference.heard = _OfTwo(self.own.heard, self.drums.heard)
        return reference

    def not_asked(self, clip: Heard) -> dict[str, float]:
        """How much of what was not asked for is in a clip, by the keys of the columns `NOT_ASKED`; NaN where there is no such thing.

        The chords are those of the melody's piece, transposed with it: what the melody was written to.
        """
        chords, onsets = self.melody.target(CHORDS), self.own.target(ONSETS)
        music = {
            CHORDS: None if chords is None or self.own.target(CHORDS) is None else harmony.transposed(chords, self.semitones),
            ONSETS: None if self.drums.target(ONSETS) is None else onsets,
            MELODY: self.melody.target(MELODY),
        }
        return {column.key: main_figure(adherence, clip, music[adherence]) for adherence, column in NOT_ASKED.items()}
