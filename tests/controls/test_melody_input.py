from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import safetensors.torch
import soundfile
import torch

from jasco_pl.controls.melody import read_melody
from jasco_pl.extract.salience_network import find_weights
from jasco_pl.system.errors import UserError
from jasco_pl.system.memory import forget_peak, peak


def write_midi(path: Path, *tracks: tuple[str, list[tuple[int, float, float]]], drums: tuple[str, ...] = ()) -> Path:
    midi = pretty_midi.PrettyMIDI(resolution=1000)  # half a millisecond a tick: the times below fall on ticks
    for name, notes in tracks:
        instrument = pretty_midi.Instrument(0, is_drum=name in drums, name=name)
        instrument.notes = [pretty_midi.Note(100, pitch, start, end) for pitch, start, end in notes]
        midi.instruments.append(instrument)
    midi.write(str(path))
    return path


def test_midi_notes_hold_on_their_frames_and_rests_are_empty(tmp_path: Path) -> None:
    path = write_midi(tmp_path / "tune.mid", ("", [(60, 0.04, 0.1), (62, 0.1, 0.135), (64, 0.2, 0.3)]))
    read = read_melody(path, 12)
    assert read.bins.tolist() == [-1, -1, 17, 17, 17, 19, 19, -1, -1, -1, 21, 21]
    assert read.bins.dtype == np.int8
    assert (read.source, read.notes) == ("midi", [])


def test_longer_melodies_are_cut_and_shorter_ones_end(tmp_path: Path) -> None:
    path = write_midi(tmp_path / "tune.mid", ("", [(60, 0.0, 0.1)]))
    read = read_melody(path, 8)
    assert read.bins.tolist() == [17] * 5 + [-1] * 3
    assert read.notes == ["the melody ends at 0.10 s; there is none after it"]
    assert read_melody(path, 3).bins.tolist() == [17] * 3
    assert read_melody(path, 3).notes == []
    assert read_melody(path, 4, frame_rate=25).bins.tolist() == [17, 17, 17, -1]


def test_of_overlapping_notes_the_highest_sounds(tmp_path: Path) -> None:
    path = write_midi(tmp_path / "chords.mid", ("", [(60, 0, 0.2), (72, 0.04, 0.1), (64, 0.0, 0.06)]))
    assert read_melody(path, 10).bins.tolist() == [21, 21, 29, 29, 29, 17, 17, 17, 17, 17]


def test_the_whole_melody_moves_by_octaves(tmp_path: Path) -> None:
    low = write_midi(tmp_path / "low.mid", ("", [(42, 0, 0.02), (44, 0.02, 0.04), (60, 0.04, 0.06), (20, 0.06, 0.08)]))
    read = read_melody(low, 4)
    assert (read.bins + 43).tolist() == [66, 68, 84, 44]
    assert read.notes == ["the melody was moved up by 2 octaves, to lie in MIDI 43-95"]


def test_what_lies_outside_of_every_octave_is_left_out(tmp_path: Path) -> None:
    wide = write_midi(tmp_path / "wide.mid", ("", [(43, 0, 0.02), (95, 0.02, 0.04), (96, 0.04, 0.06)]))
    read = read_melody(wide, 3)
    assert read.bins.tolist() == [0, 52, -1]
    assert read.notes == ["1 of 3 notes lie outside MIDI 43-95 and were left out", "the melody ends at 0.04 s; there is none after it"]


CHORDS = [(pitch, start, start + 1.0) for start in (0.0, 1.0) for pitch in (72, 76, 79)]
BASS = [(45, 0.0, 1.0), (47, 1.0, 2.0)]
TUNE = [(67, 0.0, 0.55), (69, 0.5, 1.0), (71, 1.0, 2.0)]
BELL = [(90, 0.0, 0.1)]
KIT = [(36, 0.0, 0.1), (95, 0.5, 2.0)]


def test_the_single_lined_upper_track_is_the_melody(tmp_path: Path) -> None:
    path = write_midi(tmp_path / "band.mid", ("kit", KIT), ("keys", CHORDS), ("low", BASS), ("sax", TUNE), ("bell", BELL), drums=("kit",))
    read = read_melody(path, 100)
    assert set(read.bins.tolist()) == {67 - 43, 69 - 43, 71 - 43}
    assert read.notes == [
        "the melody is track 4 (sax, acoustic grand piano) of 5, G4-B4; the file also has 1 (kit, drums), 2 (keys, acoustic grand piano), "
        "3 (low, acoustic grand piano), 5 (bell, acoustic grand piano); another can be chosen (track)"
    ]


