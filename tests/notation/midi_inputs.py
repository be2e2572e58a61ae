"""MIDI files of every kind with their right readings, read for the tests and counted for docs/inputs.md.

`python tests/notation/midi_inputs.py` prints the table.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import smf
from midi_bands import KINDS, bands

from jasco_pl.notation.midi import read_midi
from jasco_pl.notation.midi_parts import Note
from jasco_pl.system.errors import UserError

LINE = [(60, 0, 480), (64, 480, 960), (67, 960, 1440), (72, 1440, 1920)]
READ = [(60, 0.0, 0.5), (64, 0.5, 1.0), (67, 1.0, 1.5), (72, 1.5, 2.0)]
NOTES = smf.notes(LINE)
TRACK, EMPTY = smf.chunk(NOTES), smf.chunk([])
OTHER = smf.notes([(pitch - 12, on, off) for pitch, on, off in LINE for pitch in (pitch, pitch + 4, pitch + 7)], 1)  # chords

BEFORE = {  # by the reader that stood here before, input by input: right (.), refused (r) or misread (m)
    "formats and messages": "......r...",
    "containers, bytes around": "rrrrr...",
    "endings": "rr.rrrr",
    "meta events": "rrrrrrrrrr",
    "time": ".mm.mm.rrr",
    "values and notes": "rrrmmmr",
    "tracks and lengths": "rr..rrrrrrrrrr",
    "programs and parts": "mmm",
    "names": "mm..mmmmmmm",
    "no MIDI, no notes": "..............m.",
    "bands, plain": "mmmm..mmmm..m.mmm.mm.m..",
    "bands, no programs": "mmmm..mmmm..m.mmm.mm.m..",
    "bands, all pianos": "mmmm..mmmm..m.mmm.mm.m..",
    "bands, misleading names": "m..mm.mmmm.mm.m.m.mmm...",
    "bands, one name": "mmmm..mmmm..m.mmm.mm.m..",
    "bands, named": "..m......m....m......m..",
    "bands, program changes": "mmmmmmmm.mmmmmmmmmmmmmmm",
    "bands, words": "mmmm..mmmm..m.mmm.mm.m..",
    "bands, karaoke": "mmmm..mmmm..m.mmm.mm.m..",
    "bands, legato": "mm.m...mmm..m.mmmmmm.m..",
    "bands, one track": "mmmm..mmmm..m.mmm.mm.m..",
}


@dataclass(frozen=True)
class Input:
    """One file.

    Attributes:
        kind: a row of the table.
        content: of the file.
        notes: the right reading; empty where it is to be refused.
        said: remarks on it, or words of the refusal.
        name: of the file.
        track: the name of the melody's track, where it matters.
    """

    kind: str
    content: bytes
    notes: list[Note] = field(default_factory=lambda: READ)
    said: tuple[str, ...] = ()
    name: str = "tune.mid"
    track: str | None = None


def slower(factor: float, notes: list[Note] = READ) -> list[Note]:
    return [(pitch, factor * onset, factor * offset) for pitch, onset, offset in notes]


def variants() -> Iterator[Input]:
    """What the standard has."""
    system = [(0, b"\xf0\x05\x7e\x7f\x09\x01\xf7"), (0, b"\xf7\x02\xf3\x01")]
    loose = [(0, b"\xf8"), (0, b"\xf2\x01\x02"), (0, b"\xf3\x01")]
    others = [(0, b"\xe0\x00\x40"), (0, b"\xd0\x40"), (0, b"\xa0\x3c\x40"), (0, b"\xb0\x07\x64"), (0, b"\xc0\x49")]
    silent = [(on, bytes([0x90, pitch, 90])) for pitch, on, _ in LINE]
    metas = [(0, smf.meta(kind)) for kind in (1, 2, 3, 4, 5, 6, 7, 0x20, 0x21, 0x54, 0x58, 0x7F)]
    kind = "formats and messages"
    for number in (0, 1, 2):
        yield Input(kind, smf.smf(TRACK, kind=number))
    yield Input(kind, smf.smf(EMPTY, TRACK, EMPTY))
    yield Input(kind, smf.smf(smf.chunk(NOTES, running=True)))
    yield Input(kind, smf.smf(smf.chunk([(off, bytes([0x90, pitch, 0])) for pitch, _, off in LINE] + silent)))
    yield Input(kind, smf.smf(smf.chunk(system + NOTES)))
    yield Input(kind, smf.smf(smf.chunk(loose + NOTES)))
    yield Input(kind, smf.smf(smf.chunk(others + NOTES)))
    yield Input(kind, b"MThd\0\0\0\x0a" + smf.smf(TRACK)[8:14] + bytes(4) + TRACK)
    kind = "containers, bytes around"
    yield Input(kind, smf.riff(smf.smf(TRACK)))
    yield Input(kind, smf.riff(smf.smf(EMPTY, TRACK)), name="tune.rmi")
    yield Input(kind, bytes(128) + smf.smf(TRACK) + bytes(50))
    yield Input(kind, b"garbage " + smf.smf(TRACK), said=("bytes before the beginning were skipped",))
    yield Input(kind, smf.smf(b"XFIH\0\0\0\2ab" + TRACK))
    yield Input(kind, smf.smf(TRACK + b"XFKM\0\0\0\2ab"))
    yield Input(kind, smf.smf(TRACK) + bytes(3))
    yield Input(kind, smf.smf(TRACK) + b"\x1a" * 40)
    kind = "endings"
    for name in ("tune.kar", "tune.smf", "TUNE.MID", "tune", "tune.wav", "tune.txt", "tune.npy"):
        yield Input(kind, smf.smf(TRACK), name=name)
    kind = "meta events"
    yield Input(kind, smf.smf(smf.chunk(metas), TRACK))
    yield Input(kind, smf.smf(smf.chunk([(0x0FFFFFFF, smf.meta(6, b"far"))]), TRACK))
    yield Input(kind, smf.smf(smf.chunk([(0, smf.tempo(500_000)), (20_000_000, smf.tempo(504_201))]), TRACK))
    for key in (b"\xf8\0", b"\x09\1", b"\0\7", b""):
        said = ("an impossible key signature was left out",)
        yield Input(kind, smf.smf(smf.chunk([(0, smf.meta(0x59, key)), *NOTES])), said=said)
    for tempo in (smf.meta(0x51), smf.tempo(0)):
        yield Input(kind, smf.smf(smf.chunk([(0, tempo), *NOTES])), said=("an empty tempo was left out",))
    yield Input(kind, smf.smf(smf.chunk([(0, smf.meta(0x58, b"\4"))]), TRACK))
    kind = "time"
    slow = [(0, smf.tempo(1_000_000))]
    later = [(480, smf.tempo(1_000_000)), (960, smf.tempo(250_000))]
    uneven = [(60, 0.0, 0.5), (64, 0.5, 1.5), (67, 1.5, 1.75), (72, 1.75, 2.0)]
    yield Input(kind, smf.smf(smf.chunk(slow + NOTES), kind=0), slower(2))
    yield Input(kind, smf.smf(EMPTY, smf.chunk(slow + NOTES)), slower(2))
    yield Input(kind, smf.smf(TRACK, EMPTY, smf.chunk(slow)), slower(2))
    yield Input(kind, smf.smf(smf.chunk(later), TRACK), uneven)
    yield Input(kind, smf.smf(TRACK, smf.chunk(later)), uneven)
    yield Input(kind, smf.smf(smf.chunk(later[1:]), smf.chunk(later[:1] + NOTES)), uneven)
    yield Input(kind, smf.smf(TRACK, division=96), slower(5))
    yield Input(kind, smf.smf(smf.chunk(slow + NOTES), division=0xE728), slower(0.96))  # 25 frames of 40 ticks
    yield Input(kind, smf.smf(TRACK, division=(256 - 30) << 8 | 80), slower(0.4))
    yield Input(kind, smf.smf(TRACK, division=(256 - 29) << 8 | 4), slower(960 * 1001 / 120_000))


def damaged() -> Iterator[Input]:
    """What is mended."""
    kind = "values and notes"
    held = "values over 127 were held at 127"
    yield Input(kind, smf.smf(smf.chunk([(0, b"\xb0\x07\xc8"), *NOTES])), said=(held,))
    yield Input(kind, smf.smf(smf.chunk([(0, b"\xc0\xff"), (0, b"\xb0\x07\x80"), *NOTES])), said=(f"{held} (2 times)",))
    yield Input(
        kind, smf.smf(smf.chunk([(on, bytes([0x90, pitch, 200])) for pitch, on, _ in LINE] + NOTES[:4])), said=(f"{held} (4 times)",)
    )
    endless = ("notes that never end were ended",)
    yield Input(kind, smf.smf(smf.chunk(NOTES[:3] + NOTES[4:])), said=endless)
    yield Input(kind, smf.smf(smf.chunk([*NOTES[:3], *NOTES[4:], (1920, smf.meta(6, b"end"))])), said=endless)
    yield Input(kind, smf.smf(smf.chunk(NOTES[:1] + NOTES[2:])), said=endless)
    yield Input(kind, smf.smf(smf.chunk(NOTES[4:])), said=("notes that never end were ended (4 times)",))
    kind = "tracks and lengths"
    wrong = ("track 1 gives a wrong length",)
    yield Input(kind, smf.smf(b"MTrk\0\0\0\0", TRACK))
    yield Input(kind, smf.smf(smf.chunk([], end=b""), TRACK))
    yield Input(kind, smf.smf(smf.chunk(NOTES, end=b"")))
    yield Input(kind, smf.smf(TRACK, kind=7))
    yield Input(kind, smf.smf(TRACK, claims=3), said=("it says 3 tracks and has 1",))
    yield Input(kind, smf.smf(EMPTY, TRACK, claims=1), said=("it says 1 tracks and has 2",))
    for length in (9, 0, 0xFFFFFFFF):
        yield Input(kind, smf.smf(smf.chunk(NOTES, length=length), EMPTY), said=wrong)
    yield Input(kind, smf.smf(TRACK)[:-4], said=wrong)
    broken = ("track 2 breaks off, and what comes before was read",)
    for end in (b"\x05\x05", b"\xff\x03\x7fshort", b"\xff" * 7, b"\x90\x3c"):
        yield Input(kind, smf.smf(TRACK, smf.chunk([], end=end)), said=broken)
    kind = "programs and parts"
    melody = "the melody is track 1 (violin) of 2, C4-C5; the file also has 2 (acoustic grand piano); another can be chosen (track)"
    change = [(0, b"\xc0\x28"), (900, b"\xc0\x49"), (1400, b"\xc0\x28")]
    yield Input(kind, smf.smf(smf.chunk(change + NOTES)))
    yield Input(kind, smf.smf(smf.chunk(change + NOTES + OTHER), kind=0), said=(melody,))
    yield Input(kind, smf.smf(smf.chunk(change + NOTES), smf.chunk(OTHER)), said=(melody,))


def refused() -> Iterator[Input]:
    """What cannot be read."""
    kind = "no MIDI, no notes"
    for content, words in (
        (b"", "it is empty"),
        (b"do re mi", "lacks the mark (MThd)"),
        (b"PK\x03\x04" + bytes(40), "an archive: unpack it"),
        (b"\x1f\x8b\x08" + bytes(40), "an archive: unpack it"),
        (b"\n <!DOCTYPE html><html>404", "a failed download"),
        (b"<?xml version='1.0'?><score-partwise/>", "a page of text with markup"),
        (b"MUS\x1a" + bytes(20), "another format than a Standard MIDI File"),
        (b"MThd\0\0\0\6\0\1", "ends within its first line"),
        (smf.smf(TRACK, division=0), "does not say how long a beat lasts"),
        (smf.smf(TRACK, division=0xE700), "does not say how long a beat lasts"),
        (smf.smf(), "holds no notes"),
        (smf.smf(EMPTY), "holds no notes"),
        (smf.smf(smf.chunk([(5, b"\x90\x3c\x5a"), (5, b"\x80\x3c\0")])), "holds no notes"),
        (smf.smf(smf.chunk(smf.notes(LINE, 9))), "holds only drums"),
        (smf.smf(smf.chunk([(0, b"\xb3\x00\x7f"), *smf.notes(LINE, 3)])), "holds only drums"),
        (smf.smf(smf.chunk([], end=b"\x05")), "(the MIDI file was mended: track 1 breaks off"),
    ):
        yield Input(kind, content, [], (words,))


def names() -> Iterator[Input]:
    """Names of tracks in the usual code pages."""
    for name, page in (
        ("Flöte", "utf-8"),
        ("メロディ", "utf-8"),
        ("Flöte", "latin-1"),
        ("Mélodie", "cp1252"),
        ("мелодия и вокал", "cp1251"),
        ("Соло", "cp1251"),
        ("мелодия", "koi8-r"),
        ("メロディ", "cp932"),
        ("主旋律のメロディー", "cp932"),
        ("旋律", "gb18030"),
        ("보컬", "euc-kr"),
    ):
        yield Input("names", smf.smf(smf.chunk([(0, smf.meta(3, name.encode(page))), *NOTES])), track=name)


def inputs() -> list[Input]:
    return [*variants(), *damaged(), *names(), *refused()]


def outcome(one: Input, folder: Path) -> str:
    """`read` or `refused` where that is right, with the right words; else what is wrong."""
    path = folder / one.name
    path.write_bytes(one.content)
    try:
        found = read_midi(path, 30.0)
    except UserError as error:
        right = not one.notes and one.said[0] in str(error) and "\n" not in str(error) and one.name in str(error)
        return "refused" if right else f"refused: {error}"
    notes = [(pitch, round(onset, 6), round(offset, 6)) for pitch, onset, offset in found.notes]
    said = tuple(remark.removeprefix("the MIDI file was mended: ") for remark in found.remarks)
    if notes != [(pitch, round(onset, 6), round(offset, 6)) for pitch, onset, offset in one.notes]:
        return f"misread: {notes}"
    if one.track not in (None, found.track):
        return f"named: {found.track}"
    return "read" if said == one.said else f"said: {said}"


@cache
def band_outcomes(kind: str) -> list[str]:
    """`read` for every band of a kind whose track with the melody was found."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        for song, content in bands(kind):
            path = Path(name) / "band.mid"
            path.write_bytes(content)
            part = read_midi(path, song.duration, start=0).part
            right = [note[0] for note in part.notes] == [note[0] for note in song.melody]
            found.append("read" if right else f"misread: {song.style}, track {part.number}")
    return found


def table() -> str:
    """Kinds by rows, as Markdown."""
    rows = ["| kind | tried | read | refused well | wrong before | of these misread | wrong now |", "|---|--:|--:|--:|--:|--:|--:|"]
    kinds: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as name:
        for one in inputs():
            kinds.setdefault(one.kind, []).append(outcome(one, Path(name)))
        kinds |= {f"bands, {kind}": band_outcomes(kind) for kind in KINDS}
    for kind, now in {**kinds, "all": [what for found in kinds.values() for what in found]}.items():
        before = "".join(BEFORE.values()) if kind == "all" else BEFORE[kind]
        read, refused, lost, misread = now.count("read"), now.count("refused"), before.count("r"), before.count("m")
        rows.append(f"| {kind} | {len(now)} | {read} | {refused} | {lost + misread} | {misread} | {len(now) - read - refused} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
