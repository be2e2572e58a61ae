"""The parts of a MIDI file, each what one track plays on one channel: notes in seconds, instrument, words that are sung to it."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

from jasco_pl.notation import general_midi, midi_names
from jasco_pl.notation.midi_file import KEY, META, TEMPO, Event, MidiFile

Note = tuple[int, float, float]
"""MIDI pitch, onset and offset in seconds."""

_NAME, _TEXT, _LYRIC = 0x03, 0x01, 0x05
_USUAL = 500_000  # microseconds of a quarter note where nothing says so


@dataclass
class Part:
    """What one track plays on one channel, through all changes of its instrument.

    Attributes:
        number: from 1, of the file's parts that have notes, in its order.
        name: of its track; may be empty.
        program: of General MIDI, from 0: the one that plays longest.
        drums: it is a drum part, by its channel or its bank.
        notes: by onset; may overlap.
        words: how many words of a song begin with one of its notes.
    """

    number: int
    name: str
    program: int
    drums: bool
    notes: list[Note]
    words: int = 0

    @property
    def instrument(self) -> str:
        """In words."""
        return "drums" if self.drums else general_midi.NAMES[self.program]


@dataclass
class Parts:
    """What sounds in a MIDI file.

    Attributes:
        parts: those that have notes.
        words: onsets of the words of the song, in seconds.
    """

    parts: list[Part]
    words: list[float] = field(default_factory=list)

    def sung(self, part: Part) -> float:
        """How far the words of the song are sung to a part's notes, 0..1: all words, and a word to most notes."""
        if not self.words:
            return 0.0
        return part.words / len(self.words) * min(1.0, 1.5 * part.words / len({onset for _, onset, _ in part.notes}))


class _Clock:
    """Ticks -> seconds."""

    def __init__(self, file: MidiFile, events: list[Event]) -> None:
        self.ticks, self.by_second = file.ticks, file.by_second
        tempi = {0: _USUAL}
        for tick, status, data in [] if file.by_second else events:
            if status == META and data[0] == TEMPO:
                if len(data) >= 4 and (tempo := int.from_bytes(data[1:4])):
                    tempi[tick] = tempo
                else:
                    file.repairs["an empty tempo was left out"] += 1
        self.starts = sorted(tempi)
        self.tempi = [tempi[tick] for tick in self.starts]
        self.times = [0.0]
        for number in range(1, len(self.starts)):
            self.times.append(self._from(number - 1, self.starts[number]))

    def _from(self, number: int, tick: int) -> float:
        return self.times[number] + (tick - self.starts[number]) * self.tempi[number] / (1e6 * self.ticks)

    def __call__(self, tick: int) -> float:
        if self.by_second:
            return tick / self.ticks
        return self._from(bisect.bisect_right(self.starts, tick) - 1, tick)


@dataclass
class _Channel:
    """What a track says on one channel, in ticks."""

    programs: list[tuple[int, int]] = field(default_factory=list)  # tick, program
    banks: set[int] = field(default_factory=set)
    notes: list[tuple[int, int, int]] = field(default_factory=list)  # pitch, onset, offset
    sounding: dict[int, deque[int]] = field(default_factory=lambda: defaultdict(deque))


def read_parts(file: MidiFile) -> Parts:
    """Sort a file's events into its parts; what had to be mended goes to its `repairs`."""
    together = sorted((event for track in file.tracks for event in track), key=lambda event: event[0])
    clocks = [_Clock(file, track) for track in file.tracks] if file.format == 2 else [_Clock(file, together)] * len(file.tracks)
    for _, status, data in together:
        if status == META and data[0] == KEY and not _is_key(data[1:]):
            file.repairs["an impossible key signature was left out"] += 1
    channels = [_channels(track, file) for track in file.tracks]
    first_programs: dict[int, int] = {}
    for track in channels:
        for number, channel in track.items():
            if channel.programs:
                first_programs.setdefault(number, channel.programs[0][1])
    names = midi_names.decode([next((text for _, text in _texts(track, _NAME)), b"") for track in file.tracks])
    parts: list[Part] = []
    for place, track in enumerate(channels):
        for number, channel in sorted(track.items()):
            notes = [(pitch, clocks[place](start), clocks[place](end)) for pitch, start, end in channel.notes]
            notes = sorted((note for note in notes if note[2] > note[1]), key=lambda note: note[1:])
            if notes:
                program = _program(channel, first_programs.get(number, 0))
                drums = number == general_midi.DRUM_CHANNEL or bool(channel.banks & general_midi.DRUM_BANKS)
                parts.append(Part(len(parts) + 1, names[place], program, drums, notes))
    words = _words(file, clocks)
    for part in parts:
        onsets = [onset for _, onset, _ in part.notes]
        part.words = sum(_is_near(word, onsets) for word in words)
    return Parts(parts, words)