def test_a_track_with_a_melodys_name_wins(tmp_path: Path) -> None:
    path = write_midi(tmp_path / "band.mid", ("keys", CHORDS), ("Lead Vocal", BASS), ("sax", TUNE))
    assert set(read_melody(path, 100).bins.tolist()) == {45 - 43, 47 - 43}


def test_a_melodys_name_is_a_whole_word(tmp_path: Path) -> None:
    path = write_midi(tmp_path / "band.mid", ("Neptune strings", CHORDS), ("Misleading", BASS), ("sax", TUNE))
    assert set(read_melody(path, 100).bins.tolist()) == {67 - 43, 69 - 43, 71 - 43}


@pytest.mark.parametrize("track", ["low", "LOW", "Low ", 3, "3"])
def test_a_track_can_be_asked_for(tmp_path: Path, track: str | int) -> None:
    path = write_midi(tmp_path / "band.mid", ("kit", KIT), ("sax", TUNE), ("low", BASS), drums=("kit",))
    assert set(read_melody(path, 100, track=track).bins.tolist()) == {45 - 43, 47 - 43}


def test_of_an_instrument_that_several_play_the_most_melodious_is_taken(tmp_path: Path) -> None:
    path = write_midi(tmp_path / "band.mid", ("chords", CHORDS), ("b", BASS), ("c", TUNE))
    assert set(read_melody(path, 100, track="grand piano").bins.tolist()) == {67 - 43, 69 - 43, 71 - 43}


@pytest.mark.parametrize("track", ["kit", 0, 1, 4, "flute", "", -1])
def test_tracks_that_are_not_there_are_refused_with_a_list(tmp_path: Path, track: str | int) -> None:
    path = write_midi(tmp_path / "band.mid", ("kit", KIT), ("sax", TUNE), ("low", BASS), drums=("kit",))
    with pytest.raises(UserError, match=r"has no track .* it has 2 \(sax, acoustic grand piano\), 3 \(low, acoustic grand piano\)\."):
        read_melody(path, 100, track=track)


def test_tracks_are_those_of_midi(tmp_path: Path) -> None:
    for melody in (BINS, tmp_path / "tune.wav", tmp_path / "tune.npy"):
        with pytest.raises(UserError, match="is no MIDI file, so that it has no track '2'"):
            read_melody(melody, 100, track=2)


def test_a_melody_that_begins_after_the_clip_is_taken_from_its_first_note(tmp_path: Path) -> None:
    late = write_midi(tmp_path / "late.mid", ("", [(60, 2.0, 3.0), (62, 3.0, 3.1)]))
    said = "the melody begins at 2.00 s, after the clip's end, and is taken from there; --melody-from takes it from elsewhere"
    assert read_melody(late, 60).bins.tolist() == [17] * 50 + [19] * 5 + [-1] * 5
    assert read_melody(late, 60).notes == [said, "the melody ends at 1.10 s; there is none after it"]
    assert read_melody(late, 100).notes == [said, "the melody ends at 1.10 s; there is none after it"]
    assert read_melody(late, 101).notes == []
    np.save(tmp_path / "late.npy", np.array([-1] * 100 + [17] * 50 + [19] * 5))
    assert read_melody(tmp_path / "late.npy", 60).bins.tolist() == [17] * 50 + [19] * 5 + [-1] * 5
    assert read_melody(tmp_path / "late.npy", 60).notes[0] == said


def test_a_melody_is_taken_up_where_it_is_asked_for(tmp_path: Path) -> None:
    tune = write_midi(tmp_path / "tune.mid", ("", [(60, 0.0, 1.0), (62, 1.0, 2.0), (64, 2.0, 2.06)]))
    assert read_melody(tune, 60, start=1.5).bins.tolist() == [19] * 25 + [21] * 3 + [-1] * 32
    np.save(tmp_path / "tune.npy", read_melody(tune, 103).bins)
    assert read_melody(tmp_path / "tune.npy", 60, start=1.5).bins.tolist() == [19] * 25 + [21] * 3 + [-1] * 32
    late = write_midi(tmp_path / "late.mid", ("", [(60, 2.0, 3.0)]))
    assert (read_melody(late, 50, start=0).bins == -1).all()
    assert read_melody(late, 50, start=0).notes == ["no note of the melody sounds in the first 1 s"]
    for melody, start in ((tune, 2.06), (tmp_path / "tune.npy", 2.06), (tune, 99)):
        with pytest.raises(UserError, match=r"nothing of it is left from second"):
            read_melody(melody, 50, start=start)
    for start in (-1, float("nan"), float("inf")):
        with pytest.raises(UserError, match="can be taken from a second between 0 and"):
            read_melody(tune, 50, start=start)


