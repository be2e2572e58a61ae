"""From the written score to time: tempo, swing, small human errors, and a melody that never overlaps itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from random import Random

from jasco_pl.compose.parts import Note
from jasco_pl.compose.song import Event

Touch = Callable[[float], float]  # pulses -> factor of velocities


class Clock:
    """Pulses -> seconds, with swing: the middle of each pulse (or half pulse) is late by the swing ratio (0.5 is straight).

    Args:
        bpm: pulses a minute.
        swing: the ratio.
        sixteenths: whether half pulses swing.
        stretch: length of each pulse against 60 / bpm, the last one's for all that follow; none for an even tempo.
    """

    def __init__(self, bpm: int, swing: float, sixteenths: bool, stretch: Sequence[float] = ()) -> None:
        self.pulse = 60.0 / bpm
        self.swing = swing
        self.unit = 0.5 if sixteenths else 1.0
        self.stretch = stretch
        self.starts = [0.0, *itertools.accumulate(stretch)]

    def __call__(self, position: float) -> float:
        whole, part = divmod(position / self.unit + 1e-9, 1.0)
        part = max(0.0, part - 1e-9)
        warped = 2 * self.swing * part if part < 0.5 else self.swing + 2 * (1 - self.swing) * (part - 0.5)
        if not self.stretch:
            return (whole + warped) * self.unit * self.pulse
        even = (whole + warped) * self.unit
        number = min(int(even), len(self.stretch) - 1)
        return (self.starts[number] + (even - number) * self.stretch[number]) * self.pulse


def perform(notes: list[Note], clock: Clock, rng: Random, timing: float, loudness: float, touch: Touch) -> list[Event]:
    """Play notes with an error of `timing` seconds (standard deviation), and velocities scaled by `loudness` and `touch`."""
    out = []
    for note in notes:
        start = max(0.0, clock(note.start) + rng.gauss(0.0, timing))
        end = max(start + 0.05, clock(note.end))
        velocity = max(20, min(120, round(127 * note.velocity * loudness * touch(note.start))))
        out.append(Event(note.pitch, start, end, velocity))
    return out


def monophonic(events: list[Event]) -> list[Event]:
    """Cut each note 10 ms before the next, and drop what is then shorter than 40 ms."""
    ordered = sorted(events, key=lambda event: event.start)
    out: list[Event] = []
    for event, following in zip(ordered, [*ordered[1:], None], strict=True):
        end = min(event.end, following.start - 0.01) if following else event.end
        if end - event.start >= 0.04:
            out.append(Event(event.pitch, event.start, end, event.velocity))
    return out
