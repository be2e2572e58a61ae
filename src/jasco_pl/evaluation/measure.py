"""The figures of one clip against its reference."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from jasco_pl.controls import ADHERENCES, CONTROLS, Adherence
from jasco_pl.controls.adherence import MELODY
from jasco_pl.evaluation.references import Reference
from jasco_pl.evaluation.settings import OF_THREE
from jasco_pl.extract.heard import Heard, Part
from jasco_pl.metrics.melody import chroma_similarity, melody_similarity
from jasco_pl.metrics.report import Column

FOLLOWED: list[Adherence] = [found for name in OF_THREE if (found := CONTROLS[name].adherence)]
FOLLOWED += [adherence for adherence in ADHERENCES if adherence not in FOLLOWED]
"""What is measured, those of the row crossed first."""
SIMILARITY = Column("melody_similarity", "melody similarity, salience", 3, True)
SALIENCE = [*MELODY.further, SIMILARITY]
"""Columns that need deep salience."""
OF_ASKED = [column for adherence in FOLLOWED for column in (*adherence.columns, *adherence.further)]
"""Columns that look at one control each; the others compare with the music as a whole."""
FOLLOWS = [*OF_ASKED, SIMILARITY, Column("chroma_similarity", "chroma similarity", 3, True)]
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
    return figures


def heard_lanes(clip: Heard, reference: Reference) -> dict[str, Any]:
    """What is heard in a clip, for a page."""
    return {name: side for adherence in ADHERENCES for name, side in adherence.written(clip, reference.target(adherence)).items()}


def asked_lanes(reference: Reference, given: Collection[str]) -> dict[str, Any]:
    """What a row gave, for a page; as onsets, where it gave drums or music that has some, those that are heard in the reference."""
    following = {CONTROLS[name].adherence for name in given}
    sides = {adherence: reference.asked(adherence) if adherence in following else None for adherence in ADHERENCES}
    return {adherence.name: [] if side is None else adherence.lane.written(side) for adherence, side in sides.items()}
