"""Compose a piece: cast the instruments, write every section's parts, end it, and perform it.

From the written score to time: swing, small human errors, and a melody that never overlaps itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from jasco_pl.compose.form import Frame, Section, draw_frame, draw_order, draw_section
from jasco_pl.compose.parts import Hit, Note, Span, bass_part, comp_part, drum_bars, melody_part, pad_part
from jasco_pl.compose.song import NO_CHORD, Chord, Event, Part, Song, generator
from jasco_pl.compose.tables import DRUM_KEYS, INSTRUMENTS, KITS
from jasco_pl.notation.harmony import MAJOR_KEYS, MINOR_KEYS

_SHORTEST = 20.0
_BRUSHES = 40
_GENTLE_KITS = (32, _BRUSHES)
_MELODY_LEVEL, _DRUMS_LEVEL = (0.0, 4.5), (-7.0, 1.0)  # dB, as `Part.level`
# Played with a small delay from string to string, as guitars are.
_STRUMMED = ("harp", "banjo", "koto", "dulcimer")


@dataclass(frozen=True)
class _Cast:
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


def _draw_cast(rng: Random, frame: Frame) -> _Cast:
    style = frame.style
    lead = rng.choice(style.lead)
    comp = rng.choice(style.comp)
    bass = rng.choice(style.bass)
    pad = rng.choice(style.pad) if style.pad and rng.random() < style.pad_chance and comp not in style.pad else None
    second = rng.choice(style.second_comp) if style.second_comp and rng.random() < 0.3 else None
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
    return _Cast(
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


class _Score:
    """The written notes of a piece, in pulses, as they are added section by section; `intro` gives a first bar of drums alone."""

    def __init__(self, frame: Frame, cast: _Cast, clock: Clock, rng: Random, intro: Section | None) -> None:
        self.frame, self.cast, self.clock, self.rng = frame, cast, clock, rng
        self.notes: dict[str, list[Note]] = {role: [] for role in ("comp", "second", "pad", "bass", "melody")}
        self.hits: list[Hit] = []
        self.chords: list[tuple[str, float]] = []
        if intro:
            self.hits += drum_bars(intro.groove, frame.meter, 0.0, 1, rng, fill=False, crash=False)
            self.chords.append((NO_CHORD, 0.0))
        self.second_pattern = rng.choice(("held", "halves", "arpeggio", "push"))

    def add_sections(self, sections: dict[str, Section], plan: list[tuple[str, int]], start: float) -> float:
        """Write the sections in the order of `plan` from `start` on; where they end (pulses)."""
        seen = dict.fromkeys(sections, 0)
        for number, (name, bars) in enumerate(plan):
            self.add_section(sections[name], name, number, len(plan), seen[name], start, bars)
            seen[name] += 1
            start += bars * self.frame.pulses
        return start

    def add_section(self, section: Section, name: str, number: int, of: int, repeat: int, start: float, bars: int) -> None:
        """Write a section for all who play in it; repeats keep chords and motif, and the melody varies a little."""
        frame, cast, rng = self.frame, self.cast, self.rng
        meter, pulses = frame.meter, frame.pulses
        spans = section.spans(start, start + bars * pulses)
        voice = Random(section.seed)
        if frame.melody and not (number == 0 and not frame.only and rng.random() < 0.15):
            tune = Random(section.seed + 1)
            low, high = cast.melody_low, cast.melody_high
            self.notes["melody"] += melody_part(spans, section.motif, bars, pulses, frame.key, frame.mode, low, high, tune, vary=repeat > 0)
        if cast.with_bass:
            self.notes["bass"] += bass_part(spans, section.bass, meter, pulses, voice)
        if frame.harmony:
            self.notes["comp"] += comp_part(
                spans, section.comp, meter, pulses, voice, centre=cast.centre, strum=cast.strum, with_bass=not cast.with_bass
            )
            # The second and the sustained part come and go by section, so that a chorus is fuller than a verse.
            if cast.second and (name != "A" or number == 0):
                self.notes["second"] += comp_part(spans, self.second_pattern, meter, pulses, voice, centre=cast.centre + 5)
            if cast.pad and (name == "B" or repeat > 0 or number % 2 == 0):
                self.notes["pad"] += pad_part(spans, cast.centre + rng.choice((0, 0, 5)), voice)
            for span in spans:
                self._annotate(span.chord, span.start)
        # Now and then the drums leave the last section but one to the others.
        if frame.drums and not (not frame.only and number > 0 and number == of - 2 and rng.random() < 0.2):
            fill = (number == of - 1 or rng.random() < 0.7) and cast.kit != _BRUSHES
            crash = number > 0 and rng.random() < 0.6
            gentle = cast.kit in _GENTLE_KITS
            self.hits += drum_bars(section.groove, meter, start, bars, rng, fill=fill, crash=crash, gentle=gentle)

    def add_ending(self, tonic: Chord, start: float) -> None:
        """A last bar on `tonic`: everything held, one stroke of the drums."""
        frame, cast, rng = self.frame, self.cast, self.rng
        meter, pulses = frame.meter, frame.pulses
        spans = [Span(tonic, start, start + pulses)]
        if frame.harmony:
            self.notes["comp"] += comp_part(
                spans, "held", meter, pulses, rng, centre=cast.centre, strum=cast.strum, with_bass=not cast.with_bass
            )
            if cast.with_bass:
                self.notes["bass"] += bass_part(spans, "held", meter, pulses, rng)
            if self.notes["pad"]:
                self.notes["pad"] += pad_part(spans, cast.centre, rng)
            self._annotate(tonic, start)
        melody = self.notes["melody"]
        if melody:
            reachable = [pitch for pitch in range(cast.melody_low, cast.melody_high + 1) if pitch % 12 in tonic.tones]
            melody.append(Note(min(reachable, key=lambda pitch: abs(pitch - melody[-1].pitch)), start, start + 0.9 * pulses, 0.78))
        if frame.drums:
            self.hits += [Hit("ride" if cast.kit in _GENTLE_KITS else "crash", start, 0.7), Hit("kick", start, 0.8)]

    def _annotate(self, chord: Chord, start: float) -> None:
        if not self.chords or self.chords[-1][0] != chord.label:
            self.chords.append((chord.label, self.clock(start)))

    def perform(self) -> list[Part]:
        """Play the melodic and harmonic parts."""
        cast, rng = self.cast, self.rng
        levels = (
            ("comp", cast.comp, 0.0),
            ("second", cast.second, rng.uniform(-7.0, -3.0)),
            ("pad", cast.pad, rng.uniform(-8.0, -2.0)),
            ("bass", cast.bass, rng.uniform(1.0, 5.0)),
            ("melody", cast.lead, rng.uniform(*_MELODY_LEVEL)),
        )
        parts = []
        for role, name, level in levels:
            if name and self.notes[role]:
                events = perform(self.notes[role], self.clock, rng, cast.timing, cast.loudness)
                parts.append(Part(role, name, INSTRUMENTS[name].program, level, monophonic(events) if role == "melody" else events))
        return parts

    def perform_drums(self) -> tuple[list[Part], list[tuple[str, float, float]]]:
        """Play the drums: the part (none without drums) and the annotated hits (name, seconds, velocity 0..1)."""
        cast, rng = self.cast, self.rng
        events, hits = [], []
        for hit in sorted(self.hits, key=lambda h: (h.position, h.name)):
            time = max(0.0, self.clock(hit.position) + rng.gauss(0.0, cast.timing * 0.7))
            velocity = min(1.0, hit.velocity * (0.9 + 0.15 * cast.loudness))
            hits.append((hit.name, time, round(velocity, 3)))
            events.append(Event(DRUM_KEYS[hit.name], time, time + 0.1, max(15, min(127, round(127 * velocity)))))
        parts = [Part("drums", rng.choice(KITS[cast.kit]), cast.kit, rng.uniform(*_DRUMS_LEVEL), events)] if events else []
        return parts, sorted(hits, key=lambda hit: hit[1])


def compose(seed: int, split: str, index: int, arrangement: int = 0) -> Song:
    """Compose piece `index` of a split: a pure function of its arguments (no audio).

    Args:
        seed, split, index: which piece.
        arrangement: 0 is the piece; 1, 2, ... are other bands that play it. Chords, melody and drum hits are the same to the sample, and so
            are style, tempo and form; instruments, accompaniment, levels and drum kit are drawn anew.

    Returns: a song of 20 to 60 seconds with its annotations.
    """
    rng = generator(seed, split, index, "song")
    frame = draw_frame(rng)
    clock = Clock(frame.bpm, frame.swing, frame.style.swing_sixteenths)
    pulses = frame.pulses
    target = rng.uniform(20.0, 54.0)
    sections = {name: draw_section(rng, frame) for name in "ABC"}
    intro, plan = draw_order(rng, frame, sections, max(4, int(target / (pulses * clock.pulse))))
    score = _Score(frame, _draw_cast(rng, frame), clock, rng, sections[plan[0][0]] if intro else None)
    at = score.add_sections(sections, plan, float(intro * pulses))
    ending = None
    if rng.random() < 0.75:
        tonic = Chord(frame.key, "m" if frame.mode == "minor" else "")
        ending = sections[plan[-1][0]].chords[0][0] if frame.wander else tonic
        score.add_ending(ending, at)
        at += pulses

    duration = max(_SHORTEST, round(clock(at) + rng.uniform(0.6, 1.4), 3))
    parts = score.perform()
    drum_parts, hits = score.perform_drums()
    parts += drum_parts
    if arrangement:
        parts = _rearrange(
            score, parts, sections, plan, float(intro * pulses), ending, generator(seed, split, index, f"band {arrangement}")
        )
    key = (MINOR_KEYS if frame.mode == "minor" else MAJOR_KEYS)[frame.key]
    return Song(
        style=frame.style_name,
        meter=frame.meter,
        bpm=frame.bpm,
        key=f"{key} {frame.mode}",
        mood=rng.choice(frame.style.moods),
        layout=frame.layout,
        duration=duration,
        parts=parts,
        chords=score.chords or [(NO_CHORD, 0.0)],
        melody=[(event.pitch, event.start, event.end) for part in parts if part.role == "melody" for event in part.events],
        drums=hits,
        beats=[(clock(float(i)), i % pulses + 1) for i in range(round(at))],
    )


def _rearrange(
    score: _Score,
    parts: list[Part],
    sections: dict[str, Section],
    plan: list[tuple[str, int]],
    start: float,
    ending: Chord | None,
    rng: Random,
) -> list[Part]:
    """The parts of another band: accompanied anew over the same chords, `score`'s melody and drum hits by other instruments."""
    frame, cast = score.frame, score.cast
    tune = [event.pitch for part in parts if part.role == "melody" for event in part.events]
    leads = [lead for lead in frame.style.lead if not tune or (INSTRUMENTS[lead].low <= min(tune) and max(tune) <= INSTRUMENTS[lead].high)]
    kits = [kit for kit in frame.style.kits if (kit in _GENTLE_KITS, kit == _BRUSHES) == (cast.kit in _GENTLE_KITS, cast.kit == _BRUSHES)]
    band = replace(_draw_cast(rng, frame), lead=rng.choice(leads or [cast.lead]), kit=rng.choice(kits))
    style = frame.style
    drawn = {
        name: replace(section, comp=rng.choice(style.comp_patterns), bass=rng.choice(style.bass_lines), seed=rng.getrandbits(32))
        for name, section in sections.items()
    }
    other = _Score(frame, band, score.clock, rng, None)
    at = other.add_sections(drawn, plan, start)
    if ending:
        other.add_ending(ending, at)
    played = [part for part in other.perform() if part.role != "melody"]
    for part in parts:
        if part.role == "melody":
            played.append(replace(part, name=band.lead, program=INSTRUMENTS[band.lead].program, level=rng.uniform(*_MELODY_LEVEL)))
        elif part.role == "drums":
            played.append(replace(part, name=rng.choice(KITS[band.kit]), program=band.kit, level=rng.uniform(*_DRUMS_LEVEL)))
    return played


class Clock:
    """Pulses -> seconds, with swing: the middle of each pulse (or half pulse) is late by the swing ratio (0.5 is straight)."""

    def __init__(self, bpm: int, swing: float, sixteenths: bool) -> None:
        self.pulse = 60.0 / bpm
        self.swing = swing
        self.unit = 0.5 if sixteenths else 1.0

    def __call__(self, position: float) -> float:
        whole, part = divmod(position / self.unit + 1e-9, 1.0)
        part = max(0.0, part - 1e-9)
        warped = 2 * self.swing * part if part < 0.5 else self.swing + 2 * (1 - self.swing) * (part - 0.5)
        return (whole + warped) * self.unit * self.pulse


def perform(notes: list[Note], clock: Clock, rng: Random, timing: float, loudness: float) -> list[Event]:
    """Play notes with an error of `timing` seconds (standard deviation) and velocities scaled by `loudness`."""
    out = []
    for note in notes:
        start = max(0.0, clock(note.start) + rng.gauss(0.0, timing))
        end = max(start + 0.05, clock(note.end))
        velocity = max(20, min(120, round(127 * note.velocity * loudness)))
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