def test_bad_midi_files_are_one_sentence_each(tmp_path: Path) -> None:
    write_midi(tmp_path / "empty.mid")
    write_midi(tmp_path / "drums.mid", ("kit", KIT), drums=("kit",))
    (tmp_path / "text.mid").write_text("do re mi")
    (tmp_path / "nothing.mid").write_bytes(b"")
    whole = write_midi(tmp_path / "whole.mid", ("sax", TUNE)).read_bytes()
    (tmp_path / "cut.mid").write_bytes(whole[:20])
    (tmp_path / "folder.mid").mkdir()
    for name, words in {
        "empty": "holds no notes",
        "drums": "only drums",
        "text": "not a MIDI file",
        "nothing": "not a MIDI file",
        "cut": "holds no notes.*it says 2 tracks and has 0",
        "missing": "does not exist",
        "folder": "cannot be read: Is a directory",
    }.items():
        with pytest.raises(UserError, match=words) as error:
            read_melody(tmp_path / f"{name}.mid", 10)
        assert "\n" not in str(error.value)


@pytest.fixture
def _no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jasco_pl.controls.melody.find_weights", lambda fetch: None)


@pytest.mark.usefixtures("_no_weights")
def test_audio_is_heard_by_pyin(tmp_path: Path) -> None:
    time = np.arange(44100) / 44100
    soundfile.write(tmp_path / "hum.wav", 0.2 * np.sin(2 * np.pi * 220 * time) + 0.1 * np.sin(2 * np.pi * 440 * time), 44100)
    read = read_melody(tmp_path / "hum.wav", 80)
    assert read.source == "pyin"
    assert (read.bins[3:47] == 57 - 43).all()
    assert (read.bins[50:] == -1).all()
    assert "pYIN" in read.notes[0]
    assert read.notes[1] == "the melody ends at 1.00 s; there is none after it"


@pytest.mark.usefixtures("_no_weights")
def test_a_recording_is_taken_up_later_and_under_any_name(tmp_path: Path) -> None:
    time = np.arange(44100) / 44100
    soundfile.write(tmp_path / "hum.wav", np.concatenate([np.zeros(44100), 0.2 * np.sin(2 * np.pi * 220 * time)]), 44100)
    (tmp_path / "hum.wav").rename(tmp_path / "hum.mid")
    read = read_melody(tmp_path / "hum.mid", 80, start=1.0)
    assert (read.bins[3:47] == 57 - 43).all()
    assert (read.bins[50:] == -1).all()
    with pytest.raises(UserError, match=r"the melody lasts 2\.00 s; nothing of it is left from second 2 on"):
        read_melody(tmp_path / "hum.mid", 80, start=2)


@pytest.mark.usefixtures("_no_weights")
def test_audio_without_a_line_says_what_to_give_instead(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "noise.wav", np.random.default_rng(0).normal(0, 0.1, 32000), 32000)
    read = read_melody(tmp_path / "noise.wav", 50)
    assert (read.bins == -1).all()
    assert "no single line was heard" in read.notes[1]


@pytest.mark.skipif(find_weights(fetch=False) is None, reason="the weights of deep salience are not at hand")
def test_audio_is_heard_by_deep_salience_where_its_weights_are(tmp_path: Path) -> None:
    time = np.arange(48000) / 32000
    line = sum(np.sin(2 * np.pi * 440 * k * time) / k for k in range(1, 7))
    bass = sum(np.sin(2 * np.pi * 110 * 2 ** (-4 / 12) * k * time) / k for k in range(1, 7))
    soundfile.write(tmp_path / "band.wav", 0.2 * line + 0.05 * bass, 32000)
    read = read_melody(tmp_path / "band.wav", 100)
    assert (read.source, read.notes[0]) == ("salience", "the melody was heard in the audio by deep salience")
    assert (read.bins[10:65] == 69 - 43).mean() > 0.9
    assert (read.bins[75:] == -1).all()


def test_files_that_are_nothing_known_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tune.wav").write_text("la la la")
    with pytest.raises(UserError, match="not an audio file"):
        read_melody(tmp_path / "tune.wav", 10)
    with pytest.raises(ValueError, match="50 frames"):
        read_melody(tmp_path / "tune.wav", 10, frame_rate=25)


