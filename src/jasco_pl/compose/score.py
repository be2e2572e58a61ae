"""The written notes of a piece, section by section, and their performance."""

from __future__ import annotations

from random import Random

from jasco_pl.compose.cast import Cast
from jasco_pl.compose.edition import Edition
from jasco_pl.compose.form import Frame
from jasco_pl.compose.parts import Hit, Note, Span, bass_part, comp_part, drum_bars, melody_part, pad_part
from jasco_pl.compose.perform import Clock, monophonic, perform
from jasco_pl.compose.song import NO_CHORD, Chord, Event, Part
from jasco_pl.compose.tables import DRUM_KEYS, INSTRUMENTS, KITS
from jasco_pl.compose.turns import HARMONY, Form, Turn

MELODY_LEVEL = (0.0, 4.5)  # dB, as `Part.level`


class Score:
    """The notes in pulses, as they are added turn by turn; `intro` says whether a form's first bar of drums alone is written too."""

    def __init__(self, frame: Frame, cast: Cast, clock: Clock, rng: Random, form: Form, *, intro: bool = True) -> None:
        self.frame, self.cast, self.clock, self.rng, self.form = frame, cast, clock, rng, form
        self.notes: dict[str, list[Note]] = {role: [] for role in ("comp", "second", "pad", "bass", "melody")}
        self.hits: list[Hit] = []
        self.chords: list[tuple[str, float]] = []
        self.turns: list[Turn] = []
        if intro and form.intro:
            self.hits += drum_bars(form.intro.groove, frame.meter, 0.0, 1, rng, fill=False, crash=False)
            self.chords.append((NO_CHORD, 0.0))
        self.second_pattern = rng.choice(("held", "halves", "arpeggio", "push"))

    def write(self) -> float:
        """Write all sections; where the last one ends (pulses)."""
        for turn in self.form.turns(self.cast, self.rng):
            self._write(turn)
            self.turns.append(turn)
        last = self.turns[-1]
        return last.start + last.bars * self.frame.pulses

    def _write(self, turn: Turn) -> None:
        frame, cast, section, players = self.frame, self.cast, turn.section, turn.players
        meter, pulses = frame.meter, frame.pulses
        spans = section.spans(turn.start, turn.start + turn.bars * pulses)
        voice = Random(section.seed)
        if "melody" in players:
            tune = Random(section.seed + 1)
            low, high = cast.melody_low, cast.melody_high
            self.notes["melody"] += melody_part(
                spans, section.motif, turn.bars, pulses, frame.key, frame.mode, low, high, tune, vary=turn.repeat > 0
            )
        if "bass" in players:
            self.notes["bass"] += bass_part(spans, section.bass, meter, pulses, voice)
        # Without a bass the first of the others plays its tone.
        lowest = next((role for role in ("bass", *HARMONY) if role in players), "")
        if "comp" in players:
            self.notes["comp"] += comp_part(
                spans, section.comp, meter, pulses, voice, centre=cast.centre, strum=cast.strum, with_bass=lowest == "comp"
            )
        if "second" in players:
            self.notes["second"] += comp_part(
                spans, self.second_pattern, meter, pulses, voice, centre=cast.centre + 5, with_bass=lowest == "second"
            )
        if "pad" in players:
            self.notes["pad"] += pad_part(spans, cast.centre + turn.pad, voice, with_bass=lowest == "pad")
        if players.intersection(HARMONY):
            for span in spans:
                self._annotate(span.chord.label, span.start)
        elif frame.harmony:
            self._annotate(NO_CHORD, turn.start)
        if "drums" in players or turn.fill:
            groove = section.groove if "drums" in players else {}
            self.hits += drum_bars(groove, meter, turn.start, turn.bars, self.rng, fill=turn.fill, crash=turn.crash, gentle=cast.gentle)

    def add_ending(self, tonic: Chord, start: float) -> None:
        """A last bar on `tonic`: everything held, one stroke of the drums."""
        frame, cast, rng, players = self.frame, self.cast, self.rng, self.form.ending(self.cast)
        meter, pulses = frame.meter, frame.pulses
        spans = [Span(tonic, start, start + pulses)]
        playing = [role for role in ("comp", "bass", "second", "pad") if role in players and self.notes[role]]
        lowest = "bass" if "bass" in playing else next(iter(playing), "")
        for role in playing:
            if role == "bass":
                self.notes[role] += bass_part(spans, "held", meter, pulses, rng)
            elif role == "pad":
                self.notes[role] += pad_part(spans, cast.centre, rng, with_bass=lowest == role)
            else:
                self.notes[role] += comp_part(
                    spans, "held", meter, pulses, rng, centre=cast.centre, strum=cast.strum, with_bass=lowest == role
                )
        if frame.harmony:
            self._annotate(tonic.label if playing else NO_CHORD, start)
        melody = self.notes["melody"]
        if melody and "melody" in players:
            reachable = [pitch for pitch in range(cast.melody_low, cast.melody_high + 1) if pitch % 12 in tonic.tones]
            melody.append(Note(min(reachable, key=lambda pitch: abs(pitch - melody[-1].pitch)), start, start + 0.9 * pulses, 0.78))
        if frame.drums and "drums" in players:
            self.hits += [Hit("ride" if cast.gentle else "crash", start, 0.7), Hit("kick", start, 0.8)]

    def _annotate(self, label: str, start: float) -> None:
        if not self.chords or self.chords[-1][0] != label:
            self.chords.append((label, self.clock(start)))

    def perform(self) -> list[Part]:
        """Play the melodic and harmonic parts."""
        cast, rng = self.cast, self.rng
        levels = (
            ("comp", cast.comp, 0.0),
            ("second", cast.second, rng.uniform(-7.0, -3.0)),
            ("pad", cast.pad, rng.uniform(-8.0, -2.0)),
            ("bass", cast.bass, rng.uniform(1.0, 5.0)),
            ("melody", cast.lead, rng.uniform(*MELODY_LEVEL)),
        )
        parts = []
        for role, name, level in levels:
            if name and self.notes[role]:
                events = perform(self.notes[role], self.clock, rng, cast.timing, cast.loudness, self.form.touch)
                parts.append(Part(role, name, INSTRUMENTS[name].program, level, monophonic(events) if role == "melody" else events))
        return parts

    def perform_drums(self, edition: Edition) -> tuple[list[Part], list[tuple[str, float, float]]]:
        """Play the drums: the part (none without drums) and the annotated hits (name, seconds, velocity 0..1)."""
        cast, rng = self.cast, self.rng
        events, hits = [], []
        for hit in sorted(self.hits, key=lambda h: (h.position, h.name)):
            time = max(0.0, self.clock(hit.position) + rng.gauss(0.0, cast.timing * 0.7))
            velocity = min(1.0, hit.velocity * (0.9 + 0.15 * cast.loudness) * self.form.touch(hit.position))
            hits.append((hit.name, time, round(velocity, 3)))
            events.append(Event(DRUM_KEYS[hit.name], time, time + 0.1, max(15, min(127, round(127 * velocity)))))
        parts = [Part("drums", rng.choice(KITS[cast.kit]), cast.kit, edition.drums_level(rng), events)] if events else []
        return parts, sorted(hits, key=lambda hit: hit[1])
