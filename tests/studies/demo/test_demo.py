from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import torch

from jasco_pl.audio.files import read_audio, write_audio
from jasco_pl.cli import main
from jasco_pl.extract import chordino
from jasco_pl.extract.heard import Heard
from jasco_pl.generation.asked import Asked
from jasco_pl.generation.jasco import Clip, Request
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.studies.demo import Shown, generate_command, means, two_decimals, write_readme

RATE = 32000


def clicks(seconds: float, every: float) -> torch.Tensor:
    """Short bursts of noise, [1, S]."""
    time = torch.arange(round(seconds * RATE)) / RATE
    return (0.5 * torch.randn(len(time), generator=torch.Generator().manual_seed(0)) * torch.exp(-60 * (time % every)))[None]


def tone(frequencies: list[float], seconds: float) -> torch.Tensor:
    time = torch.arange(round(seconds * RATE)) / RATE
    return sum((0.1 * torch.sin(2 * torch.pi * frequency * time) for frequency in frequencies), torch.zeros(len(time)))[None]


def clip_of(audio: torch.Tensor, request: Request, **asked: np.ndarray) -> Clip:
    return Clip(audio, RATE, torch.zeros(0), request, dict(asked))


def test_figures_are_perfect_for_what_was_asked_for_and_low_for_something_else() -> None:
    """C over A: bin 26 is MIDI 69; a loop of a second under three seconds of itself."""
    loop = clicks(1.0, 0.25)
    melody = np.full(150, 26, dtype=np.int8)
    asked = Asked(clip_of(torch.zeros(1, 3 * RATE), Request(melody="a.mid", drums=loop), melody=melody))
    right, wrong = Heard(tone([440, 880], 3.0) + 0.5 * clicks(3.0, 0.25), RATE), Heard(tone([523.25], 3.0) + 0.5 * clicks(3.0, 0.31), RATE)
    good, bad = asked.figures(right), asked.figures(wrong)
    assert list(good) == ["melody_accuracy", "onset_f1"]
    assert good["onset_f1"] > 0.9 > 0.7 > bad["onset_f1"]
    assert good["melody_accuracy"] > 0.6 > 0.1 > bad["melody_accuracy"]
    assert set(asked.lanes()) == {"melody", "onsets"}
    assert len(asked.lanes()["onsets"]) == len(right.onsets)


def test_figures_and_lanes_are_of_the_seconds_for_which_a_control_holds() -> None:
    """A loop for the first second of three: nothing that sounds later was asked for, nor does it count."""
    loop, mask = clicks(1.0, 0.25), np.arange(150) < 50
    clip = clip_of(torch.zeros(1, 3 * RATE), Request(drums=loop), drums=np.where(mask, 3, -1))
    whole = Asked(clip)
    clip.during["drums"] = mask
    cut = Asked(clip)
    heard = Heard(torch.cat([clicks(1.0, 0.25), clicks(2.0, 0.31)], dim=1), RATE)
    assert max(cut.lanes()["onsets"]) < 1 < max(whole.lanes()["onsets"])
    assert cut.figures(heard)["onset_f1"] > 0.9 > whole.figures(heard)["onset_f1"]


def test_a_figure_that_is_not_defined_is_left_out_and_shown_as_a_dash() -> None:
    """Levels that do not move have no correlation, and a clip without beats has no tempo."""
    level = np.zeros(150, dtype=np.float32)
    figures = Asked(clip_of(torch.zeros(1, 3 * RATE), Request(dynamics="steady"), dynamics=level)).figures(Heard(clicks(3.0, 0.25), RATE))
    assert "dynamics_error" in figures
    assert "dynamics_correlation" not in figures
    one = Shown("a", Request(), "a.wav", "b.wav", "a.png")
    one.add({"tempo_heard": 100.0, "beat_f1": 1.0}, {"beat_f1": 0.5})
    one.add({"beat_f1": 0.8}, {"beat_f1": 0.1, "tempo_heard": 60.0})
    assert means(one.figures["tempo_heard"]) == (100.0, 60.0)
    assert means(one.figures["beat_f1"]) == (0.9, 0.3)
    assert [two_decimals(value) for value in (*one.figures["tempo_heard"][0], 0.5)] == ["100.00", "–", "0.50"]


@pytest.mark.skipif(not chordino.available(), reason="the chord recogniser is not installed")
def test_chords_are_compared_as_they_were_typed(tmp_path: Path) -> None:
    seventh = np.full(200, 4)  # Cmaj7, where the sound is a plain C
    clip = clip_of(tone([261.63, 329.63, 392.0, 130.81, 523.25], 4.0), Request(chords="Cmaj7"), chords=seventh)
    asked, heard = Asked(clip), Heard(clip.audio, RATE)
    figures = asked.figures(heard)
    assert figures["chord_iou"] < 0.2
    assert figures["chord_iou_triads"] > 0.7
    asked.draw(tmp_path / "clip.png", clip, heard)
    assert (tmp_path / "clip.png").stat().st_size < 80_000


def test_commands_hold_the_whole_request_whatever_is_in_it() -> None:
    """A shell's words are what argparse gets."""
    request = Request(
        'My "own" $HOME\'s tune!',
        chords="C | G7",
        bpm=90.5,
        meter="3/4",
        melody="a folder/tune.mid",
        drums="loop.wav",
        during="chords=0-2+6-8,drums=4-",
        seed=7,
    )
    words = shlex.split(generate_command(request, ["--steps", "4"]).replace("\\\n", ""))
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert options == {
        "--text": request.text,
        "--chords": "C | G7",
        "--bpm": "90.5",
        "--meter": "3/4",
        "--melody": "a folder/tune.mid",
        "--drums": "loop.wav",
        "--during": "chords=0-2+6-8,drums=4-",
        "--seed": "7",
        "--steps": "4",
        "-o": "out/",
    }
    assert generate_command(Request("it's late", melody="t.mid")) == (
        'jasco generate --text "it\'s late" \\\n  --melody t.mid --seed 0 -o out/'
    )


