"""Who plays a piece, and how throughout."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from jasco_pl.compose.edition import Edition
from jasco_pl.compose.form import Frame
from jasco_pl.compose.tables import INSTRUMENTS

_BRUSHES = 40
_GENTLE_KITS = (32, _BRUSHES)
# Played with a small delay from string to string, as guitars are.
_STRUMMED = ("harp", "banjo", "koto", "dulcimer")


@dataclass(frozen=True)
class Cast:
    """Who plays, and how the piece is played throughout."""

    lead: str
    comp: str
    bass: str
    pad: str | None
    second: str | None
    with_bass: bool
    kit: int
    centre: int
    loudness: float
    strum: float
    timing: float
    melody_low: int
    melody_high: int

    @staticmethod
    def manner(kit: int) -> tuple[bool, bool]:
        """How a kit is played: gently, with brushes. Kits that are played alike can take each other's part."""
        return kit in _GENTLE_KITS, kit == _BRUSHES

    @property
    def gentle(self) -> bool:
        """Whether the kit is one for soft playing."""
        return self.kit in _GENTLE_KITS

    @property
    def brushes(self) -> bool:
        """Whether the kit is played with brushes, without fills."""
        return self.kit == _BRUSHES


def draw_cast(rng: Random, frame: Frame, edition: Edition) -> Cast:
    """Choose instruments of the frame's style."""
    style = frame.style
    lead = rng.choice(style.lead)
    comp = rng.choice(style.comp)
    bass = rng.choice(style.bass)
    pad_chance = max(style.pad_chance, edition.pad_chance)
    pad = rng.choice(style.pad) if style.pad and rng.random() < pad_chance and comp not in style.pad else None
    second = rng.choice(style.second_comp) if style.second_comp and rng.random() < edition.second_chance else None
    with_bass = frame.harmony and frame.only != "chords" and rng.random() < (0.92 if frame.drums else 0.72)
    if second == comp or frame.only == "chords":
        second = None
    if frame.only == "chords":
        pad = pad if rng.random() < 0.3 else None
    kit = rng.choice(style.kits)
    centre = rng.randint(57, 64)
    loudness = rng.uniform(0.8, 1.05)
    strum = 0.03 if "guitar" in comp or comp in _STRUMMED else 0.0
    timing = rng.choice((0.002, 0.004, 0.008))
    # A tune keeps within an octave and a half somewhere in the instrument's range.
    low, high = INSTRUMENTS[lead].low, INSTRUMENTS[lead].high
    middle = rng.randint(low + 8, high - 8)
    return Cast(
        lead=lead,
        comp=comp,
        bass=bass,
        pad=pad,
        second=second,
        with_bass=with_bass,
        kit=kit,
        centre=centre,
        loudness=loudness,
        strum=strum,
        timing=timing,
        melody_low=max(low, 43, middle - 9),
        melody_high=min(high, 95, middle + 9),
    )
