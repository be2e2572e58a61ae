"""Compose a piece: choose its style and form, cast the instruments, write every section's parts, end it, and perform it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from jasco_pl.compose.cast import Cast, draw_cast
from jasco_pl.compose.edition import EDITIONS, Edition
from jasco_pl.compose.form import draw_frame, draw_section
from jasco_pl.compose.motion import SUDDEN, Levels
from jasco_pl.compose.perform import Clock
from jasco_pl.compose.scenes import Scenes
from jasco_pl.compose.score import MELODY_LEVEL, Score
from jasco_pl.compose.song import NO_CHORD, Chord, Part, Passage, Song, generator
from jasco_pl.compose.tables import INSTRUMENTS, KITS
from jasco_pl.compose.turns import Form, Order, Turn
from jasco_pl.notation.harmony import MAJOR_KEYS, MINOR_KEYS

_SHORTEST = 20.0


def compose(seed: int, split: str, index: int, arrangement: int = 0, edition: int = 1) -> Song:
    """Compose piece `index` of a split: a pure function of its arguments (no audio).

    Args:
        seed, split, index: which piece.
        arrangement: 0 is the piece; 1, 2, ... are other bands that play it. Chords, melody and drum hits are the same to the sample, and so
            are style, tempo, form and levels; instruments, accompaniment, balance and drum kit are drawn anew.
        edition: a key of `EDITIONS`; editions share no piece.

    Returns: a song of 20 to 60 seconds with its annotations.
    """
    rules = EDITIONS[edition]
    rng = generator(seed, split, index, rules.purpose("song"))
    frame = draw_frame(rng, rules)
    target = rng.uniform(20.0, 54.0)
    sections = {name: draw_section(rng, frame) for name in "ABC"}
    bars = max(4, int(target / (frame.pulses * 60.0 / frame.bpm)))
    form: Form = (Scenes if rules.scenes else Order).draw(rng, frame, sections, bars)
    clock = Clock(frame.bpm, frame.swing, frame.style.swing_sixteenths, form.stretch)
    score = Score(frame, draw_cast(rng, frame, rules), clock, rng, form)
    at = score.write()
    ending = None
    if not form.faded and rng.random() < 0.75:
        tonic = Chord(frame.key, "m" if frame.mode == "minor" else "")
        ending = score.turns[-1].section.chords[0][0] if frame.wander else tonic
        score.add_ending(ending, at)
        at += frame.pulses

    duration = max(_SHORTEST, round(clock(at) + rng.uniform(0.6, 1.4), 3))
    parts = score.perform()
    drum_parts, hits = score.perform_drums(rules)
    parts += drum_parts
    turns = score.turns
    if arrangement:
        parts, turns = _rearrange(score, parts, ending, rules, generator(seed, split, index, rules.purpose(f"band {arrangement}")))
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
        beats=[(clock(float(i)), i % frame.pulses + 1) for i in range(round(at))],
        sections=_passages(turns, form.levels, clock, frame.pulses) if form.levels else (),
        dynamics=_breakpoints(form.levels, clock) if form.levels else (),
        edition=edition,
    )


def _rearrange(score: Score, parts: list[Part], ending: Chord | None, rules: Edition, rng: Random) -> tuple[list[Part], list[Turn]]:
    """The parts of another band: accompanied anew over the same chords, `score`'s melody and drum hits by other instruments."""
    frame, cast, form = score.frame, score.cast, score.form
    tune = [event.pitch for part in parts if part.role == "melody" for event in part.events]
    leads = [lead for lead in frame.style.lead if not tune or (INSTRUMENTS[lead].low <= min(tune) and max(tune) <= INSTRUMENTS[lead].high)]
    kits = [kit for kit in frame.style.kits if Cast.manner(kit) == Cast.manner(cast.kit)]
    band = replace(draw_cast(rng, frame, rules), lead=rng.choice(leads or [cast.lead]), kit=rng.choice(kits))
    style = frame.style
    drawn = {
        name: replace(section, comp=rng.choice(style.comp_patterns), bass=rng.choice(style.bass_lines), seed=rng.getrandbits(32))
        for name, section in form.sections.items()
    }
    other = Score(frame, band, score.clock, rng, form.with_sections(drawn), intro=False)
    at = other.write()
    if ending:
        other.add_ending(ending, at)
    played = [part for part in other.perform() if part.role != "melody"]
    for part in parts:
        if part.role == "melody":
            played.append(replace(part, name=band.lead, program=INSTRUMENTS[band.lead].program, level=rng.uniform(*MELODY_LEVEL)))
        elif part.role == "drums":
            played.append(replace(part, name=rng.choice(KITS[band.kit]), program=band.kit, level=rules.drums_level(rng)))
    return played, other.turns


def _passages(turns: Sequence[Turn], levels: Levels, clock: Clock, pulses: int) -> tuple[Passage, ...]:
    passages = []
    for turn in turns:
        end = turn.start + turn.bars * pulses - 1e-3
        lead_out = turn.fill and "drums" not in turn.players
        change = levels(end) - levels(turn.start)
        passages.append(Passage(clock(turn.start), turn.name, turn.players, lead_out, levels.mean(turn.start, end), change))
    return tuple(passages)


def _breakpoints(levels: Levels, clock: Clock) -> tuple[tuple[float, float], ...]:
    """Levels over seconds; what is sudden happens just before the beat."""
    points: list[tuple[float, float]] = []
    for (position, level), following in zip(levels.points, [*levels.points[1:], None], strict=True):
        time = clock(position)
        if following and following[0] == position:
            time -= SUDDEN[0]
        elif points and position and levels.points[len(points) - 1][0] == position:
            time -= SUDDEN[1]
        points.append((max(0.0, time, *(before for before, _ in points[-1:])), level))
    return tuple(points)
