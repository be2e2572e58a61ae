"""Editions of the composed set: pieces of one that is there never change, what is new comes as the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from jasco_pl.compose.tables import STYLES, STYLES_2, Style


@dataclass(frozen=True)
class Edition:
    """What pieces of an edition are drawn from.

    Attributes:
        number: from 1.
        styles: name -> style.
        scenes: whether sections differ, and levels and tempo move (`scenes.Scenes`), or go on evenly (`turns.Order`).
        pad_chance: of a sustained part, at least; styles that like it more have it more often.
        second_chance: of a second accompanying instrument.
        swung: share of the pieces of straight styles that swing nevertheless.
        quiet_drums: share of the pieces whose drums lie far below the rest.
    """

    number: int
    styles: Mapping[str, Style]
    scenes: bool
    pad_chance: float
    second_chance: float
    swung: float
    quiet_drums: float

    def purpose(self, name: str) -> str:
        """What a generator of that purpose is called, so that editions share no stream."""
        return name if self.number == 1 else f"{name} of edition {self.number}"

    def swing(self, rng: Random, style: Style) -> float:
        """The swing ratio of a piece whose pulses are halved (`Clock`)."""
        ratio = round(rng.uniform(*style.swing), 3)
        if self.swung and ratio == 0.5 and rng.random() < self.swung:
            ratio = round(rng.uniform(0.54, 0.66), 3)
        return ratio

    def drums_level(self, rng: Random) -> float:
        """Loudness of the drums against everything else, dB."""
        if self.quiet_drums and rng.random() < self.quiet_drums:
            return rng.uniform(-20.0, -7.0)
        return rng.uniform(-7.0, 1.0)


EDITIONS = {
    1: Edition(1, STYLES, scenes=False, pad_chance=0.0, second_chance=0.3, swung=0.0, quiet_drums=0.0),
    2: Edition(2, STYLES_2, scenes=True, pad_chance=0.6, second_chance=0.65, swung=0.15, quiet_drums=0.35),
}