BINS = np.array([-1, 0, 52, 17, -1, 3], dtype=np.int8)


def salience() -> np.ndarray:
    """[6, 53] with the bins above; what is under 0.5 is none."""
    out = np.full((6, 53), 0.1, dtype=np.float32)
    out[np.arange(6), BINS] = np.where(BINS >= 0, 0.6, 0.49)
    out[1, 7] = 0.55
    return out


@pytest.mark.parametrize(
    "array",
    [BINS, BINS.astype(float), salience(), salience().T, salience()[None], salience() > 0.58, torch.from_numpy(salience()).bfloat16()],
)
def test_arrays_of_every_accepted_kind(array: np.ndarray | torch.Tensor) -> None:
    read = read_melody(array, 8)
    assert read.bins.tolist() == [*BINS.tolist(), -1, -1]
    assert read.source == "array"


def test_array_files(tmp_path: Path) -> None:
    tensor = torch.from_numpy(salience())
    np.save(tmp_path / "a.npy", salience())
    torch.save(tensor, tmp_path / "b.th")
    torch.save({"melody": tensor.T, "other": torch.zeros(1)}, tmp_path / "c.pt")
    safetensors.torch.save_file({"anything": tensor}, tmp_path / "d.safetensors")
    for name in ("a.npy", "b.th", "c.pt", "d.safetensors"):
        assert read_melody(str(tmp_path / name), 6).bins.tolist() == BINS.tolist(), name


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("executed",))


def test_bad_array_files_are_refused_and_never_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(Hostile(), tmp_path / "hostile.pt")
    np.save(tmp_path / "hostile.npy", np.array([Hostile()], dtype=object), allow_pickle=True)
    torch.save({"a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "two.pt")
    (tmp_path / "broken.safetensors").write_bytes(b"\0" * 7)
    (tmp_path / "empty.npy").write_bytes(b"")
    for name in ("hostile.pt", "hostile.npy", "two.pt", "broken.safetensors", "empty.npy"):
        with pytest.raises(UserError, match=r"does not hold|holds more than") as error:
            read_melody(tmp_path / name, 6)
        assert "\n" not in str(error.value)
        assert "weights_only" not in str(error.value)
    assert "executed" not in capsys.readouterr().out


def test_arrays_that_claim_more_than_they_have_ask_for_no_room(tmp_path: Path) -> None:
    """A header of 49 GiB over nothing, a value that is repeated by its strides, sparse and nested tensors, an archive that unfolds."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (53, 124_000_000)})
    (tmp_path / "claims.npy").write_bytes(header.getvalue() + bytes(64))
    torch.save(torch.zeros(1, 1).expand(53, 124_000_000), tmp_path / "expanded.pt")
    torch.save(torch.sparse_coo_tensor(torch.tensor([[0], [5]]), [1.0], (53, 10**9)), tmp_path / "sparse.pt")
    torch.save(torch.nested.nested_tensor([torch.zeros(3, 53), torch.zeros(5, 53)]), tmp_path / "nested.pt")
    with zipfile.ZipFile(tmp_path / "unfolds.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("unfolds/data/0", bytes(100 << 20))
    with open(tmp_path / "large.npy", "wb") as file:
        file.truncate(40 << 30)  # sparse
    forget_peak(torch.device("cpu"))
    before = peak(torch.device("cpu"))
    words = {"claims.npy": "more than it has", "large.npy": "larger than 64 MiB", "unfolds.pt": "unpacked it has more than 64 MiB"}
    for name in ("claims.npy", "expanded.pt", "sparse.pt", "nested.pt", "unfolds.pt", "large.npy"):
        with pytest.raises(UserError, match=words.get(name, "accepted are")) as error:
            read_melody(tmp_path / name, 500)
        assert name in str(error.value)
    after = peak(torch.device("cpu"))
    assert before is None or after is None or after - before < 300e6


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((6, 52)), r"shape \[6, 52\]"),
        (np.zeros((2, 6, 53)), r"shape \[2, 6, 53\]"),
        (np.array([0, 53]), "whole numbers"),
        (np.array([0, -2]), "whole numbers"),
        (np.array([0.5, 1]), "whole numbers"),
        (np.array([0.0, np.nan]), "finite"),
        (np.array(["a"]), "finite"),
    ],
)
def test_bad_arrays_are_refused(array: np.ndarray, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_melody(array, 6)
