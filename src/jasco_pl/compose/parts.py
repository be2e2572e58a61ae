"""The sounding parts, positions and lengths in pulses: bass, chords, pads, and a singable line.

The line has phrases with rests, rhythm motifs that come back, and steps between chord tones.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from jasco_pl.compose.theory import Chord, scale_for


@dataclass(frozen=True)
class Note:
    """A MIDI pitch from `start` to `end` (pulses from the start of the piece); velocity 0..1."""

    pitch: int
    start: float
    end: float
    velocity: float


@dataclass(frozen=True)
class Span:
    """A chord and the pulses during which it holds; `bar` is the first pulse of the bar in which it starts."""

    chord: Chord
    start: float
    end: float


# Onsets as steps of a bar: '1' strikes the bass tone, '5' the fifth, '8' the bass an octave up, '-' holds, '.' rests.
BASS_LINES: dict[str, dict[str, str]] = {
    "held": {"4/4": "1-------", "3/4": "1-----", "6/8": "1-----"},
    "one": {"4/4": "1---", "3/4": "1..", "6/8": "1--1--"},
    "quarters": {"4/4": "1111", "3/4": "111", "6/8": "1-11-1"},
    "eighths": {"4/4": "11111111", "3/4": "111111", "6/8": "111111"},
    "sixteenths": {"4/4": "1.111.111.111.11", "3/4": "1.111.111.11", "6/8": "111111"},
    "octaves": {"4/4": "18181818", "3/4": "181818", "6/8": "1-81-8"},
    "offbeat": {"4/4": ".1.1.1.1", "3/4": ".1.1.1", "6/8": "1-11-1"},
    "push": {"4/4": "1--1--1-", "3/4": "1--1--", "6/8": "1----1"},
    "root fifth": {"4/4": "1---5---", "3/4": "1---5-", "6/8": "1--5--"},
    "two feel": {"4/4": "1---5-.1", "3/4": "1---5.", "6/8": "1--5-1"},
    "bossa": {"4/4": "1--15--5", "3/4": "1--15-", "6/8": "1-15-5"},
    "tumbao": {"4/4": "1--5--1-", "3/4": "1--5--", "6/8": "1--5-1"},
    "syncopated": {"4/4": "1--11-.11-.1-11.", "3/4": "1--11-.11-1.", "6/8": "1-11.1"},
    "funk": {"4/4": "1..1..8.1.1..81.", "3/4": "1..1..8.1.8.", "6/8": "1.11.8"},
    "reggae": {"4/4": "1-.11-5-", "3/4": "1-.11-", "6/8": "1-.1-."},
    "shuffle": {"4/4": "11551155", "3/4": "115511", "6/8": "1-15-5"},
    "sparse": {"4/4": "1-----.1", "3/4": "1---.1", "6/8": "1----1"},
    "walking": {"4/4": "1535", "3/4": "153", "6/8": "1-15-3"},
}

# 'X' and 'x' strike the chord (accented, plain), '-' holds, '.' is silence; letters a-f pick single notes of the voicing upwards.
COMP_PATTERNS: dict[str, dict[str, str]] = {
    "held": {"4/4": "X---------------", "3/4": "X-----------", "6/8": "X-----"},
    "halves": {"4/4": "X---x---", "3/4": "X---x-", "6/8": "X--x--"},
    "quarters": {"4/4": "X-x-X-x-", "3/4": "X-x-x-", "6/8": "X-xX-x"},
    "eighths": {"4/4": "XxxxXxxx", "3/4": "Xxxxxx", "6/8": "XxxXxx"},
    "push": {"4/4": "X--x--x-", "3/4": "X--x--", "6/8": "X--x-x"},
    "strum": {"4/4": "X-x-.xxxX-xx.xx-", "3/4": "X---x-x-x-x-", "6/8": "X-xX-x"},
    "offbeat": {"4/4": ".x.x.x.x", "3/4": ".x.x.x", "6/8": ".xx.xx"},
    "house": {"4/4": "X--x--x---X--x--", "3/4": "X--x--x--x--", "6/8": "X-xX-x"},
    "bossa": {"4/4": "X--x--x---x--x--", "3/4": "X--x--x---x-", "6/8": "X-xx-x"},
    "bossa long": {"4/4": "X-----x---------", "3/4": "X-----x-----", "6/8": "X--x--"},
    "charleston": {"4/4": "X--x----", "3/4": "X--x--", "6/8": "X----x"},
    "swing comp": {"4/4": "x--X-.x-", "3/4": "x--X--", "6/8": "x-X--x"},
    "funk": {"4/4": "X.x..x.xX..x.xx.", "3/4": "X.x..x.xX..x", "6/8": "X.xX.x"},
    "funk long": {"4/4": "X--x--x-X-.x--x-", "3/4": "X--x--x-X-x-", "6/8": "X-xX-x"},
    "skank": {"4/4": "..X-..X-..X-..X-", "3/4": "..X-..X-..X-", "6/8": ".X-.X-"},
    "skank double": {"4/4": "..X-..xx..X-..xx", "3/4": "..X-..xx..X-", "6/8": ".xx.xx"},
    "shuffle": {"4/4": "X-x-X-xx", "3/4": "X-x-xx", "6/8": "X-xX-x"},
    "boom chick": {"4/4": "a-X-b-X-", "3/4": "a-X-X-", "6/8": "a-Xb-X"},
    "waltz": {"4/4": "a-X-X-X-", "3/4": "a-X-X-", "6/8": "aXXaXX"},
    "travis": {"4/4": "acbdacbd", "3/4": "acbdcd", "6/8": "abcdcb"},
    "arpeggio": {"4/4": "abcdcbcd", "3/4": "abcdcb", "6/8": "abcdcb"},
    "arpeggio 16": {"4/4": "abcdabcdabcdabcd", "3/4": "abcdabcdabcd", "6/8": "abcabc"},
    "montuno": {"4/4": "X.x-x.xx.xx-x.x-", "3/4": "X.x-x.x-x.x-", "6/8": "X-xx-x"},
}
_LETTERS = "abcdef"


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


def pad_part(spans: list[Span], centre: int, rng: Random) -> list[Note]:
    """Sustained chords."""
    notes: list[Note] = []
    previous: list[int] | None = None
    for span in spans:
        previous = voicing(span.chord, centre, previous)
        level = 0.62 + rng.uniform(-0.05, 0.05)
        notes += [Note(pitch, span.start, span.end - 0.02, level) for pitch in previous]
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
