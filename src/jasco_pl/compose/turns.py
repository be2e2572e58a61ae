"""What a form hands to those who write the notes: one section after another, and who plays in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from jasco_pl.compose.cast import Cast
from jasco_pl.compose.form import Frame, Section, draw_order
from jasco_pl.compose.motion import Levels

_EVERYBODY = frozenset(("comp", "second", "pad", "bass", "melody", "drums"))
HARMONY = ("comp", "second", "pad")


@dataclass(frozen=True)
class Turn:
    """A section as it is played once.

    Attributes:
        section: its material.
        start: where it begins, in pulses.
        repeat: how often its material has been played before: repeats keep chords and motif, and the melody varies a little.
        players: roles that play.
        pad: semitones by which the sustained part lies above the others.
        fill: whether the drums end with a fill; without drums, whether one leads out.
        crash: whether they begin with a cymbal.
        name: of the kind of section, e.g. `verse`; empty where sections do not differ.
    """

    section: Section
    start: float
    bars: int
    repeat: int
    players: frozenset[str]
    pad: int
    fill: bool
    crash: bool
    name: str = ""


class Form(Protocol):
    """The order and length of a piece's sections, and what changes over time."""

    @property
    def sections(self) -> dict[str, Section]:
        """Its material, by letter."""

    @property
    def intro(self) -> Section | None:
        """The material of a first bar of drums alone, where there is one."""

    @property
    def start(self) -> float:
        """Where the first section begins, in pulses."""

    @property
    def stretch(self) -> Sequence[float]:
        """As of `Clock`."""

    def ending(self, cast: Cast) -> frozenset[str]:
        """Who plays a last bar."""

    def turns(self, cast: Cast, rng: Random) -> Iterator[Turn]:
        """The sections in order; draws what is left open from `rng` as they are asked for."""

    @property
    def levels(self) -> Levels | None:
        """Level over time; None where it stays the same."""

    @property
    def faded(self) -> bool:
        """Whether the piece fades out, without a last bar."""

    def touch(self, position: float) -> float:
        """Factor of the velocities at a position in pulses."""

    def with_sections(self, sections: dict[str, Section]) -> Form:
        """The same form of other material."""


@dataclass(frozen=True)
class Order:
    """Edition 1: two or three sections in turn, everybody in nearly all of them, at one level and tempo."""

    frame: Frame
    sections: dict[str, Section]
    bars_of_intro: int
    plan: list[tuple[str, int]]
    stretch: Sequence[float] = ()
    levels: None = None
    faded: bool = False

    @classmethod
    def draw(cls, rng: Random, frame: Frame, sections: dict[str, Section], bars: int) -> Order:
        """Order the sections so that they fill `bars` bars."""
        return cls(frame, sections, *draw_order(rng, frame, sections, bars))

    @property
    def intro(self) -> Section | None:
        """See `Form`."""
        return self.sections[self.plan[0][0]] if self.bars_of_intro else None

    @property
    def start(self) -> float:
        """See `Form`."""
        return float(self.bars_of_intro * self.frame.pulses)

    def turns(self, cast: Cast, rng: Random) -> Iterator[Turn]:
        """See `Form`."""
        frame, of = self.frame, len(self.plan)
        start, seen = self.start, dict.fromkeys(self.sections, 0)
        for number, (name, bars) in enumerate(self.plan):
            players, pad, fill, crash = set(HARMONY[:1]) if frame.harmony else set(), 0, False, False
            if frame.melody and not (number == 0 and not frame.only and rng.random() < 0.15):
                players.add("melody")
            if cast.with_bass:
                players.add("bass")
            # The second and the sustained part come and go by section, so that a chorus is fuller than a verse.
            if frame.harmony and cast.second and (name != "A" or number == 0):
                players.add("second")
            if frame.harmony and cast.pad and (name == "B" or seen[name] > 0 or number % 2 == 0):
                players.add("pad")
                pad = rng.choice((0, 0, 5))
            # Now and then the drums leave the last section but one to the others.
            if frame.drums and not (not frame.only and number > 0 and number == of - 2 and rng.random() < 0.2):
                players.add("drums")
                fill = (number == of - 1 or rng.random() < 0.7) and not cast.brushes
                crash = number > 0 and rng.random() < 0.6
            yield Turn(self.sections[name], start, bars, seen[name], frozenset(players), pad, fill, crash)
            seen[name] += 1
            start += bars * frame.pulses

    def ending(self, cast: Cast) -> frozenset[str]:
        """See `Form`."""
        return _EVERYBODY - {"second"}

    def touch(self, position: float) -> float:
        """See `Form`."""
        return 1.0

    def with_sections(self, sections: dict[str, Section]) -> Order:
        """See `Form`."""
        return replace(self, sections=sections)
