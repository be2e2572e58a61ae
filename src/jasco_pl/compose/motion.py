"""What moves over time in a piece: its level, as curves in decibels over pulses, and its tempo, as the length of each pulse."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

# Of a level so many parts in ten lie in the velocities, where instruments change their tone too, and the rest in the faders.
TOUCH = 0.4
FLOOR = -25.0
# A sudden change is made between so many seconds before the beat, so that the first stroke has its own level.
SUDDEN = (0.075, 0.03)
_SPANS = ((0.0, 0.0), (6.0, 12.0), (12.0, 18.0), (18.0, 24.0))
_SPAN_WEIGHTS = (15, 30, 30, 25)


@dataclass(frozen=True)
class Stretch:
    """A stretch of the piece with a level of its own.

    Attributes:
        start, end: in pulses.
        energy: 0 (the piece's softest) .. 1 (its loudest).
        rising: whether it certainly grows, as before a chorus.
    """

    start: float
    end: float
    energy: float
    rising: bool


@dataclass(frozen=True)
class Levels:
    """Level in dB over pulses, 0 at the loudest, linear between the points; of two points at one place the second holds from there on."""

    points: tuple[tuple[float, float], ...]

    def __call__(self, position: float) -> float:
        at = bisect_right(self.points, position + 1e-6, key=lambda point: point[0])
        if at in (0, len(self.points)):
            return self.points[min(at, len(self.points) - 1)][1]
        (before, low), (after, high) = self.points[at - 1], self.points[at]
        return low + (high - low) * (position - before) / (after - before) if after > before else high

    def mean(self, start: float, end: float) -> float:
        """The mean of a stretch, dB."""
        return statistics.fmean(self(start + (end - start) * (i + 0.5) / 16) for i in range(16))


def draw_levels(rng: Random, stretches: Sequence[Stretch], pulses: int) -> Levels:
    """Levels by energy, with swells and terraces within stretches and ways from one to the next; some pieces stay at one level."""
    span = rng.uniform(*rng.choices(_SPANS, _SPAN_WEIGHTS)[0])
    points: list[tuple[float, float]] = []
    bases = [-span * (1.0 - stretch.energy) for stretch in stretches]
    for number, (stretch, base) in enumerate(zip(stretches, bases, strict=True)):
        shape = _shape(rng, stretch, base, span)
        following = bases[number + 1] if number + 1 < len(bases) else base
        if span and not stretch.rising and abs(following - base) > 2.0 and rng.random() < 0.45:
            # Grow or fade into what follows, over the last bar or two.
            turn = stretch.end - min(pulses * rng.choice((1.0, 2.0)), 0.6 * (stretch.end - stretch.start))
            level = Levels(tuple(shape))(turn)
            shape = [point for point in shape if point[0] < turn] + [(turn, level), (stretch.end, 0.7 * following + 0.3 * level)]
        points += shape
    if span and rng.random() < 0.15:
        points = _faded_in(points, stretches[0])
    loudest = max(level for _, level in points)
    return Levels(tuple((position, round(max(FLOOR, level - loudest), 2)) for position, level in points))


def _shape(rng: Random, stretch: Stretch, base: float, span: float) -> list[tuple[float, float]]:
    start, end = stretch.start, stretch.end
    depth = min(12.0, max(3.0, span * rng.uniform(0.25, 0.6)))
    draw = rng.random()
    if span and (stretch.rising or draw < 0.12):
        return [(start, base - depth), (end, base)]
    if span and draw < 0.24:
        return [(start, base), (end, base - depth)]
    if span and draw < 0.36:
        top = start + (end - start) * rng.uniform(0.35, 0.65)
        return [(start, base - depth / 2), (top, base + depth / 2), (end, base - depth / 2)]
    if span and draw < 0.46:
        middle = start + round((end - start) / 2)
        first, second = rng.sample((base, base - depth), 2)
        return [(start, first), (middle, first), (middle, second), (end, second)]
    return [(start, base), (end, base)]


def _faded_in(points: list[tuple[float, float]], first: Stretch) -> list[tuple[float, float]]:
    levels = Levels(tuple(points))
    return [(first.start, FLOOR), (first.end, levels(first.end - 1e-3)), *(point for point in points if point[0] >= first.end)]


def fade_out(levels: Levels, start: float, end: float) -> Levels:
    """The same levels, from `start` on down to the floor at `end`."""
    kept = [point for point in levels.points if point[0] <= start]
    return Levels((*kept, (start, levels(start)), (end, FLOOR)))


def draw_stretch(rng: Random, stretches: Sequence[Stretch], pulses: int, chance: float) -> list[float]:
    """Length of each pulse against the nominal one, which is their median; empty for an even tempo.

    Args:
        chance: that the tempo changes at all.

    Bars drift, sections hurry or broaden at their end, and the last bars slow down: one of these or several.
    """
    if rng.random() >= chance:
        return []
    total = round(stretches[-1].end)
    lengths = [1.0] * total
    drift = rng.uniform(0.008, 0.025) if rng.random() < 0.6 else 0.0
    now = 0.0
    for i in range(total):
        if i % pulses == 0:
            now = max(-0.06, min(0.06, 0.7 * now + rng.gauss(0.0, drift)))
        lengths[i] *= 1.0 + now
    if rng.random() < 0.65:
        for stretch in stretches[:-1]:
            _bend(rng, lengths, round(stretch.start), round(stretch.end), pulses)
    if rng.random() < 0.65:
        slowest = rng.uniform(1.12, 1.45)
        count = min(total, pulses * rng.choice((1, 2, 2)))
        for i in range(count):
            lengths[total - count + i] *= 1.0 + (slowest - 1.0) * (i + 1) / count
        lengths += [lengths[-1]] * pulses
    middle = statistics.median(lengths)
    return [round(length / middle, 5) for length in lengths]


def _bend(rng: Random, lengths: list[float], start: int, end: int, pulses: int) -> None:
    """Broaden the end of a section, or let it hurry or slow down throughout."""
    draw = rng.random()
    if draw < 0.35:
        count, slowest = min(end - start, pulses), rng.uniform(1.05, 1.25)
        for i in range(count):
            lengths[end - count + i] *= 1.0 + (slowest - 1.0) * (i + 1) / count
    elif draw < 0.6:
        goal = rng.choice((rng.uniform(0.89, 0.97), rng.uniform(1.03, 1.1)))
        for i in range(start, end):
            lengths[i] *= 1.0 + (goal - 1.0) * (i + 1 - start) / (end - start)
