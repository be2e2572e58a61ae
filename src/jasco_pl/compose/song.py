"""Put a whole piece together: style, form, parts, human timing, and the annotations that follow from them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from random import Random
from typing import Any

from jasco_pl.compose.drums import GROOVES, Groove, Hit, drum_bars
from jasco_pl.compose.instruments import DRUM_KEYS, INSTRUMENTS, KITS
from jasco_pl.compose.melody import Motif, melody_part
from jasco_pl.compose.parts import Note, Span, bass_part, comp_part, pad_part
from jasco_pl.compose.progressions import progression, wander
from jasco_pl.compose.styles import STYLES, Style
from jasco_pl.compose.theory import NO_CHORD, ROOTS, Chord

PULSES = {"4/4": 4, "3/4": 3, "6/8": 2}
MINOR_KEYS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
MAJOR_KEYS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


@dataclass(frozen=True)
class Event:
    """A MIDI note in seconds; velocity 1..127."""

    pitch: int
    start: float
    end: float
    velocity: int


@dataclass
class Part:
    """One instrument's notes. `role` is bass, comp, pad, melody or drums; `level` its loudness in dB against the comping."""

    role: str
    name: str
    program: int
    level: float
    events: list[Event]


@dataclass
class Song:
    """A composed piece: parts to render, and its annotations in seconds."""

    style: str
    meter: str
    bpm: int
    key: str
    mood: str
    duration: float
    parts: list[Part]
    chords: list[tuple[str, float]]
    melody: list[tuple[int, float, float]]
    drums: list[tuple[str, float, float]]
    beats: list[tuple[float, int]]
    layout: str
    kit: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def generator(seed: int, split: str, index: int, purpose: str) -> Random:
    """The generator of one piece and purpose: a hash, so that splits and pieces never share a stream."""
    digest = hashlib.sha256(f"jasco-compose/{seed}/{split}/{index}/{purpose}".encode()).digest()
    return Random(int.from_bytes(digest[:16], "big"))


@dataclass
class _Section:
    """The material of a verse or chorus, kept for its repeats."""

    chords: list[tuple[Chord, float]]
    bars: int
    groove: Groove | None
    motif: Motif
    comp: str
    bass: str
    seed: int
    lift: int


class _Clock:
    """Pulses -> seconds, with swing: the middle of each pulse (or half pulse) is late by the swing ratio."""

    def __init__(self, bpm: int, swing: float, sixteenths: bool) -> None:
        self.pulse = 60.0 / bpm
        self.swing = swing
        self.unit = 0.5 if sixteenths else 1.0

    def __call__(self, position: float) -> float:
        whole, part = divmod(position / self.unit + 1e-9, 1.0)
        part = max(0.0, part - 1e-9)
        warped = 2 * self.swing * part if part < 0.5 else self.swing + 2 * (1 - self.swing) * (part - 0.5)
        return (whole + warped) * self.unit * self.pulse


def _layout(rng: Random, style: Style) -> str:
    """Which parts the piece has: the rarer solos first, then drums and melody left out independently."""
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


