"""A singable line: phrases with rests, rhythm motifs that come back, steps between chord tones."""

from __future__ import annotations

from random import Random

from jasco_pl.compose.parts import Note, Span
from jasco_pl.compose.theory import scale_for

# Onsets of one bar in pulses, by how busy they are; a bar is one of these or a rest.
_RHYTHMS: dict[str, tuple[tuple[float, ...], ...]] = {
    "4/4": (
        (0.0,),
        (0.0, 2.0),
        (0.0, 3.0),
        (1.0, 2.0),
        (0.0, 1.5, 2.0),
        (0.0, 1.0, 2.0),
        (0.0, 1.0, 2.0, 3.0),
        (0.0, 1.5, 2.0, 3.0),
        (0.0, 0.5, 1.0, 2.0),
        (0.5, 1.0, 1.5, 2.0, 3.0),
        (0.0, 1.0, 1.5, 2.0, 3.5),
        (0.0, 0.5, 1.0, 1.5, 2.0, 3.0),
        (0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5),
        (0.0, 0.5, 1.5, 2.0, 2.5, 3.0, 3.5),
    ),
    "3/4": (
        (0.0,),
        (0.0, 2.0),
        (0.0, 1.0),
        (0.0, 1.0, 2.0),
        (0.0, 1.5, 2.0),
        (0.0, 1.0, 2.0, 2.5),
        (0.0, 0.5, 1.0, 2.0),
        (0.0, 0.5, 1.0, 1.5, 2.0, 2.5),
    ),
    "6/8": (
        (0.0,),
        (0.0, 1.0),
        (0.0, 2 / 3, 1.0),
        (0.0, 1.0, 5 / 3),
        (0.0, 1 / 3, 2 / 3, 1.0),
        (0.0, 2 / 3, 1.0, 5 / 3),
        (0.0, 1 / 3, 2 / 3, 1.0, 4 / 3, 5 / 3),
    ),
}


def _rhythm(meter: str, density: float, rng: Random) -> tuple[float, ...]:
    choices = _RHYTHMS[meter]
    centre = density * (len(choices) - 1)
    weights = [1.0 / (1.0 + abs(i - centre)) for i in range(len(choices))]
    return rng.choices(choices, weights)[0]


class Motif:
    """The rhythm and contour that a section's bars share, so that a repeat of the section is heard as one."""

    def __init__(self, meter: str, density: float, rng: Random) -> None:
        first, second, third = (_rhythm(meter, density, rng) for _ in range(3))
        ending = _RHYTHMS[meter][rng.randrange(3)]
        self.rhythms = rng.choice(((first, second, first, ending), (first, first, second, ending), (first, second, third, ending)))
        self.leaps = [[rng.choice((-2, -1, -1, 0, 1, 1, 2)) for _ in rhythm] for rhythm in self.rhythms]
        self.arch = rng.choice(((0, 3, 5, 1), (2, 4, 1, 0), (0, 2, 4, 2), (4, 2, 0, 0), (0, 0, 3, 0)))
        self.rest_after = rng.random() < 0.75


def melody_part(
    spans: list[Span], motif: Motif, bars: int, pulses: int, key: int, mode: str, low: int, high: int, rng: Random, *, vary: bool
) -> list[Note]:
    """Lay `motif` over `spans`.

    Strong beats take the chord tone nearest to the contour, other notes step through the scale that fits the chord.

    Returns: notes in order, never overlapping, pitches in low..high.
    """
    centre = (low + high) / 2 - 2
    notes: list[Note] = []
    pitch = round(centre)
    origin = spans[0].start
    total = origin + bars * pulses
    starts: list[tuple[float, int, int]] = []
    for bar in range(bars):
        phrase = bar % 4
        rhythm = motif.rhythms[phrase]
        for i, onset in enumerate(rhythm):
            if vary and len(rhythm) > 2 and i > 0 and rng.random() < 0.12:
                continue
            starts.append((origin + bar * pulses + onset, phrase, i))
    for n, (start, phrase, i) in enumerate(starts):
        nxt = starts[n + 1][0] if n + 1 < len(starts) else total
        span = next((s for s in spans if s.start <= start + 1e-6 < s.end), spans[-1])
        tones = span.chord.tones
        length = nxt - start
        strong = i == 0 or length >= 1.0 or abs(start - span.start) < 0.26
        target = centre + motif.arch[phrase] + motif.leaps[phrase][i]
        pool = tones if strong else scale_for(key, mode, span.chord)
        reach = 7 if strong else 4
        options = [p for p in range(max(low, pitch - reach), min(high, pitch + reach) + 1) if p % 12 in pool]
        options = options or [p for p in range(low, high + 1) if p % 12 in pool]
        aim = 0.5 * (pitch + motif.leaps[phrase][i]) + 0.5 * target
        costs = [abs(p - aim) + (1.2 if p == pitch else 0.0) + rng.random() * (0.9 if vary else 0.5) for p in options]
        pitch = options[costs.index(min(costs))]
        # A long note ends early for breath; one that would rub against the next chord ends with its own.
        end = start + min(length * 0.94, 4.0)
        if end > span.end + 0.26 and all(pitch % 12 not in s.chord.tones for s in spans if abs(s.start - span.end) < 1e-6):
            end = max(span.end, start + 0.25)
        last = n + 1 == len(starts) or (starts[n + 1][1] == 0 and phrase == 3)
        if last and motif.rest_after:
            end = min(end, start + max(0.75, length * 0.6))
        notes.append(Note(pitch, start, end, 0.74 + (0.08 if i == 0 else 0.0) + rng.uniform(-0.06, 0.06)))
    return notes
