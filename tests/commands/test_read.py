"""`jasco read`, and what `jasco generate` says before it imports torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile

from jasco_pl.cli import main
from jasco_pl.controls import CONTROLS
from jasco_pl.controls.inputs import INPUTS

PROGRAM = """
import sys
from jasco_pl.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
sys.exit(99 if "torch" in sys.modules else code)
"""


def without_torch(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own; the exit code is 99 if it has imported torch."""
    return subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture
def tune(tmp_path: Path) -> Path:
    midi = pretty_midi.PrettyMIDI(resolution=1000)
    track = pretty_midi.Instrument(0, name="Flute")
    track.notes = [pretty_midi.Note(100, 60, 0.0, 0.5), pretty_midi.Note(100, 60, 0.5, 1.0), pretty_midi.Note(100, 64, 1.0, 3.0)]
    midi.instruments.append(track)
    midi.write(str(tmp_path / "tune.mid"))
    return tmp_path / "tune.mid"


def test_chords_and_a_melody_are_read_without_torch(tune: Path) -> None:
    done = without_torch("read", "--chords", "C | Gsus4 | Am F", "--bpm", "120", "--seconds", "6", "--melody", str(tune), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "chords": [["C", 0.0], ["G", 2.0], ["Am", 4.0], ["F", 5.0]],
        "melody": [[60, 0.0, 0.5], [60, 0.5, 1.0], [64, 1.0, 3.0]],
        "track": "Flute",
        "tracks": [{"number": 1, "name": "Flute", "instrument": "acoustic grand piano", "notes": 3, "range": "C4-E4"}],
        "notes": ["Gsus4 -> G: nearest in the vocabulary"],
    }


def test_people_read_a_line_that_is_a_chord_line_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--chords", "C | G7 | Am F", "--bpm", "90"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line == "chords: C@0 G7@2.6667 Am@5.3333 F@6.6667 C@8"
    assert main(["read", "--chords", line.removeprefix("chords: ")]) == 0
    assert capsys.readouterr().out.splitlines() == [line]