def _channels(track: list[Event], file: MidiFile) -> dict[int, _Channel]:
    channels: dict[int, _Channel] = defaultdict(_Channel)
    for tick, status, data in track:
        kind, channel = status & 0xF0, channels[status & 0x0F] if status < 0xF0 else None
        if channel is None:
            continue
        if kind == 0x90 and data[1]:
            channel.sounding[data[0]].append(tick)
        elif kind in (0x80, 0x90) and channel.sounding[data[0]]:
            channel.notes.append((data[0], channel.sounding[data[0]].popleft(), tick))
        elif kind == 0xC0:
            channel.programs.append((tick, data[0]))
        elif kind == 0xB0 and data[0] == 0:
            channel.banks.add(data[1])
    last = track[-1][0] if track else 0
    beat = round(file.ticks / 2 if file.by_second else file.ticks) or 1
    for channel in channels.values():
        channel.notes += _endless(channel, last, beat, file.repairs)
    return channels


def _endless(channel: _Channel, last: int, beat: int, repairs: Counter[str]) -> list[tuple[int, int, int]]:
    """Notes that are never let go: to the next note of the part, or to the end of the track, or where that comes at once for a beat."""
    waiting = sorted((start, pitch) for pitch, starts in channel.sounding.items() for start in starts)
    if not waiting:
        return []
    repairs["notes that never end were ended"] += len(waiting)
    onsets = sorted({start for _, start, _ in channel.notes} | {start for start, _ in waiting})
    ended = []
    for start, pitch in waiting:
        following = bisect.bisect_right(onsets, start)
        end = onsets[following] if following < len(onsets) else last if last > start else start + beat
        ended.append((pitch, start, end))
    return ended


def _program(channel: _Channel, otherwise: int) -> int:
    """The one under which most of the notes' time passes."""
    if not channel.programs:
        return otherwise
    starts = [tick for tick, _ in channel.programs]
    lasting = Counter[int]()
    for _, start, end in channel.notes:
        lasting[channel.programs[max(bisect.bisect_right(starts, start) - 1, 0)][1]] += end - start
    return lasting.most_common(1)[0][0]


def _words(file: MidiFile, clocks: list[_Clock]) -> list[float]:
    """Onsets of sung words: lyrics, or in karaoke files the texts, of which some begin a line (/) or a verse (\\)."""
    for kind in (_LYRIC, _TEXT):
        said = [(clock(tick), text) for track, clock in zip(file.tracks, clocks, strict=True) for tick, text in _texts(track, kind)]
        if said and (kind == _LYRIC or any(text[:1] in b"/\\" for _, text in said)):
            return sorted(time for time, text in said if not text.startswith(b"@"))
    return []


def _texts(track: list[Event], kind: int) -> list[tuple[int, bytes]]:
    """What is written in meta events of a kind, where something is."""
    return [(tick, data[1:]) for tick, status, data in track if status == META and data[0] == kind and data[1:].strip()]


def _is_key(data: bytes) -> bool:
    return len(data) == 2 and int.from_bytes(data[:1], signed=True) in range(-7, 8) and data[1] in (0, 1)


def _is_near(time: float, onsets: list[float], within: float = 0.04) -> bool:
    place = bisect.bisect_left(onsets, time - within)
    return place < len(onsets) and onsets[place] <= time + within
