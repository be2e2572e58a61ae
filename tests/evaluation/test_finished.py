from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from jasco_pl.audio.files import read_audio, write_audio
from jasco_pl.cli import main
from jasco_pl.compose import compose_set
from jasco_pl.evaluation.engine import evaluate
from jasco_pl.evaluation.references import ComposedPieces
from jasco_pl.evaluation.report import row_names
from jasco_pl.evaluation.settings import Finished, Settings
from jasco_pl.system.errors import UserError

RATE = 32000


def ramp(seconds: float) -> torch.Tensor:
    """[1, S] whose samples tell their time: 1 for 32 s."""
    return torch.arange(round(seconds * RATE))[None] / (32 * RATE)


def reference(seconds: float = 2.0, start: float = 5.0) -> SimpleNamespace:
    return SimpleNamespace(id="song", sample_rate=RATE, audio=torch.zeros(1, round(seconds * RATE)), start=start)


@pytest.mark.parametrize(("seconds", "first"), [(2.0, 0.0), (2.4, 0.0), (20.0, 5.0), (7.0, 5.0)])
def test_a_whole_piece_is_cut_to_the_stretch_and_a_stretch_is_not(tmp_path: Path, seconds: float, first: float) -> None:
    write_audio(tmp_path / "song.mix.flac", ramp(seconds), RATE)
    clip = Finished("theirs", str(tmp_path)).clip(reference())
    torch.testing.assert_close(clip, ramp(32)[:, round(first * RATE) :][:, : 2 * RATE], atol=1e-4, rtol=0)


@pytest.mark.parametrize("seconds", [1.5, 6.0])
def test_what_is_too_short_is_one_sentence(tmp_path: Path, seconds: float) -> None:
    write_audio(tmp_path / "song.wav", ramp(seconds), RATE)
    with pytest.raises(UserError, match=rf"song.wav' lasts {seconds:.2f} s: the stretch of 2 s is wanted, from 5.00 s"):
        Finished("theirs", str(tmp_path)).clip(reference())


def test_other_rates_and_channels_are_taken(tmp_path: Path) -> None:
    tone = torch.sin(torch.arange(2 * 44100) * 2 * torch.pi * 440 / 44100) / 2
    write_audio(tmp_path / "song.wav", torch.stack([tone, tone]), 44100)
    clip = Finished("theirs", str(tmp_path)).clip(reference())
    assert clip.shape == (1, 2 * RATE)
    assert np.argmax(np.abs(np.fft.rfft(clip[0]))) == 880


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("theirs", "NAME=DIR"),
        ("=.", "NAME=DIR"),
        ("../up=.", "NAME=DIR"),
        ("chords=.", "one of the models' own"),
        ("none=.", "one of the models' own"),
        ("all-controls=.", "one of the models' own"),
        ("drums-other-audio=.", "one of the models' own"),
        ("theirs=nowhere", "no folder"),
    ],
)
def test_names_and_folders_are_checked(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Finished.parse(text)


def test_a_piece_without_audio_is_named_before_anything_is_made(pieces: Path, tiny_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    source = ComposedPieces(pieces)
    with pytest.raises(UserError, match=rf"no audio for 2 of 2 pieces, the first '{source.ids[0]}'"):
        evaluate(source, [tiny_settings], tmp_path / "out", finished=[Finished("theirs", str(tmp_path / "empty"))], limit=2)
    assert not (tmp_path / "out").exists()


def test_two_rows_of_one_name_are_refused(pieces: Path, tiny_settings: Settings, tmp_path: Path) -> None:
    twice = [Finished("theirs", str(pieces)), Finished("theirs", str(tmp_path))]
    with pytest.raises(UserError, match="the same name"):
        evaluate(ComposedPieces(pieces), [tiny_settings], tmp_path / "out", finished=twice, limit=1)
    assert not (tmp_path / "out").exists()


def test_the_references_themselves_are_perfect(pieces: Path, tiny_settings: Settings, tmp_path: Path) -> None:
    """The pieces as clips of another system: whole, then as the stretches, which are heard alike."""
    source = ComposedPieces(pieces)
    whole = Finished("whole", str(pieces))
    matrix = [tiny_settings, replace(tiny_settings, guidance="all=2")]
    results = evaluate(source, matrix, tmp_path / "out", rows=["none"], finished=[whole], limit=2)
    assert row_names(results.rows) == ["no control · all=1.5 text=0.5", "no control · all=2", "whole"]
    figures = results.rows[-1].figures
    assert figures["chroma_similarity"].mean > 0.99
    assert figures["onset_f1"].missing or np.isnan(figures["onset_f1"].mean) or figures["onset_f1"].mean > 0.95
    assert "evaluations" not in figures

    stretches = tmp_path / "stretches"
    for name in source.ids[:2]:
        found = next((tmp_path / "out").glob(f"*/pieces/whole/{name}.flac"))
        write_audio(stretches / f"{name}.flac", read_audio(found, RATE), RATE)
    again = evaluate(source, [tiny_settings], tmp_path / "out", rows=["none"], finished=[Finished("cut", str(stretches))], limit=2)
    assert again.rows[-1].figures["chroma_similarity"] == figures["chroma_similarity"]


def test_changed_audio_is_measured_anew_and_named_in_the_tables(pieces: Path, tiny_settings: Settings, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    name = ComposedPieces(pieces).ids[0]
    write_audio(theirs / f"{name}.flac", read_audio(pieces / f"{name}.mix.flac", RATE), RATE)
    command = ["evaluate", "--pieces", str(pieces), "--checkpoint", tiny_settings.checkpoint, "--limit", "1", "--seconds", "2"]
    command += ["--workers", "1", "--solver", "euler", "--steps", "1", "--rows", "none", "--salience", "none", "-o", str(tmp_path / "out")]
    command += ["--audio", f"theirs={theirs}"]

    def row() -> dict:
        assert main(command) == 0
        results = json.loads((tmp_path / "out" / "results.json").read_text())
        assert any("theirs is audio that was finished before" in note for note in results["notes"])
        return results["rows"][-1]

    first = row()
    assert (first["name"], first["checkpoint"], first["solver"]) == ("theirs", str(theirs), "")
    write_audio(theirs / f"{name}.flac", torch.zeros(1, 2 * RATE), RATE)
    second = row()
    assert first["figures"]["chroma_similarity"]["mean"] > 0.9
    assert second["figures"]["chroma_similarity"]["mean"] < 0.2


def test_another_band_keeps_what_was_asked_and_changes_the_sound(tmp_path: Path, tiny_settings: Settings) -> None:
    compose_set(tmp_path / "pieces", 0.02, 9, "test", progress=False)
    compose_set(tmp_path / "band", 0.02, 9, "test", progress=False, arrangement=1)
    source = ComposedPieces(tmp_path / "pieces")
    band = Finished("another-band", str(tmp_path / "band"))
    results = evaluate(source, [tiny_settings], tmp_path / "out", rows=["none"], finished=[band], limit=2)
    none, other = (row.figures["chroma_similarity"].mean for row in results.rows)
    assert none < other < 0.99
