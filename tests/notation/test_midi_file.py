"""MIDI files as they are found: byte by byte, one kind of damage each."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import pytest
import smf
from hypothesis import given, settings
from hypothesis import strategies as st

from jasco_pl.notation.melody_files import kind_of
from jasco_pl.notation.midi import read_midi
from jasco_pl.notation.midi_file import parse
from jasco_pl.notation.midi_parts import read_parts
from jasco_pl.system.errors import UserError

LINE = [(60, 0, 480), (64, 480, 960), (67, 960, 1440), (72, 1440, 1920)]
READ = [(60, 0.0, 0.5), (64, 0.5, 1.0), (67, 1.0, 1.5), (72, 1.5, 2.0)]
NOTES = smf.notes(LINE)
TRACK = smf.chunk(NOTES)
EMPTY = smf.chunk([])


def read(tmp_path: Path, content: bytes, name: str = "tune.mid") -> tuple[list[tuple[int, float, float]], list[str]]:
    (tmp_path / name).write_bytes(content)
    found = read_midi(tmp_path / name, 10.0)
    return [(pitch, round(onset, 9), round(offset, 9)) for pitch, onset, offset in found.notes], found.remarks


def mended(*what: str) -> list[str]:
    return [f"the MIDI file was mended: {'; '.join(what)}"]


@pytest.mark.parametrize(
    "content",
    [
        smf.smf(TRACK, kind=0),
        smf.smf(TRACK),
        smf.smf(EMPTY, TRACK, EMPTY),
        smf.smf(TRACK, kind=2),
        smf.smf(TRACK, kind=7),
        smf.smf(smf.chunk(NOTES, running=True)),
        smf.riff(smf.smf(TRACK)),
        smf.smf(b"XFIH\0\0\0\2ab" + TRACK),
        smf.smf(TRACK + b"XFKM\0\0\0\2ab"),
        smf.smf(TRACK + b"\0\0\0"),
        smf.smf(TRACK) + b"\x1a" * 40,
        smf.smf(b"MTrk\0\0\0\0", TRACK),
        smf.smf(smf.chunk([], end=b""), TRACK),
        smf.smf(smf.chunk([(0, smf.meta(kind)) for kind in (1, 2, 3, 4, 5, 6, 7, 0x20, 0x21, 0x54, 0x58, 0x7F)]), TRACK),
        smf.smf(smf.chunk([(0x0FFFFFFF, smf.meta(6, b"far"))]), TRACK),
        smf.smf(smf.chunk([(0, smf.tempo(500_000)), (20_000_000, smf.tempo(504_201))]), TRACK),
        smf.smf(smf.chunk([(0, b"\xf0\x05\x7e\x7f\x09\x01\xf7"), (0, b"\xf7\x02\xf3\x01"), (0, b"\xf8"), (0, b"\xf2\x01\x02"), *NOTES])),
        smf.smf(smf.chunk([(0, b"\xe0\x00\x40"), (0, b"\xd0\x40"), (0, b"\xa0\x3c\x40"), (0, b"\xb0\x07\x64"), *NOTES])),
        smf.smf(
            smf.chunk([(on, bytes([0x90, pitch, 90])) for pitch, on, _ in LINE] + [(off, bytes([0x90, p, 0])) for p, _, off in LINE][::-1])
        ),
        bytes(128) + smf.smf(TRACK) + bytes(50),
        b"MThd\0\0\0\x0a" + smf.smf(TRACK)[8:14] + bytes(4) + TRACK,
    ],
)
def test_what_files_of_the_standard_have_is_read_without_a_word(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content) == (READ, [])


@pytest.mark.parametrize("name", ["tune.kar", "tune.rmi", "tune.smf", "TUNE.MID", "tune.midi", "tune", "tune.wav", "tune.txt", "tune.npy"])
def test_content_counts_over_the_ending(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(smf.smf(TRACK))
    assert kind_of(tmp_path / name) == "midi"
    assert read(tmp_path, smf.smf(TRACK), name)[0] == READ
    assert kind_of(tmp_path / ("nowhere" + name)) == kind_of(Path(name))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (smf.smf(smf.chunk([(0, b"\xb0\x07\xc8"), *NOTES])), "values over 127 were held at 127"),
        (smf.smf(smf.chunk([(0, b"\xc0\xff"), (0, b"\xb0\x07\x80"), *NOTES])), "values over 127 were held at 127 (2 times)"),
        (smf.smf(smf.chunk([(0, smf.meta(0x59, b"\xf8\0")), *NOTES])), "an impossible key signature was left out"),
        (smf.smf(smf.chunk([(0, smf.meta(0x59)), *NOTES])), "an impossible key signature was left out"),
        (smf.smf(smf.chunk([(0, smf.meta(0x51)), *NOTES])), "an empty tempo was left out"),
        (smf.smf(smf.chunk([(0, smf.tempo(0)), *NOTES])), "an empty tempo was left out"),
        (smf.smf(TRACK, claims=3), "it says 3 tracks and has 1"),
        (smf.smf(TRACK, EMPTY, claims=1), "it says 1 tracks and has 2"),
        (smf.smf(smf.chunk(NOTES, length=9), EMPTY), "track 1 gives a wrong length"),
        (smf.smf(smf.chunk(NOTES, length=0)), "track 1 gives a wrong length"),
        (smf.smf(smf.chunk(NOTES, length=0xFFFFFFFF), EMPTY), "track 1 gives a wrong length"),
        (smf.smf(smf.chunk(NOTES[:3] + NOTES[4:])), "notes that never end were ended"),
        (smf.smf(TRACK, smf.chunk([], end=b"\x05\x05")), "track 2 breaks off, and what comes before was read"),
        (smf.smf(TRACK, smf.chunk([], end=b"\xff\x03\x7fshort")), "track 2 breaks off, and what comes before was read"),
        (smf.smf(TRACK, smf.chunk([], end=b"\xff\xff\xff\xff\xff\xff\xff")), "track 2 breaks off, and what comes before was read"),
        (smf.smf(TRACK)[:-4], "track 1 gives a wrong length"),
        (b"garbage " + smf.smf(TRACK), "bytes before the beginning were skipped"),
    ],
)
def test_what_is_damaged_is_mended_and_said(tmp_path: Path, content: bytes, said: str) -> None:
    notes, remarks = read(tmp_path, content)
    assert notes == READ
    assert remarks == mended(said)


def test_a_file_that_is_cut_off_gives_what_came_before(tmp_path: Path) -> None:
    whole = smf.smf(TRACK)
    for length in range(40, len(whole) - 5):
        notes, remarks = read(tmp_path, whole[:length])
        assert notes[:-1] == READ[: len(notes) - 1]
        assert notes[-1][:2] == READ[len(notes) - 1][:2]
        assert remarks[0].startswith("the MIDI file was mended: ")


def test_tempo_holds_from_any_track(tmp_path: Path) -> None:
    half = [(pitch, 2 * onset, 2 * offset) for pitch, onset, offset in READ]
    slow = [(0, smf.tempo(1_000_000))]
    assert read(tmp_path, smf.smf(EMPTY, smf.chunk([*slow, *NOTES])))[0] == half
    assert read(tmp_path, smf.smf(TRACK, EMPTY, smf.chunk(slow)))[0] == half
    later = smf.chunk([(480, smf.tempo(1_000_000)), (960, smf.tempo(250_000))])
    assert read(tmp_path, smf.smf(TRACK, later))[0] == [(60, 0.0, 0.5), (64, 0.5, 1.5), (67, 1.5, 1.75), (72, 1.75, 2.0)]
    # a file of pieces of their own: a tempo is that of its piece
    assert read(tmp_path, smf.smf(TRACK, smf.chunk(slow), kind=2))[0] == READ


def test_time_by_film_frames(tmp_path: Path) -> None:
    line = smf.chunk([(0, smf.tempo(1_000_000)), *smf.notes([(60, 0, 1000), (64, 1000, 1500)])])
    assert read(tmp_path, smf.smf(line, division=0xE728))[0] == [(60, 0.0, 1.0), (64, 1.0, 1.5)]
    drop = read(tmp_path, smf.smf(smf.chunk(smf.notes([(60, 0, 30)])), division=(256 - 29) << 8 | 1))[0]
    assert math.isclose(drop[0][2], 30 * 1001 / 30000)


def test_notes_of_one_pitch_may_overlap_and_end_at_their_own_time() -> None:
    content = smf.smf(smf.chunk([(0, b"\x90\x3c\x5a"), (480, b"\x90\x3c\x5a"), (490, b"\x80\x3c\0"), (960, b"\x80\x3c\0")]))
    (part,) = read_parts(parse(content, "x")).parts
    assert [note[0] for note in part.notes] == [60, 60]
    assert [round(time * 960) for note in part.notes for time in note[1:]] == [0, 490, 480, 960]


def test_a_note_that_is_never_let_go_does_not_cover_the_next_ones(tmp_path: Path) -> None:
    stuck = smf.chunk([(0, b"\x90\x60\x5a"), *smf.notes([(62, 480, 960), (64, 960, 1440)])])
    assert read(tmp_path, smf.smf(stuck)) == (
        [(96 - 12, 0.0, 0.5), (62 - 12, 0.5, 1.0), (64 - 12, 1.0, 1.5)],
        ["the melody was moved down by an octave, to lie in MIDI 43-95", *mended("notes that never end were ended")],
    )


def test_a_track_and_channel_is_one_part_through_its_programs() -> None:
    events = [
        (0, b"\xc0\x28"),
        (960, b"\xc0\x49"),
        *NOTES,
        *smf.notes([(40, 0, 100)], channel=9),
        (0, b"\xc1\x20"),
        *smf.notes([(40, 0, 100)], 1),
    ]
    content = smf.smf(smf.chunk([(0, smf.meta(3, b"song")), *events, (1930, b"\xc0\x20")]), smf.chunk(smf.notes([(50, 0, 9)], 1)), kind=1)
    parts = read_parts(parse(content, "x")).parts
    assert [(part.number, part.name, part.instrument, len(part.notes)) for part in parts] == [
        (1, "song", "violin", 4),
        (2, "song", "acoustic bass", 1),
        (3, "song", "drums", 1),
        (4, "", "acoustic bass", 1),  # its program is said on another track
    ]


def test_drums_on_another_channel_are_known_by_their_bank() -> None:
    content = smf.smf(smf.chunk([(0, b"\xb3\x00\x7f"), (0, b"\xc3\x00"), *smf.notes(LINE, 3)]))
    assert [part.drums for part in read_parts(parse(content, "x")).parts] == [True]


@pytest.mark.parametrize(
    ("name", "page"),
    [
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
    ],
)
def test_names_in_the_usual_code_pages(name: str, page: str) -> None:
    content = smf.smf(smf.chunk([(0, smf.meta(3, name.encode(page))), *NOTES]))
    assert read_parts(parse(content, "x")).parts[0].name == name


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"do re mi", r"lacks the mark \(MThd\)"),
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
        (smf.smf(smf.chunk([], end=b"\x05"), claims=1), r"holds no notes.*\(the MIDI file was mended: track 1 breaks off"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        read(tmp_path, content)
    assert str(error.value).count("\n") == 0
    assert "tune.mid" in str(error.value)


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_bytes_behind_a_header_are_read_or_refused(tail: bytes) -> None:
    for content in (smf.smf() + tail, smf.smf(smf.chunk([], end=tail))):
        for part in read_parts(parse(content, "x")).parts:
            assert all(0 <= pitch < 128 and 0 <= onset < offset for pitch, onset, offset in part.notes)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_damage_of_a_good_file_is_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(smf.smf(smf.chunk([(0, smf.tempo(400_000))]), TRACK))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UserError):
        read_parts(parse(bytes(content), "x"))


SHARED = Path("/work/shared/reference/inputs")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the collected inputs are not at hand")
def test_files_that_were_read_wrongly() -> None:
    once = [(60, 0.0, 0.5), (64, 0.5, 1.0), (67, 1.0, 1.5), (72, 1.5, 2.0)]
    twice = [(pitch, 2 * onset, 2 * offset) for pitch, onset, offset in once]
    slow = {"smpte_25x40.mid", "tempo_on_track1.mid"}
    for path in sorted(SHARED.glob("*.mid")):
        found = read_midi(path, 20.0)
        if path.name == "small_band.mid":
            assert found.part.instrument == "flute"
        else:
            assert found.notes == (twice if path.name in slow else once), path.name
