"""The sounding parts, positions and lengths in pulses: bass, chords, pads, a singable line, and drums.

The line has phrases with rests, rhythm motifs that come back, and steps between chord tones. Drums play grooves with ghost notes and fills,
and crashes where sections begin.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from jasco_pl.compose.song import Chord, scale_for
from jasco_pl.compose.tables import BASS_LINES, COMP_PATTERNS, PULSES, RHYTHMS, Groove


@dataclass(frozen=True)
class Note:
    """A MIDI pitch from `start` to `end` (pulses from the start of the piece); velocity 0..1."""

    pitch: int
    start: float
    end: float
    velocity: float


@dataclass(frozen=True)
class Span:
    """A chord and the pulses during which it holds."""

    chord: Chord
    start: float
    end: float


_LETTERS = "abcdef"
_VELOCITY = {"X": 0.95, "x": 0.75, "o": 0.32, "?": 0.6}


def near(pc: int, centre: int) -> int:
    """The MIDI pitch of class `pc` nearest to `centre`."""
    return centre + (pc - centre + 6) % 12 - 6


def voicing(chord: Chord, centre: float, previous: list[int] | None) -> list[int]:
    """Close position around `centre`, in the inversion nearest to the previous voicing; triads get a doubled tone on top."""
    tones = chord.tones
    best: list[int] = []
    best_cost = 1e9
    for rotation in range(len(tones)):
        for octave in (3, 4, 5, 6):
            pitches = [12 * octave + tones[rotation]]
            for tone in tones[rotation + 1 :] + tones[:rotation]:
                pitches.append(pitches[-1] + (tone - pitches[-1]) % 12)
            cost = abs(sum(pitches) / len(pitches) - centre) * 1.5
            if previous:
                cost += abs(sum(pitches) / len(pitches) - sum(previous[: len(pitches)]) / len(previous[: len(pitches)]))
            if cost < best_cost:
                best, best_cost = pitches, cost
    if len(best) == 3:
        best = [*best, best[0] + 12]
    return best


def _clip(start: float, end: float, low: float, high: float) -> tuple[float, float]:
    return max(start, low), min(end, high)


def _steps(pattern: str, bar: float, pulses: int) -> list[tuple[str, float, float]]:
    """Strokes of one bar as (symbol, start, end); '-' lengthens the stroke before it."""
    strokes: list[tuple[str, float, float]] = []
    step = pulses / len(pattern)
    for i, char in enumerate(pattern):
        if char == "-" and strokes and abs(strokes[-1][2] - (bar + i * step)) < 1e-6:
            strokes[-1] = (*strokes[-1][:2], bar + (i + 1) * step)
        elif char not in ".-":
            strokes.append((char, bar + i * step, bar + (i + 1) * step))
    return strokes


def _over(spans: list[Span], pattern: str, pulses: int, strike: str) -> list[tuple[str, float, float, Span]]:
    """Lay a bar pattern over the spans: strokes are cut where the chord changes, and every change is struck."""
    out = []
    for span in spans:
        strokes = []
        bar = pulses * int(span.start / pulses + 1e-6)
        while bar < span.end - 1e-6:
            for symbol, start, end in _steps(pattern, bar, pulses):
                start, end = _clip(start, end, span.start, span.end)
                if end - start > 1e-6:
                    strokes.append((symbol, start, end, span))
            bar += pulses
        first = strokes[0][1] if strokes else span.end
        if strike and first > span.start + 1e-6:
            strokes.insert(0, (strike, span.start, first, span))
        elif strike and strokes:
            strokes[0] = (strike, *strokes[0][1:])
        out += strokes
    return out


def bass_part(spans: list[Span], line: str, meter: str, pulses: int, rng: Random) -> list[Note]:
    """A bass line that strikes the annotated bass tone at every change and stays on it for most of the chord."""
    notes: list[Note] = []
    pattern = BASS_LINES[line][meter]
    centre = rng.choice((36, 38, 40))
    for symbol, start, end, span in _over(spans, pattern, pulses, "" if line == "offbeat" else "1"):
        chord = span.chord
        low = near(chord.bass, centre)
        low += 12 if low < 29 else 0
        plain = chord.bass == chord.root
        pitch = low
        if symbol == "8":
            pitch = low + 12
        elif symbol == "5" and plain:
            pitch = near(chord.tones[2], low + 2)
        elif symbol == "3" and plain:
            pitch = near(chord.tones[rng.choice((1, 2))], low + 4)
        short = 0.96 if end - start > 0.3 else 0.85
        accent = 0.82 if start == span.start else 0.7
        notes.append(Note(pitch, start, start + (end - start) * short, accent + rng.uniform(-0.06, 0.06)))
    return notes


def comp_part(
    spans: list[Span], pattern: str, meter: str, pulses: int, rng: Random, *, centre: int, strum: float = 0.0, with_bass: bool = False
) -> list[Note]:
    """Chords in a rhythmic pattern.

    Args:
        centre: MIDI pitch around which the chords lie.
        strum: delay between the notes of a stroke, in pulses.
        with_bass: also play the annotated bass tone below, for pieces in which no other part does.
    """
    notes: list[Note] = []
    steps = COMP_PATTERNS[pattern][meter]
    rolling = any(symbol in _LETTERS for symbol in steps)
    skip_strike = pattern.startswith("skank") or pattern in ("offbeat", "boom chick", "waltz")
    previous: list[int] | None = None
    current: Span | None = None
    chord_notes: list[int] = []
    for symbol, start, end, span in _over(spans, steps, pulses, "" if skip_strike or rolling else "X"):
        if span is not current:
            chord_notes = voicing(span.chord, centre, previous)
            previous, current = chord_notes, span
            if with_bass:
                notes.append(Note(near(span.chord.bass, 43), span.start, span.end * 0.98 + span.start * 0.02, 0.72))
        level = (0.78 if symbol == "X" else 0.66) + rng.uniform(-0.06, 0.06)
        if symbol in _LETTERS:
            pick = _LETTERS.index(symbol)
            low = rolling and pattern in ("boom chick", "waltz")
            pitch = near(span.chord.bass, 45) if low else chord_notes[pick % len(chord_notes)]
            ring = end if low else min(span.end, start + max(end - start, pulses / 2))
            notes.append(Note(pitch, start, ring, level))
            continue
        for i, pitch in enumerate(chord_notes):
            notes.append(Note(pitch, min(start + i * strum, end - 0.02), start + (end - start) * 0.95, level))
    return _without_collisions(notes)


def pad_part(spans: list[Span], centre: int, rng: Random, *, with_bass: bool = False) -> list[Note]:
    """Sustained chords; `with_bass` as of `comp_part`."""
    notes: list[Note] = []
    previous: list[int] | None = None
    for span in spans:
        previous = voicing(span.chord, centre, previous)
        level = 0.62 + rng.uniform(-0.05, 0.05)
        low = [near(span.chord.bass, 43)] if with_bass else []
        notes += [Note(pitch, span.start, span.end - 0.02, level) for pitch in low + previous]
    return notes


def _without_collisions(notes: list[Note]) -> list[Note]:
    """End a note where the same pitch is struck again, so that the note-off of one does not silence the other."""
    out: list[Note] = []
    following: dict[int, float] = {}
    for note in sorted(notes, key=lambda n: -n.start):
        nxt = following.get(note.pitch, 1e9)
        if nxt - note.start > 1e-3:
            out.append(Note(note.pitch, note.start, min(note.end, nxt - 0.01), note.velocity))
            following[note.pitch] = note.start
    return out[::-1]


def _rhythm(meter: str, density: float, rng: Random) -> tuple[float, ...]:
    choices = RHYTHMS[meter]
    centre = density * (len(choices) - 1)
    weights = [1.0 / (1.0 + abs(i - centre)) for i in range(len(choices))]
    return rng.choices(choices, weights)[0]


class Motif:
    """The rhythm and contour that a section's bars share, so that a repeat of the section is heard as one."""

    def __init__(self, meter: str, density: float, rng: Random) -> None:
        first, second, third = (_rhythm(meter, density, rng) for _ in range(3))
        ending = RHYTHMS[meter][rng.randrange(3)]
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
    pulses = PULSES[meter]
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
