"""Drum parts: grooves as step strings, fills, ghost notes, crashes where sections begin."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

# One bar of a groove: drum name -> steps. X accent, x hit, o ghost note, ? a hit in some bars only, . rest.
Groove = dict[str, str]
_VELOCITY = {"X": 0.95, "x": 0.75, "o": 0.32, "?": 0.6}

GROOVES: dict[str, dict[str, tuple[Groove, ...]]] = {
    "rock": {
        "4/4": (
            {"kick": "X.......x.x.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X.....x.x.......", "snare": "....X.......X..?", "hat": "X.x.X.x.X.x.X.x."},
            {"kick": "X..x....x..x..?.", "snare": "....X..o....X...", "hat": "x.x.x.x.x.x.x.o."},
            {"kick": "X.x.......x.x...", "snare": "....X.......X.?.", "ride": "x.x.x.x.x.x.x.x."},
            {"kick": "X...x...x...x...", "snare": "....X.......X...", "open hat": "x...x...x...x..."},
        ),
        "3/4": (
            {"kick": "X.....?.....", "snare": "....x...X...", "hat": "x.x.x.x.x.x."},
            {"kick": "X.........x.", "snare": "....X...x...", "ride": "x.x.x.x.x.x."},
        ),
        "6/8": (
            {"kick": "X....x", "snare": "...X..", "hat": "xxxxxx"},
            {"kick": "X.x..?", "snare": "...X..", "hat": "XxxXxx"},
            {"kick": "X....x", "snare": "...X.o", "ride": "xxxxxx"},
        ),
    },
    "ballad": {
        "4/4": (
            {"kick": "X.......x.......", "rim": "....x.......x...", "hat": "x.o.x.o.x.o.x.o."},
            {"kick": "X.........x.....", "snare": "....x.......x...", "ride": "x...x...x...x..."},
            {"kick": "x.......x.......", "rim": "........x.......", "shaker": "x.o.x.o.x.o.x.o."},
        ),
        "3/4": ({"kick": "x...........", "rim": "........x...", "hat": "x...x...x..."},),
        "6/8": ({"kick": "x.....", "rim": "...x..", "hat": "xooxoo"}, {"kick": "x....?", "snare": "...x..", "shaker": "xoxoxo"}),
    },
    "folk": {
        "4/4": (
            {"kick": "x.......x.......", "tambourine": "....x.......x...", "shaker": "x.o.x.o.x.o.x.o."},
            {"kick": "x.......x.......", "snare": "..o.x.o...o.x.o.", "pedal hat": "....x.......x..."},
        ),
        "3/4": (
            {"kick": "x...........", "tambourine": "....x...x...", "shaker": "x.o.x.o.x.o."},
            {"kick": "x...........", "snare": "....o...o..."},
        ),
        "6/8": ({"kick": "x.....", "tambourine": "...x..", "shaker": "xooxoo"}, {"kick": "x.....", "snare": "..oX.o"}),
    },
    "bossa": {
        "4/4": (
            {"kick": "x.....x.x.....x.", "rim": "x.....x.....x...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "x.....x.x.....x.", "rim": "x.....x.....x.?.", "shaker": "xoxoxoxoxoxoxoxo"},
            {"kick": "x.....x.x.....x.", "rim": "....x.....x...x.", "ride": "x.x.x.x.x.x.x.x.", "pedal hat": "....x.......x..."},
            {"low conga": "............x.x.", "high conga": "....x.......o...", "shaker": "x.x.x.x.x.x.x.x.", "claves": "x.....x.....x..."},
        ),
    },
    "swing": {
        "4/4": (
            {"kick": "o...o...o...o...", "ride": "X...x.x.X...x.x.", "pedal hat": "....x.......x...", "snare": "......?.......?."},
            {
                "kick": "o...o...o...o...",
                "ride": "x...X.x.x...X.x.",
                "pedal hat": "....x.......x...",
                "snare": "..?.......?.....",
                "rim": "............x...",
            },
        ),
        "3/4": ({"kick": "x...........", "ride": "x...x.x.x...", "pedal hat": "....x...x...", "snare": "......?....."},),
    },
    "waltz": {
        "3/4": (
            {"kick": "x...........", "snare": "....o...o...", "hat": "....x...x..."},
            {"kick": "x...........", "rim": "....x...x...", "ride": "x...x.o.x..."},
        ),
    },
    "hiphop": {
        "4/4": (
            {"kick": "X......x..x.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X..x......x..?..", "snare": "....X.......X..o", "hat": "x.x.x.xox.x.x.x."},
            {"kick": "X.........xx....", "rim": "....X.......X...", "hat": "xoxoxoxoxoxoxoxo"},
            {"kick": "X......x.x......", "clap": "....X.......X...", "hat": "x.x.x.x.x.x.xxxx", "open hat": "..............?."},
        ),
    },
    "house": {
        "4/4": (
            {"kick": "X...X...X...X...", "clap": "....X.......X...", "open hat": "..x...x...x...x.", "hat": "xoxoxoxoxoxoxoxo"},
            {"kick": "X...X...X...X...", "snare": "....x.......x...", "open hat": "..X...X...X...X."},
            {"kick": "X...X...X...X..?", "clap": "....X.......X...", "hat": "..x...x...x...x.", "shaker": "xoxoxoxoxoxoxoxo"},
        ),
    },
    "synth": {
        "4/4": (
            {"kick": "X...X...X...X...", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X.....x.X.......", "snare": "....X.......X...", "hat": "xxxxxxxxxxxxxxxx"},
            {"kick": "X.......X.x.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x.", "low tom": "..............?."},
        ),
        "6/8": ({"kick": "X..X..", "clap": "...X..", "hat": "xoxxox"},),
    },
    "funk": {
        "4/4": (
            {"kick": "X..x......x..x..", "snare": "....X..o.o..X..o", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X.x.......x.....", "snare": "....X..o.o.oX...", "hat": "xxxxxxxxxxxxxxxx"},
            {"kick": "X.....x...x..x..", "snare": "....X..o....X..o", "hat": "x.x.x.x.x.x.x...", "open hat": "..............x."},
            {"kick": "X..x..x...x.....", "snare": "....X.......X.?.", "hat": "x.xxx.xxx.xxx.xx", "cowbell": "x...x...x...x..."},
        ),
    },
    "reggae": {
        "4/4": (
            {"kick": "........X.......", "rim": "........X.......", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X...X...X...X...", "rim": "........X.......", "hat": "x.xox.xox.xox.xo"},
            {"kick": "x.......X.......", "snare": "........X.....?.", "hat": "x.x.x.x.x.x.x.x."},
        ),
    },
    "shuffle": {
        "4/4": (
            {"kick": "X.......x.......", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X...x...X...x...", "snare": "..o.X.o...o.X.o.", "ride": "x.x.x.x.x.x.x.x."},
            {"kick": "X.....x.x.......", "snare": "....X.......X.?.", "hat": "x.x.x.x.x.x.x.x."},
        ),
        "6/8": ({"kick": "X....x", "snare": "...X..", "hat": "xxxxxx"}, {"kick": "X.x...", "snare": "...X.?", "ride": "xxxxxx"}),
    },
    "train": {
        "4/4": (
            {"kick": "X.......X.......", "snare": "o.ooX.ooo.ooX.oo"},
            {"kick": "X.......X.......", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X...x...X...x...", "snare": "..x...x...x...x."},
        ),
        "3/4": ({"kick": "X...........", "snare": "....x...x...", "hat": "x.x.x.x.x.x."},),
    },
    "latin": {
        "4/4": (
            {"kick": "X..x..x.X..x..x.", "rim": "x..x..x...x.x...", "cowbell": "x...x...x...x...", "maracas": "x.x.x.x.x.x.x.x."},
            {
                "low conga": "x.............xx",
                "high conga": "....X.......X...",
                "maracas": "xoxoxoxoxoxoxoxo",
                "claves": "x..x..x...x.x...",
            },
        ),
    },
    "orchestral": {
        "4/4": ({"kick": "X.......x.......", "snare": "....o...o.oox..."}, {"kick": "X...............", "snare": "x..ox.o.x..ox.oo"}),
        "3/4": ({"kick": "X...........", "snare": "....o...o.o."}, {"kick": "X...........", "snare": "x.oox.x.x.oo"}),
        "6/8": ({"kick": "X.....", "snare": "x.ox.o"},),
    },
    "sparse": {
        "4/4": ({"kick": "x...............", "shaker": "..o...o...o...o."}, {"kick": "x.........x.....", "rim": "........x......."}),
        "3/4": ({"kick": "x...........", "shaker": "....o...o..."},),
        "6/8": ({"kick": "x.....", "shaker": "..o..o"},),
    },
}


@dataclass(frozen=True)
class Hit:
    """A drum stroke at `position` pulses from the start of the piece; velocity 0..1."""

    name: str
    position: float
    velocity: float


def _bar(groove: Groove, start: float, pulses: int, rng: Random, until: float = 1.0) -> list[Hit]:
    hits = []
    for name, steps in groove.items():
        for i, char in enumerate(steps):
            if char == "." or i >= until * len(steps) or (char == "?" and rng.random() < 0.6) or (char == "o" and rng.random() < 0.15):
                continue
            hits.append(Hit(name, start + pulses * i / len(steps), _VELOCITY[char] * rng.uniform(0.88, 1.05)))
    return hits


def _fill(start: float, pulses: int, compound: bool, rng: Random, length: float) -> list[Hit]:
    """A roll down the toms over the last `length` pulses of a bar."""
    step = 1 / 3 if compound else rng.choice((0.25, 0.25, 0.5))
    count = round(length / step)
    drums = rng.choice(
        (
            ("snare", "high tom", "mid tom", "low tom"),
            ("snare", "snare", "mid tom", "low tom"),
            ("high tom", "mid tom", "low tom", "low tom"),
        )
    )
    hits = []
    for i in range(count):
        if rng.random() < 0.18:
            continue
        drum = drums[min(3, 4 * i // count)]
        hits.append(Hit(drum, start + pulses - length + i * step, 0.55 + 0.35 * i / count + rng.uniform(-0.05, 0.05)))
    return hits


def drum_bars(
    groove: Groove, meter: str, start: float, bars: int, rng: Random, *, fill: bool, crash: bool, gentle: bool = False
) -> list[Hit]:
    """Play `groove` for `bars` bars from `start` (pulses), with a fill at the end and a crash at the beginning if asked.

    Returns: hits in order of time, none closer than 20 ms of the same drum by construction of the step grid.
    """
    pulses = {"4/4": 4, "3/4": 3, "6/8": 2}[meter]
    compound = meter == "6/8"
    hits: list[Hit] = []
    for bar in range(bars):
        at = start + bar * pulses
        length = rng.choice((1.0, 2.0)) if not compound else 1.0
        if fill and bar == bars - 1:
            hits += _bar(groove, at, pulses, rng, until=1 - length / pulses)
            hits += _fill(at, pulses, compound, rng, length)
        else:
            hits += _bar(groove, at, pulses, rng)
    if crash:
        hits.append(Hit("crash", start, 0.5 if gentle else 0.8))
    return sorted(hits, key=lambda hit: (hit.position, hit.name))
