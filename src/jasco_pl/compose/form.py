"""The plan of a piece: which parts it has, its sections with their chords and motifs, and the order they come in.

Chord progressions are common ones by family, coloured with sevenths, sixths and slash chords, and a tail of everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from jasco_pl.compose.edition import Edition
from jasco_pl.compose.parts import Motif, Span
from jasco_pl.compose.song import Chord
from jasco_pl.compose.tables import FAMILIES, GROOVES, PULSES, Groove, Style
from jasco_pl.notation.harmony import TYPES

# Colours that keep a chord's function; drawn in proportion to a style's liking for them.
_SEVENTH = {"": ("maj7", "6", "7"), "m": ("m7", "m7", "m6"), "dim": ("m7b5", "m7b5")}
_SLASH = {"": ("/3", "/5", "/3", "/b7", "/9"), "7": ("7/3",), "m7b5": ("m7b5/b7",)}


def _colour(chord: Chord, rng: Random, key: int, sevenths: float, slash: float) -> Chord:
    kind = chord.kind
    if kind in _SEVENTH and rng.random() < sevenths:
        kind = rng.choice(_SEVENTH[kind])
        if chord.kind == "" and (chord.root - key) % 12 == 7:
            kind = "7"
    if kind in _SLASH and rng.random() < slash:
        kind = rng.choice(_SLASH[kind])
    return Chord(chord.root, kind)


def wander(rng: Random, length: int) -> list[Chord]:
    """Any type on any root, uniformly over the types; roots move by the steps that ears accept most easily."""
    root = rng.randrange(12)
    chords = []
    for _ in range(length):
        chords.append(Chord(root, rng.choice(TYPES)))
        root = (root + rng.choice((5, 5, 7, 2, 10, 9, 3, 8, 4, 1, 11))) % 12
    return chords


def progression(rng: Random, key: int, mode: str, families: tuple[str, ...], sevenths: float, slash: float, tail: float) -> list[Chord]:
    """Draw the chords of one section (2 to 12 of them).

    Args:
        key: tonic pitch class.
        mode: `major` or `minor`.
        families: names in `FAMILIES`, drawn uniformly.
        sevenths, slash: chance that a plain chord takes a seventh or sixth, or another bass.
        tail: chance that a chord is replaced by one of uniformly drawn type on the same or any root.
    """
    degrees = rng.choice(FAMILIES[rng.choice(families)][mode])
    coloured = [_colour(Chord((key + degree.root) % 12, degree.kind), rng, key, sevenths, slash) for degree in degrees]
    for i in range(len(coloured)):
        if rng.random() < tail:
            root = coloured[i].root if rng.random() < 0.6 else rng.randrange(12)
            coloured[i] = Chord(root, rng.choice(TYPES))
    return coloured


@dataclass(frozen=True)
class Frame:
    """What holds for the whole piece."""

    style_name: str
    style: Style
    meter: str
    bpm: int
    key: int
    mode: str
    swing: float
    layout: str
    wander: bool

    @property
    def pulses(self) -> int:
        """Pulses a bar: quarters, or dotted quarters in 6/8."""
        return PULSES[self.meter]

    @property
    def only(self) -> str:
        """`melody`, `chords` or `drums` where nothing else sounds, otherwise empty."""
        return self.layout.removesuffix(" only") if self.layout.endswith("only") else ""

    @property
    def harmony(self) -> bool:
        return self.only in ("", "chords")

    @property
    def drums(self) -> bool:
        return self.only == "drums" or self.layout.startswith("drums,")

    @property
    def melody(self) -> bool:
        return self.only == "melody" or self.layout.endswith(", melody")


@dataclass(frozen=True)
class Section:
    """The material of a verse or chorus, kept for its repeats. `chords` are (chord, length in pulses)."""

    chords: list[tuple[Chord, float]]
    bars: int
    groove: Groove
    motif: Motif
    comp: str
    bass: str
    seed: int

    def spans(self, start: float, end: float) -> list[Span]:
        """The chords laid out from `start`, cut at `end` (pulses)."""
        spans = []
        for chord, length in self.chords:
            if start >= end - 1e-6:
                break
            spans.append(Span(chord, start, min(end, start + length)))
            start += length
        return spans


def draw_frame(rng: Random, edition: Edition) -> Frame:
    """Choose style, metre, tempo, key and parts. About one piece in five wanders freely through all chord types."""
    name = rng.choice(sorted(edition.styles))
    style = edition.styles[name]
    meter = rng.choices(list(style.meters), list(style.meters.values()))[0]
    low, high = style.compound_bpm if meter == "6/8" else style.bpm
    bpm = rng.randint(low, high)
    key = rng.randrange(12)
    mode = "minor" if rng.random() < style.minor else "major"
    swing = 0.5 if meter == "6/8" else edition.swing(rng, style)
    layout = _layout(rng, style)
    return Frame(name, style, meter, bpm, key, mode, swing, layout, wander=rng.random() < 0.2)


def _layout(rng: Random, style: Style) -> str:
    """The rarer solos first, then drums and melody left out independently."""
    draw = rng.random()
    if draw < 0.03:
        return "melody only"
    if draw < 0.06:
        return "chords only"
    if draw < 0.085:
        return "drums only"
    drums = rng.random() < style.drums_chance
    melody = rng.random() < 0.74
    return f"{'drums' if drums else 'no drums'}, {'melody' if melody else 'no melody'}"


def draw_section(rng: Random, frame: Frame) -> Section:
    """Draw chords, groove, motif and patterns for one section."""
    style = frame.style
    if frame.wander:
        chords = wander(rng, rng.choice((4, 4, 8)))
    else:
        chords = progression(rng, frame.key, frame.mode, style.families, style.sevenths, style.slash, style.tail)
    slots, bars = _slots(chords, frame, rng)
    grooves = [groove for name in style.grooves for groove in GROOVES[name].get(frame.meter, ())] or list(GROOVES["ballad"][frame.meter])
    return Section(
        chords=slots,
        bars=bars,
        groove=rng.choice(grooves),
        motif=Motif(frame.meter, min(1.0, max(0.0, style.melody_density + rng.uniform(-0.2, 0.2))), rng),
        comp=rng.choice(style.comp_patterns),
        bass=rng.choice(style.bass_lines),
        seed=rng.getrandbits(32),
    )


def _slots(chords: list[Chord], frame: Frame, rng: Random) -> tuple[list[tuple[Chord, float]], int]:
    """Give every chord a length (half a bar to two bars) and repeat the line until it fills at least four whole bars.

    Half bars are kept to tempi at which each chord still lasts 0.85 s, the least that ears and chord recognisers follow well.
    """
    pulses = frame.pulses
    bar_seconds = pulses * 60.0 / frame.bpm
    rates = [1.0] * 4
    if pulses % 2 == 0 and bar_seconds / 2 >= 0.85:
        rates += [0.5, 0.5] if len(chords) % 2 == 0 else []
    if bar_seconds <= 2.4 and len(chords) <= 4:
        rates += [2.0, 2.0]
    if bar_seconds < 1.2 and len(chords) <= 8:
        rates = [1.0, 2.0, 2.0]
    if frame.style_name == "ambient":
        rates = [rate for rate in rates if rate >= 1.0]
    rate = rng.choice(rates)
    slots = [(chord, rate * pulses) for chord in chords]
    if rate == 1.0 and pulses % 2 == 0 and bar_seconds / 2 >= 0.9 and rng.random() < 0.25:
        # Anticipate one change: a chord takes half of the following chord's bar.
        at = rng.randrange(len(slots) // 2) * 2
        if at + 1 < len(slots):
            slots[at] = (slots[at][0], 1.5 * pulses)
            slots[at + 1] = (slots[at + 1][0], 0.5 * pulses)
    bars = round(sum(length for _, length in slots) / pulses)
    while bars < 4:
        slots, bars = slots * 2, bars * 2
    return slots, bars


def draw_order(rng: Random, frame: Frame, sections: dict[str, Section], bars: int) -> tuple[int, list[tuple[str, int]]]:
    """Order the sections so that they fill `bars` bars.

    Returns: bars of a drum introduction (0 or 1), and (section name, bars) in order; the last one may be cut short.
    """
    order = rng.choice(("ABAB", "AABA", "AABB", "ABAC", "AAAA", "ABCB"))
    intro = 1 if frame.drums and not frame.only and rng.random() < 0.12 else 0
    plan: list[tuple[str, int]] = []
    filled = intro
    while filled < bars:
        name = order[len(plan) % 4]
        length = min(sections[name].bars, bars - filled)
        plan.append((name, length))
        filled += length
    return intro, plan
