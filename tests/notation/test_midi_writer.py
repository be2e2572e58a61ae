"""What is written as MIDI comes back equal: what the project writes, and any notes in every variant of the format."""

from __future__ import annotations

from pathlib import Path

import mido
import numpy as np
import pytest
import smf
from hypothesis import given, settings
from hypothesis import strategies as st

from jasco_pl.notation.harmony import LABELS, N
from jasco_pl.notation.melody import bins_to_notes, melody_frames
from jasco_pl.notation.midi import read_midi
from jasco_pl.notation.midi_file import parse
from jasco_pl.notation.midi_parts import Note, read_parts
from jasco_pl.notation.midi_writer import Sheet, voiced, write_midi

BINS = st.lists(st.integers(-1, 52), min_size=1, max_size=120).map(lambda bins: np.array(bins, dtype=np.int8))
TEMPI = st.one_of(st.none(), st.integers(20, 400), st.floats(20, 400))


@given(BINS, TEMPI, st.sampled_from(["4/4", "3/4", "6/8", "5/4"]))
@settings(max_examples=150, deadline=None)
def test_frames_of_a_melody_come_back(tmp_path_factory: pytest.TempPathFactory, bins: np.ndarray, bpm: float | None, meter: str) -> None:
    path = tmp_path_factory.getbasetemp() / "tune.mid"
    bins[0] = max(bins[0], 0)
    chords = [("Am", 0.0, 1.0), ("F", 1.0, 2.4)]
    write_midi(path, Sheet(2.4, bins_to_notes(bins), chords, [0.0, 0.01, 0.5], bpm, meter, (9, True), "Tést"))
    found = read_midi(path, 10.0, start=0)
    assert (found.part.name, [part.name for part in found.parts]) == ("melody", ["chords", "melody", "drums"])
    assert melody_frames(found.notes, len(bins), 50).tolist() == bins.tolist()


def test_everything_that_was_asked_for_is_in_the_file(tmp_path: Path) -> None:
    chords = [("Dm7", 0.0, 2.0), ("N", 2.0, 3.0), ("G7/B", 3.0, 4.0)]
    sheet = Sheet(4.0, [(62, 0.0, 0.5), (62, 0.5, 1.0)], chords, [0.0, 0.02, 1.5], 60, "6/8", (2, True), "Walzer für Elise")
    write_midi(tmp_path / "sheet.mid", sheet)
    file = mido.MidiFile(tmp_path / "sheet.mid", charset="utf-8")  # by another reader
    head = {message.type: message for message in file.tracks[0]}
    assert head["track_name"].name == "Walzer für Elise"
    assert mido.tempo2bpm(head["set_tempo"].tempo) == pytest.approx(90)  # dotted quarters in 6/8
    assert (head["time_signature"].numerator, head["time_signature"].denominator) == (6, 8)
    assert head["key_signature"].key == "Dm"
    assert [message.text for message in file.tracks[0] if message.type == "marker"] == ["Dm7", "N", "G7/B"]
    assert file.length == pytest.approx(4.0, abs=1e-5)
    played = {part.name: part for part in read_parts(parse((tmp_path / "sheet.mid").read_bytes(), "x")).parts}
    assert np.allclose(played["melody"].notes, sheet.melody, atol=1e-3)
    assert [round(on, 2) for _, on, _ in played["drums"].notes] == [0.0, 0.02, 1.5]
    assert played["drums"].drums
    assert {round(on, 4) for _, on, _ in played["chords"].notes} == {0.0, 3.0}  # on the beat
    assert {pitch % 12 for pitch, on, _ in played["chords"].notes if on > 1} == {7, 11, 2, 5}
    assert min(pitch for pitch, on, _ in played["chords"].notes if on > 1) % 12 == 11


def test_every_chord_has_its_bass_below_its_tones() -> None:
    for label in LABELS[:N]:
        bass, *tones = voiced(label)
        assert 36 <= bass < 48 <= min(tones) < max(tones) < 66
    assert voiced("N") == voiced("UNK") == []


def test_a_sheet_may_be_empty(tmp_path: Path) -> None:
    write_midi(tmp_path / "empty.mid", Sheet(10.0))
    assert mido.MidiFile(tmp_path / "empty.mid").length == pytest.approx(10.0)


@st.composite
def lines(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """(pitch, tick on, tick off): notes that may overlap, but not with those of their own pitch."""
    found, free = [], dict.fromkeys(range(128), 0)
    tick = 0
    for _ in range(draw(st.integers(1, 30))):
        tick += draw(st.integers(0, 2000))
        pitch, lasting = draw(st.integers(0, 127)), draw(st.integers(1, 3000))
        if free[pitch] <= tick:
            found.append((pitch, tick, tick + lasting))
            free[pitch] = tick + lasting
    return found


def seconds(line: list[tuple[int, int, int]], tempi: list[tuple[int, int]], division: int) -> list[Note]:
    """By walking through every tempo."""

    def time(tick: int) -> float:
        steps = [(0, 500_000), *tempi]
        ends = [start for start, _ in steps[1:]] + [10**12]
        return sum(max(0, min(tick, end) - start) * tempo for (start, tempo), end in zip(steps, ends, strict=True)) / (1e6 * division)

    return sorted((pitch, time(on), time(off)) for pitch, on, off in line)


@given(
    lines(),
    st.lists(st.tuples(st.integers(1, 20_000), st.integers(1, 0xFFFFFF)), max_size=4, unique_by=lambda tempo: tempo[0]),
    st.integers(1, 0x7FFF),
    st.integers(0, 15),
    st.data(),
)
@settings(max_examples=200, deadline=None)
def test_notes_come_back_from_every_variant(
    line: list[tuple[int, int, int]], tempi: list[tuple[int, int]], division: int, channel: int, data: st.DataObject
) -> None:
    tempi = sorted(tempi)
    messages = smf.notes(line, channel)
    if data.draw(st.booleans(), "ends as notes of no velocity"):
        messages = [(tick, bytes([0x90 | channel, message[1], 0]) if message[0] & 0xF0 == 0x80 else message) for tick, message in messages]
    for tick in data.draw(st.lists(st.integers(0, 20_000), max_size=4), "program changes"):
        messages.append((tick, bytes([0xC0 | channel, tick % 128])))
    changes = [(tick, smf.tempo(tempo)) for tick, tempo in tempi]
    running = data.draw(st.booleans(), "running status")
    where = data.draw(st.sampled_from(["one track", "before", "with", "behind", "apart"]), "tempo")
    if where in ("one track", "with"):
        tracks = [changes + messages]
    elif where == "apart":
        tracks = [messages, *([change] for change in changes)]
    else:
        tracks = [changes, messages] if where == "before" else [messages, changes]
    content = smf.smf(*(smf.chunk(track, running=running) for track in tracks), kind=0 if where == "one track" else 1, division=division)
    if data.draw(st.booleans(), "in RIFF"):
        content = smf.riff(content)
    file = parse(content, "x")
    (part,) = read_parts(file).parts
    assert not file.repairs
    assert part.drums == (channel == 9)
    found = sorted(part.notes)
    assert [pitch for pitch, _, _ in found] == [pitch for pitch, _, _ in seconds(line, tempi, division)]
    assert np.allclose(found, seconds(line, tempi, division), rtol=1e-9, atol=1e-9)