def test_the_page_tells_one_clip_from_the_mean_over_seeds(tmp_path: Path) -> None:
    shown = Shown("one", Request("rock", drums=str(tmp_path / "loop.wav")), "one.ogg", "one-without.ogg", "one.png")
    for kept, bare in ((0.9, 0.5), (0.7, 0.4), (0.5, 0.3)):
        shown.add({"onset_f1": kept}, {"onset_f1": bare})
    text = write_readme(tmp_path, [shown], title="T", about="Why.", made_by="jasco demo", sampling=[]).read_text()
    (line,) = re.findall(r"^\| \[one\].*$", text, re.MULTILINE)
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        "[one](#one)", "onset F1", "0.90", "0.50", "0.70 ± 0.20", "0.40 ± 0.10",
    ]  # fmt: skip
    assert "[loop.wav](loop.wav)" in text
    assert "seeds 0 to 2" in text


def test_clips_without_controls_are_as_long_as_those_with(
    tiny_model_config: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By bars, by the recording that is varied, and as the model learnt, in one file."""
    monkeypatch.chdir(tmp_path)
    JascoModel(replace(tiny_model_config, seconds=1.0)).save_pretrained(tmp_path / "model")
    write_audio(tmp_path / "song.wav", clicks(0.8, 0.25), RATE)
    Path("mine.yaml").write_text(
        "requests:\n  plain: {chords: C}\n  bars: {chords: C, bpm: 240, bars: 0.5}\n"
        "  looped: {chords: C, bpm: 240, bars: 0.5, loop: true}\n  varied: {chords: C, vary: song.wav}\n  again: {chords: F}\n"
    )
    command = ["demo", "--requests", "mine.yaml", "--checkpoint", "model", "--solver", "euler", "--steps", "1", "-o", "out"]
    assert main(command) == 0
    for name, seconds in {"plain": 1.0, "bars": 0.5, "looped": 0.5, "varied": 0.8, "again": 1.0}.items():
        for end in ("", "-without"):
            assert read_audio(tmp_path / "out" / f"{name}{end}.wav", RATE).shape == (1, round(seconds * RATE)), (name, end)
        settings = json.loads((tmp_path / "out" / f"{name}-without.json").read_text())
        assert settings["request"]["chords"] is settings["request"]["vary"] is settings["request"]["bars"] is None


def test_clips_of_a_file_are_made_compared_and_shown(
    tiny_model_config: ModelConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An untrained model of one-second clips: what is written, not what is heard."""
    monkeypatch.chdir(tmp_path)
    JascoModel(replace(tiny_model_config, seconds=1.0)).save_pretrained(tmp_path / "model")
    write_audio(tmp_path / "loop.wav", clicks(0.5, 0.25), RATE)
    midi = pretty_midi.PrettyMIDI()
    midi.instruments.append(pretty_midi.Instrument(0, name="tune"))
    midi.instruments[0].notes.append(pretty_midi.Note(90, 72, 0.0, 1.0))
    midi.write("tune.mid")
    Path("mine.yaml").write_text(
        "title: Mine\nabout: Only a test.\nrequests:\n"
        "  first: {text: It is late, chords: C, melody: tune.mid, during: chords=0.4-, seed: 3}\n  second: {drums: loop.wav, seed: 5}\n"
    )
    sampling = ["--solver", "euler", "--steps", "1"]
    command = ["demo", "--requests", "mine.yaml", "--seeds", "2", "--checkpoint", "model", "--format", "ogg", *sampling]
    assert main([*command, "-o", "out"]) == 0
    out = tmp_path / "out"
    names = {f"{name}{end}" for name in ("first", "second") for end in (".ogg", ".json", ".png", "-without.ogg", "-without.json")}
    assert {path.name for path in out.iterdir()} == names | {"index.html", "README.md"}
    assert "mean of all seeds" in capsys.readouterr().out
    readme = (out / "README.md").read_text()
    assert "jasco demo --requests mine.yaml --seeds 2 --format ogg --checkpoint model --solver euler --steps 1 -o out" in readme
    assert "Only a test." in readme
    assert "> It is late" in readme
    assert "during `chords=0.4-`" in readme
    assert json.loads((out / "first.json").read_text())["during"] == {"chords": [[0.4, 1.0]]}
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", readme) if not link.startswith("http")]
    assert {"first.ogg", "second-without.ogg", "first.png", "../tune.mid", "../loop.wav"} <= set(links)
    assert all((out / link).is_file() for link in links)
    settings = json.loads((out / "first-without.json").read_text())
    assert settings["request"]["seed"] == 3
    assert settings["request"]["melody"] is None
    assert settings["during"] == {}
    # the command of the page makes the same clip
    (written,) = re.findall(r"^jasco generate --text.*?(?=\n```)", readme, re.MULTILINE | re.DOTALL)
    assert main(shlex.split(written.replace("\\\n", ""))[1:]) == 0
    again = read_audio(out / "it-is-late-seed3.wav", RATE)
    kept = read_audio(out / "first.ogg", RATE)
    assert again.shape == kept.shape == (1, RATE)
    assert float(torch.corrcoef(torch.cat([again, kept]))[0, 1]) > 0.9
    assert main([*command, "--seeds", "0"]) == 2
    assert "--seeds must be at least 1, not 0" in capsys.readouterr().err
