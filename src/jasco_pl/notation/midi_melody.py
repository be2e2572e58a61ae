"""Which part of a MIDI file is its melody."""

from __future__ import annotations

import heapq
import itertools
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jasco_pl.notation import general_midi
from jasco_pl.notation.midi_parts import Note, Part, Parts

_TUNE = "melody melodie mélodie melodia melodía melodi vocal vocals vox vocalist singer canto chant gesang"
_LEAD = "lead leads solo theme thema tema tune voice voices voz voce voix stimme soprano"
_BESIDE = (  # what stands beside a tune
    "bass drum drums percussion perc kit rhythm chord chords pad pads harmony harmonies backing back background accompaniment accomp acc "
    "comp strum arp arpeggio counter support second 2nd alto tenor echo left delay"
)
_EASTERN = re.compile(r"メロディ|主旋律|旋律|ボーカル|ヴォーカル|主唱|мелодия|вокал|голос|멜로디|보컬", re.IGNORECASE)
_TOGETHER = 0.03  # seconds within which notes begin as a chord
_LEGATO = 0.1  # of the time that a line's notes may overlap


def highest_at_a_time(notes: Iterable[Note]) -> list[Note]:
    """Notes that may overlap -> what is heard at the top, in order; of equal pitches the one that began last."""
    waiting = sorted((note for note in notes if note[2] > note[1]), key=lambda note: note[1])
    times = sorted({time for _, *span in waiting for time in span})
    sounding: list[tuple[int, float, int, float]] = []  # the top first: -pitch, -onset, place, offset
    heard: list[tuple[int, Note]] = []
    place = 0
    for start, end in itertools.pairwise(times):
        while place < len(waiting) and waiting[place][1] <= start:
            pitch, onset, offset = waiting[place]
            heapq.heappush(sounding, (-pitch, -onset, place, offset))
            place += 1
        while sounding and sounding[0][3] <= start:
            heapq.heappop(sounding)
        if not sounding:
            continue
        top = sounding[0]
        if heard and heard[-1][0] == top[2] and heard[-1][1][2] == start:
            heard[-1] = (top[2], (-top[0], heard[-1][1][1], end))
        else:
            heard.append((top[2], (-top[0], start, end)))
    return [note for _, note in heard]


@dataclass(frozen=True)
class Likeness:
    """What of a melody a part has; shares are 0..1.

    Attributes:
        line: its notes one at a time.
        sounding: seconds in which it sounds at all.
        alone: how far it has one note at a time.
        steps: share of its intervals (without repeated notes) that are seconds.
        pitch: its median, as MIDI.
    """

    line: list[Note]
    sounding: float
    alone: float
    steps: float
    pitch: float

    @classmethod
    def of(cls, notes: Sequence[Note]) -> Likeness:
        """Of a part's notes by onset."""
        line = highest_at_a_time(notes)
        sounding = sum(offset - onset for _, onset, offset in line)
        overlap = (sum(offset - onset for _, onset, offset in notes) - sounding) / sounding
        onsets = [onset for _, onset, _ in notes]
        chords = sum(after - before < _TOGETHER for before, after in itertools.pairwise(onsets)) / max(len(onsets) - 1, 1)
        moves = [abs(after[0] - before[0]) for before, after in itertools.pairwise(line) if after[0] != before[0]]
        steps = sum(move <= 2 for move in moves) / len(moves) if moves else 0.0
        alone = max(0.0, 1.0 - chords - max(0.0, overlap - _LEGATO))
        return cls(line, sounding, alone, steps, statistics.median(pitch for pitch, _, _ in line))


def choose(found: Parts) -> Part:
    """The part that is most like a melody, of those that are no drums."""
    pitched = [part for part in found.parts if not part.drums]
    like = {part.number: Likeness.of(part.notes) for part in pitched}
    longest = max(one.sounding for one in like.values())
    pitches = sorted(one.pitch for one in like.values())
    shared = len({part.name for part in pitched}) == 1  # a name that all have is the song's

    def score(part: Part) -> float:
        one = like[part.number]
        points = 1.5 * min(1.0, 2 * one.sounding / longest) + 2.0 * one.alone + 1.0 * one.steps
        points += 1.0 * (pitches.index(one.pitch) / (len(pitches) - 1) if len(pitches) > 1 else 1.0)
        points -= 3.0 * (one.sounding < longest / 8) + 2.0 * (len({pitch for pitch, _, _ in part.notes}) == 1)
        points -= 3.0 * (part.program in general_midi.BASS or one.pitch < 48)
        points -= 3.0 * (part.program in general_midi.PERCUSSION)
        points -= 0.5 * (part.program in general_midi.PADS)
        points += 0.0 if shared else _by_name(part.name)
        return points + 4.0 * found.sung(part)

    return max(pitched, key=lambda part: (score(part), -part.number))


def _by_name(name: str) -> float:
    words = set(re.findall(r"2nd|[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()))
    points = 6.0 if words.intersection(_TUNE.split()) or _EASTERN.search(name) else 3.0 if words.intersection(_LEAD.split()) else 0.0
    return points - (3.0 if words.intersection(_BESIDE.split()) else 0.0)