def _slots(chords: list[Chord], pulses: int, bpm: int, rng: Random, slow: bool) -> tuple[list[tuple[Chord, float]], int]:
    """Give every chord a length (half a bar to two bars) and repeat the line until it fills 4 to 12 whole bars."""
    bar_seconds = pulses * 60.0 / bpm
    rates = [1.0] * 4
    if pulses % 2 == 0 and bar_seconds / 2 >= 0.85:
        rates += [0.5, 0.5] if len(chords) % 2 == 0 else []
    if bar_seconds <= 2.4 and len(chords) <= 4:
        rates += [2.0, 2.0]
    if bar_seconds < 1.2 and len(chords) <= 8:
        rates = [1.0, 2.0, 2.0]
    if slow:
        rates = [rate for rate in rates if rate >= 1.0]
    rate = rng.choice(rates)
    slots = [(chord, rate * pulses) for chord in chords]
    if rate == 1.0 and pulses % 2 == 0 and bar_seconds / 2 >= 0.9 and rng.random() < 0.25:
        # Quicken one place: two chords share a bar and the next one takes the bar that was freed.
        at = rng.randrange(len(slots) // 2) * 2
        if at + 1 < len(slots):
            slots[at] = (slots[at][0], 1.5 * pulses)
            slots[at + 1] = (slots[at + 1][0], 0.5 * pulses)
    bars = round(sum(length for _, length in slots) / pulses)
    while bars < 4:
        slots, bars = slots * 2, bars * 2
    return slots, bars


def _section(rng: Random, style: Style, meter: str, bpm: int, key: int, mode: str, free: bool) -> _Section:
    pulses = PULSES[meter]
    chords = (
        wander(rng, rng.choice((4, 4, 8))) if free else progression(rng, key, mode, style.families, style.sevenths, style.slash, style.tail)
    )
    slots, bars = _slots(chords, pulses, bpm, rng, slow="ambient" in style.words)
    grooves = [groove for name in style.grooves for groove in GROOVES[name].get(meter, ())] or list(GROOVES["ballad"][meter])
    return _Section(
        chords=slots,
        bars=bars,
        groove=rng.choice(grooves),
        motif=Motif(meter, min(1.0, max(0.0, style.melody_density + rng.uniform(-0.2, 0.2))), rng),
        comp=rng.choice(style.comp_patterns),
        bass=rng.choice(style.bass_lines),
        seed=rng.getrandbits(32),
        lift=0,
    )


def _events(notes: list[Note], clock: _Clock, rng: Random, timing: float, loudness: float) -> list[Event]:
    out = []
    for note in notes:
        start = max(0.0, clock(note.start) + rng.gauss(0.0, timing))
        end = max(start + 0.05, clock(note.end))
        velocity = max(20, min(120, round(127 * note.velocity * loudness)))
        out.append(Event(note.pitch, start, end, velocity))
    return out


def _monophonic(events: list[Event]) -> list[Event]:
    """Cut each note 10 ms before the next, so that the line never overlaps itself."""
    ordered = sorted(events, key=lambda event: event.start)
    out: list[Event] = []
    for event, following in zip(ordered, [*ordered[1:], None], strict=True):
        limit = following.start - 0.01 if following else event.end
        end = min(event.end, limit)
        if end - event.start >= 0.04:
            out.append(Event(event.pitch, event.start, end, event.velocity))
    return out


def compose(seed: int, split: str, index: int) -> Song:
    """Compose piece `index` of a split: a pure function of its arguments (no audio).

    Returns: a song of 20 to 60 seconds with its annotations.
    """
    rng = generator(seed, split, index, "song")
    style_name = rng.choice(sorted(STYLES))
    style = STYLES[style_name]
    meter = rng.choices(list(style.meters), list(style.meters.values()))[0]
    low, high = style.compound_bpm if meter == "6/8" else style.bpm
    bpm = rng.randint(low, high)
    key = rng.randrange(12)
    mode = "minor" if rng.random() < style.minor else "major"
    swing = 0.5 if meter == "6/8" else round(rng.uniform(*style.swing), 3)
    clock = _Clock(bpm, swing, style.swing_sixteenths)
    pulses = PULSES[meter]
    layout = _layout(rng, style)
    free = rng.random() < 0.2
    only = layout.split(" only")[0] if layout.endswith("only") else ""
    has_harmony = only in ("", "chords")
    has_drums = only == "drums" or layout.startswith("drums,")
    has_melody = only == "melody" or layout.endswith(", melody")

    # Form: verse and chorus in an order that fits the length, every repeat the same chords and motif.
    target = rng.uniform(20.0, 54.0)
    bar_seconds = pulses * clock.pulse
    materials = {name: _section(rng, style, meter, bpm, key, mode, free) for name in "ABC"}
    order = rng.choice(("ABAB", "AABA", "AABB", "ABAC", "AAAA", "ABCB"))
    wanted = max(4, int(target / bar_seconds))
    intro = 1 if has_drums and not only and rng.random() < 0.12 else 0
    plan: list[tuple[str, int]] = []
    filled = intro
    while filled < wanted:
        name = order[len(plan) % 4]
        bars = min(materials[name].bars, wanted - filled)
        plan.append((name, bars))
        filled += bars

    lead = INSTRUMENTS[lead_name := rng.choice(style.lead)]
    comp_name = rng.choice(style.comp)
    bass_name = rng.choice(style.bass)
    pad_name = rng.choice(style.pad) if style.pad and rng.random() < style.pad_chance and comp_name not in style.pad else None
    second_name = rng.choice(style.second_comp) if style.second_comp and rng.random() < 0.3 else None
    if second_name == comp_name:
        second_name = None
    with_bass = has_harmony and only != "chords" and rng.random() < (0.92 if has_drums else 0.72)
    if only == "chords":
        second_name = None
        pad_name = pad_name if rng.random() < 0.3 else None
    kit = rng.choice(style.kits)
    comp_centre = rng.randint(57, 64)
    loudness = rng.uniform(0.8, 1.05)
    strum = 0.03 if "guitar" in comp_name or comp_name in ("harp", "banjo", "koto", "dulcimer") else 0.0
    timing = rng.choice((0.002, 0.004, 0.008))
    span_low, span_high = lead.low, lead.high
    middle = rng.randint(span_low + 8, span_high - 8)
    span_low, span_high = max(span_low, 43, middle - 9), min(span_high, 95, middle + 9)

    chords: list[tuple[str, float]] = []
    melody_notes: list[Note] = []
    bass_notes: list[Note] = []
    comp_notes: list[Note] = []
    second_notes: list[Note] = []
    pad_notes: list[Note] = []
    hits: list[Hit] = []
    at = float(intro * pulses)
    if intro:
        groove = materials[plan[0][0]].groove
        hits += drum_bars(groove or {}, meter, 0.0, intro, rng, fill=False, crash=False)
        chords.append((NO_CHORD, 0.0))
    seen: dict[str, int] = {}
    second_pattern = rng.choice(("held", "halves", "arpeggio", "push"))
    for number, (name, bars) in enumerate(plan):
        section = materials[name]
        end = at + bars * pulses
        spans: list[Span] = []
        position = at
        for chord, length in section.chords:
            if position >= end - 1e-6:
                break
            spans.append(Span(chord, position, min(end, position + length)))
            position += length
        repeat = seen.get(name, 0)
        seen[name] = repeat + 1
        voice = Random(section.seed)
        if has_melody and not (repeat == 0 and number == 0 and not only and rng.random() < 0.15):
            melody_notes += melody_part(
                spans, section.motif, bars, pulses, key, mode, span_low, span_high, Random(section.seed + 1), vary=repeat > 0
            )
        if with_bass:
            bass_notes += bass_part(spans, section.bass, meter, pulses, voice)
        if has_harmony:
            comp_notes += comp_part(spans, section.comp, meter, pulses, voice, centre=comp_centre, strum=strum, with_bass=not with_bass)
            # The second and the sustained part come and go by section, so that a chorus is fuller than a verse.
            if second_name and (name != "A" or number == 0):
                second_notes += comp_part(spans, second_pattern, meter, pulses, voice, centre=comp_centre + 5)
            if pad_name and (name == "B" or repeat > 0 or number % 2 == 0):
                pad_notes += pad_part(spans, comp_centre + rng.choice((0, 0, 5)), voice)
            for span in spans:
                if not chords or chords[-1][0] != span.chord.label:
                    chords.append((span.chord.label, clock(span.start)))
        if has_drums and not (not only and number > 0 and number == len(plan) - 2 and rng.random() < 0.2):
            last = number == len(plan) - 1
            gentle = kit in (32, 40)
            hits += drum_bars(
                section.groove or {}, meter, at, bars, rng,
                fill=(last or rng.random() < 0.7) and kit != 40, crash=number > 0 and rng.random() < 0.6, gentle=gentle,
            )  # fmt: skip
        at = end

    # A last bar: the tonic, held, with one stroke of the drums.
    if rng.random() < 0.75:
        tonic = Chord(key, "m" if mode == "minor" else "")
        if free:
            tonic = materials[plan[-1][0]].chords[0][0]
        spans = [Span(tonic, at, at + pulses)]
        if has_harmony:
            comp_notes += comp_part(spans, "held", meter, pulses, rng, centre=comp_centre, strum=strum, with_bass=not with_bass)
            if with_bass:
                bass_notes += bass_part(spans, "held", meter, pulses, rng)
            if pad_notes:
                pad_notes += pad_part(spans, comp_centre, rng)
            if chords[-1][0] != tonic.label:
                chords.append((tonic.label, clock(at)))
        if has_melody and melody_notes:
            last_pitch = melody_notes[-1].pitch
            pitch = min((p for p in range(span_low, span_high + 1) if p % 12 in tonic.tones), key=lambda p: abs(p - last_pitch))
            melody_notes.append(Note(pitch, at, at + 0.9 * pulses, 0.78))
        if has_drums:
            hits += [Hit("crash" if kit not in (40, 32) else "ride", at, 0.7), Hit("kick", at, 0.8)]
        at += pulses

    events_end = clock(at)
    duration = round(events_end + rng.uniform(0.6, 1.4), 3)
    parts: list[Part] = []
    for role, name, notes, level in (
        ("comp", comp_name, comp_notes, 0.0),
        ("second", second_name, second_notes, rng.uniform(-7.0, -3.0)),
        ("pad", pad_name, pad_notes, rng.uniform(-8.0, -2.0)),
        ("bass", bass_name, bass_notes, rng.uniform(1.0, 5.0)),
        ("melody", lead_name, melody_notes, rng.uniform(0.0, 4.5)),
    ):
        if notes and name:
            events = _events(notes, clock, rng, timing, loudness)
            if role == "melody":
                events = _monophonic(events)
            parts.append(Part(role, name, INSTRUMENTS[name].program, level, events))
    drum_events = []
    drums: list[tuple[str, float, float]] = []
    for hit in sorted(hits, key=lambda h: (h.position, h.name)):
        time = max(0.0, clock(hit.position) + rng.gauss(0.0, timing * 0.7))
        velocity = min(1.0, hit.velocity * (0.9 + 0.15 * loudness))
        drums.append((hit.name, time, round(velocity, 3)))
        drum_events.append(Event(DRUM_KEYS[hit.name], time, time + 0.1, max(15, min(127, round(127 * velocity)))))
    drums.sort(key=lambda d: d[1])
    if drum_events:
        parts.append(Part("drums", rng.choice(KITS[kit]), kit, rng.uniform(-7.0, 1.0), drum_events))
    if not chords:
        chords = [(NO_CHORD, 0.0)]
    melody = [(e.pitch, e.start, e.end) for part in parts if part.role == "melody" for e in part.events]
    beats = [(clock(float(i)), i % pulses + 1) for i in range(round(at))]
    name = (MINOR_KEYS if mode == "minor" else MAJOR_KEYS)[key]
    return Song(
        style=style_name, meter=meter, bpm=bpm, key=f"{name} {mode}", mood=rng.choice(style.moods), duration=duration, parts=parts,
        chords=chords, melody=melody, drums=drums, beats=beats, layout=layout, kit=kit if drum_events else None,
        facts={"free": free, "swing": swing, "root": ROOTS[key], "mode": mode},
    )  # fmt: skip
