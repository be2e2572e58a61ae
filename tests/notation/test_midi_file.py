"""MIDI files as they are found: byte by byte, one kind of damage each."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import smf
from hypothesis import given, settings
from hypothesis import strategies as st
from midi_inputs import LINE, NOTES, READ, TRACK, Input, inputs, outcome

from jasco_pl.notation.melody_files import kind_of
from jasco_pl.notation.midi import read_midi
from jasco_pl.notation.midi_file import parse
from jasco_pl.notation.midi_parts import read_parts
from jasco_pl.system.errors import UserError


def read(tmp_path: Path, content: bytes, name: str = "tune.mid") -> tuple[list[tuple[int, float, float]], list[str]]:
    (tmp_path / name).write_bytes(content)
    found = read_midi(tmp_path / name, 10.0)
    return [(pitch, round(onset, 9), round(offset, 9)) for pitch, onset, offset in found.notes], found.remarks


@pytest.mark.parametrize("one", [pytest.param(one, id=f"{number} {one.kind}") for number, one in enumerate(inputs())])
def test_every_input_is_read_or_refused_as_it_should_be(tmp_path: Path, one: Input) -> None:
    assert outcome(one, tmp_path) == ("read" if one.notes else "refused")


@pytest.mark.parametrize("name", ["tune.kar", "tune.rmi", "tune.smf", "TUNE.MID", "tune.midi", "tune", "tune.wav", "tune.txt", "tune.npy"])
def test_content_counts_over_the_ending(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(smf.smf(TRACK))
    assert kind_of(tmp_path / name) == "midi"
    midi = Path(name).suffix.lower() not in ("", ".wav", ".txt", ".npy")
    assert kind_of(tmp_path / f"nowhere {name}") == ("midi" if midi else "array" if name == "tune.npy" else "audio")


def test_a_file_that_is_cut_off_gives_what_came_before(tmp_path: Path) -> None:
    whole = smf.smf(TRACK)
    for length in range(40, len(whole) - 5):
        notes, remarks = read(tmp_path, whole[:length])
        assert notes[:-1] == READ[: len(notes) - 1]
        assert notes[-1][:2] == READ[len(notes) - 1][:2]
        assert remarks[0].startswith("the MIDI file was mended: ")


def test_notes_of_one_pitch_may_overlap_and_end_at_their_own_time() -> None:
    content = smf.smf(smf.chunk([(0, b"\x90\x3c\x5a"), (480, b"\x90\x3c\x5a"), (490, b"\x80\x3c\0"), (960, b"\x80\x3c\0")]))
    (part,) = read_parts(parse(content, "x")).parts
    assert [note[0] for note in part.notes] == [60, 60]
    assert [round(time * 960) for note in part.notes for time in note[1:]] == [0, 490, 480, 960]


def test_a_note_that_is_never_let_go_does_not_cover_the_next_ones(tmp_path: Path) -> None:
    stuck = smf.chunk([(0, b"\x90\x60\x5a"), *smf.notes([(62, 480, 960), (64, 960, 1440)])])
    assert read(tmp_path, smf.smf(stuck)) == (
        [(96 - 12, 0.0, 0.5), (62 - 12, 0.5, 1.0), (64 - 12, 1.0, 1.5)],
        ["the melody was moved down by an octave, to lie in MIDI 43-95", "the MIDI file was mended: notes that never end were ended"],
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


SHARED = Path(__file__).resolve().parents[3] / "shared/reference/inputs"


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
