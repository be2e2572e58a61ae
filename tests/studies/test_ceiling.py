from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from jasco_pl.audio.files import SAMPLE_RATE, write_audio
from jasco_pl.cli import main
from jasco_pl.compose import compose_set
from jasco_pl.compose.soundfonts import find_soundfont
from jasco_pl.extract import chordino
from jasco_pl.studies import metrics
from jasco_pl.studies.metrics import drum_onsets, measure_piece
from jasco_pl.system.errors import UserError

needs_chordino = pytest.mark.skipif(not chordino.available(), reason="Chordino is not installed")


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two composed pieces, over a minute."""
    try:
        find_soundfont(None)
    except UserError as error:
        pytest.skip(str(error))
    return compose_set(tmp_path_factory.mktemp("pieces"), hours=0.02, seed=11, split="test", progress=False)


def test_hits_at_once_are_one_onset() -> None:
    hits = [["kick", 1.0, 0.9], ["ride", 1.01, 0.5], ["snare", 1.5, 0.9], ["hat", 0.2, 0.3], ["kick", 3.0, 0.9]]
    assert drum_onsets(hits).tolist() == pytest.approx([0.2, 1.0, 1.5, 3.0])
    assert drum_onsets(hits, 1.0, 3.0).tolist() == pytest.approx([0.0, 0.5])


@pytest.mark.slow
@needs_chordino
def test_rendered_pieces_are_heard_as_they_were_composed(pieces: list[Path]) -> None:
    figures = [measure_piece(path) for path in pieces]

    def mean(key: str) -> float:
        return float(np.nanmean([piece[key] for piece in figures]))

    assert mean("chord_iou_triads") > 0.4
    assert mean("chord_majmin") > 0.6
    assert mean("chord_iou") <= mean("chord_iou_triads")
    assert mean("onset_f1_stem") > 0.55
    # and not as something else that was composed: chords and hits of half a minute later
    for path in pieces:
        note = json.loads(path.read_text())
        turned = [[label, (start + note["duration"] / 2) % note["duration"]] for label, start in note["chords"]]
        note["chords"] = [[("F#" if label[0] == "C" else "C"), start] for label, start in turned]
        path.write_text(json.dumps(note))
    assert float(np.nanmean([measure_piece(path)["chord_iou_triads"] for path in pieces])) < 0.3


@needs_chordino
def test_command_prints_every_measure_and_says_what_is_left_out(pieces: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "ceiling.md"
    assert main(["metrics", "ceiling", str(pieces[0].parent), "--limit", "2", "--no-salience", "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    for title in metrics.MEASURES.values():
        assert title in printed
    assert "left out by --no-salience" in printed
    assert out.read_text() in printed
    data = json.loads(out.with_suffix(".json").read_text())
    assert data["settings"]["limit"] == 2
    figures = {row["name"]: row["figures"]["ceiling"] for row in data["rows"]}
    assert figures["melody similarity by salience"] == {"missing": "left out by --no-salience"}
    measured = [figure for figure in figures.values() if "mean" in figure]
    assert figures["chord IoU"] in measured
    assert all(figure.keys() == {"mean", "clips", *(("low", "high") if figure["clips"] > 1 else ())} for figure in measured)


def test_folders_without_pieces_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["metrics", "ceiling", str(tmp_path)]) == 2
    assert "holds no composed pieces" in capsys.readouterr().err
    assert main(["metrics", "ceiling", str(tmp_path / "absent")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_short_pieces_are_refused(tmp_path: Path) -> None:
    for stem in ("mix", "drums"):
        write_audio(tmp_path / f"x.{stem}.flac", torch.zeros(1, 5 * SAMPLE_RATE), SAMPLE_RATE)
    note = {"id": "x", "chords": [], "melody": [], "drums": [], "captions": ["a"]}
    (tmp_path / "x.json").write_text(json.dumps(note))
    with pytest.raises(UserError, match="shorter than 10 seconds"):
        measure_piece(tmp_path / "x.json")