def test_keys_of_what_was_not_given_are_absent(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--chords", "C", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"chords": [["C", 0.0]], "notes": []}


def test_for_which_seconds_they_hold_is_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--chords", "C", "--during", "chords=0-6"]) == 0
    assert "note: held for a part of the time: chords for 0.00-6.00 s" in capsys.readouterr().out


def test_drums_are_heard(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).standard_normal(2 * 32000) * np.exp(-40 * (np.arange(2 * 32000) / 32000 % 0.5))
    soundfile.write(tmp_path / "loop.wav", 0.3 * noise, 32000)
    assert main(["read", "--drums", str(tmp_path / "loop.wav"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {"drums", "notes"}
    assert said["drums"]["seconds"] == 2.0
    assert said["drums"]["onsets"][-3:] == pytest.approx([0.5, 1.0, 1.5], abs=0.05)
    assert -40 < said["drums"]["loudness"] < -10
    assert said["notes"] == ["drums: 2.00 s of audio will be repeated to fill the clip"]
    assert main(["read", "--drums", str(tmp_path / "loop.wav")]) == 0
    assert capsys.readouterr().out.startswith("drums (2.00 s, -")


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """Four seconds."""
    soundfile.write(tmp_path / "tone.wav", 0.3 * np.sin(2 * np.pi * 440 * np.arange(4 * 32000) / 32000), 32000)
    return tmp_path / "tone.wav"


def test_what_of_a_recording_is_kept_and_made(tone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--paint", str(tone), "--seconds", "8"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["paint: kept 0.00-3.94 s, made 3.94-8.00 s"]
    assert main(["read", "--paint", str(tone), "--seconds", "4", "--redo", "1-2.5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"paint": {"kept": [[0.0, 1.0], [2.5, 4.0]], "made": [[1.0, 2.5]]}, "notes": []}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--paint", "--keep", "0-2", "--redo", "2-3"], "one of them says it all"),
        (["--paint", "--keep", "5-9"], "keep 5-9 begins past the clip, which ends at 4 seconds"),
        (["--paint", "--keep", "0-4"], "all 4 seconds of the clip would be kept"),
        (["--paint", "--at", "5"], "would begin at 5 s, where the clip of 4 s has ended"),
        (["--paint"], "all 4 seconds of the clip would be kept"),
        (["--vary", "--seconds", "8"], "the recording to vary lasts 4.00 s and the clip 8 s"),
    ],
)
def test_recordings_are_refused_as_generate_refuses_them(
    arguments: list[str], words: str, tone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    option, *more = arguments
    assert main(["read", option, str(tone), "--seconds", "4", *more]) == 2
    assert words in capsys.readouterr().err


def test_dynamics_of_a_recording_are_read_as_they_could_be_written(tone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--dynamics", str(tone), "--seconds", "6"]) == 0
    _, line, note = capsys.readouterr().out.splitlines()
    assert line == "dynamics: 0:0, 1:0, 2:0, 3:0"
    assert note == "note: dynamics: given up to 4.00 s; free after it"
    assert main(["read", "--dynamics", line.removeprefix("dynamics: ")]) == 0
    assert capsys.readouterr().out.splitlines() == [line]


def test_silent_recordings_are_said_to_be_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(4 * 32000), 32000)
    for option in ("--drums", "--mix", "--paint", "--dynamics"):
        assert main(["read", option, str(tmp_path / "silence.wav")]) == 0
        assert f"note: {option.removeprefix('--')}: silent: " in capsys.readouterr().out
    assert main(["read", "--vary", str(tmp_path / "silence.wav")]) == 2
    assert "the recording to vary is silent" in capsys.readouterr().err


def test_a_recording_to_vary_is_something_to_read(tone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--vary", str(tone), "--json"]) == 0
    note = "varied from second 0 to 4 of the recording, by 0.7 of the way to noise"
    assert json.loads(capsys.readouterr().out) == {"vary": {"file": str(tone), "variation": 0.7}, "notes": [note]}


def test_of_a_take_what_it_was_asked_for_is_read_too(tone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"checkpoint": "", "seconds": 2.0, "guidance": "all=1", "solver": {}, "precision": "fp32"}
    request = {"text": "jazz", "chords": "C | G", "seed": 3}
    tone.with_suffix(".json").write_text(json.dumps({**settings, "request": request}))
    assert main(["read", "--vary", str(tone.with_suffix(".json"))]) == 0
    first, second, note = capsys.readouterr().out.splitlines()
    assert first == "chords: C@0 G@1"
    assert second.startswith(f"{tone}: 4.00 s")
    assert note.startswith("note: varied from second 0 to 2")
    assert main(["read", "--vary", str(tone.with_suffix(".json")), "--chords", "Am"]) == 0
    assert capsys.readouterr().out.startswith("chords: Am@0\n")


def test_a_tempo_alone_says_how_many_bars_the_clip_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--bpm", "96", "--seconds", "4"]) == 0
    assert capsys.readouterr().out == "length: 4 s, 1.60 bars of 4/4 at 96 bpm\n"
    assert main(["read", "--bars", "4", "--bpm", "96", "--loop", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"seconds": 10.0, "bars": 4.0, "notes": []}


def test_of_a_loop_it_is_said_that_its_beat_jumps(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--chords", "C", "--bpm", "96", "--seconds", "4", "--loop"]) == 0
    assert "note: loop: 4 s are 1.60 bars of 96 bpm, so that the beat jumps" in capsys.readouterr().out


def test_chords_beyond_the_clip_and_a_meter_without_a_tempo_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--chords", "C@0 D@1:30", "--seconds", "8"]) == 0
    assert capsys.readouterr().out.splitlines() == ["chords: C@0", "note: left out beyond the clip's end: D@90"]
    assert main(["read", "--chords", "C G", "--meter", "3/4"]) == 0
    assert "note: the meter 3/4 counts with a tempo alone (bpm)" in capsys.readouterr().out


def test_chords_of_so_many_bars_are_read_to_their_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--chords", "C | G | Am | F", "--bpm", "60", "--bars", "3"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "chords: C@0 G@4 Am@8"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "there is nothing to read: give --chords"),
        (["--chords", "C Gfoo"], "'Gfoo'"),
        (["--chords", "C", "--seconds", "0"], "up to 600 seconds, not 0"),
        (["--melody", "nowhere.mid"], "melody file 'nowhere.mid' does not exist"),
        (["--keep", "0-1"], "no recording"),
        (["--chords", "C", "--during", "melody=0-1"], "during names melody, which is not asked for"),
        (["--dynamics", "loud"], "the dynamics 'loud' are not understood"),
        (["--chords", "C", "--bars", "2"], "needs their tempo"),
        (["--chords", "C", "--bars", "-3", "--bpm", "90"], "a clip has more than 0 bars"),
        (["--chords", "C", "--variation", "2"], "a variation lies between 0"),
        (["--melody", ""], "the name of the file for melody is empty"),
        (["--drums", ""], "the name of the file for drums is empty"),
        (["--vary", ""], "the name of the file for vary is empty"),
        (["--melody", "/proc/self/mem"], "cannot be read: Invalid argument"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("jasco read: ")
    assert words in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--chords", "C Gfoo"], "'Gfoo'"),
        (["--melody", "nowhere.mid"], "'nowhere.mid' does not exist"),
        (["--melody", "nowhere.npy"], "'nowhere.npy' does not exist"),
        (["--drums", "nowhere.wav"], "'nowhere.wav' does not exist"),
        (["--redo", "1-2"], "no recording"),
        (["--melody", ""], "the name of the file for melody is empty"),
        (["--drumless", "nowhere.wav"], "no control 'drumless'; it has: chords"),
        (["--seconds", "601"], "up to 600 seconds, not 601"),
        (["--guidance", "tempo=1"], "the condition 'tempo'"),
        (["--chords", "C", "--during", "chords=12-"], "begins past the clip"),
        (["--text", "0-5: piano; 4-8: drums"], "stretches must not overlap"),
        (["--steps", "0"], "steps must be from 1 to 10000"),
        (["-n", "0"], "-n must be from 1 to"),
        (["-o", "song.wav", "-n", "2"], "name a folder"),
        (["--checkpoint", "checkpoints/nowhere"], "no JASCO checkpoint in 'checkpoints/nowhere'"),
    ],
)
def test_generate_refuses_before_it_imports_torch(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = without_torch("generate", *(arguments if "-o" in arguments else [*arguments, "-o", str(tmp_path / "out")]))
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_help_of_both_needs_no_torch() -> None:
    for command in ("read", "generate"):
        done = without_torch(command, "--help")
        assert (done.returncode, "--melody FILE" in done.stdout) == (0, True)


def test_every_control_that_ships_can_be_read_without_its_class() -> None:
    assert set(INPUTS) == set(CONTROLS)
    for name, kind in CONTROLS.items():
        assert kind.options() == INPUTS[name].options()
