from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jasco_pl import evaluation, heard
from jasco_pl.cli import main
from jasco_pl.codec import BandCodec
from jasco_pl.compose.dataset import compose_set
from jasco_pl.errors import UserError
from jasco_pl.evaluation import Settings, best_of, evaluate, evaluate_grid, guidance_grid, load_reference, rows_of
from jasco_pl.extract import chordino
from jasco_pl.flow.solver import SolverConfig
from jasco_pl.metrics.report import Figure, Row
from jasco_pl.model import JascoModel, ModelConfig

needs_chordino = pytest.mark.skipif(not chordino.available(), reason="Chordino is not installed")


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pieces")
    compose_set(folder, 0.02, 9, "test", progress=False)
    assert len(list(folder.glob("*.json"))) >= 2
    return folder


@pytest.fixture
def settings(tiny_model_config: ModelConfig, tiny_codec_folder: Path, tiny_text_folder: Path, tmp_path: Path) -> Settings:
    """A tiny model that obeys in some way; two-second clips of two Euler steps."""
    torch.manual_seed(0)
    codec = BandCodec.from_pretrained(tiny_codec_folder)
    config = replace(tiny_model_config, text_encoder=str(tiny_text_folder), text_dim=32)
    model = JascoModel(config, codec.latent_mean, codec.latent_std, codec.normalized_codebook)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path / "model")
    return Settings(str(tmp_path / "model"), "all=1.5 text=0.5", SolverConfig("euler", steps=2), seconds=2.0)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How long every audio was, in frames, that Chordino had to listen to."""
    seen: list[int] = []
    original = heard.chordino_frames
    monkeypatch.setattr(heard, "chordino_frames", lambda wav, rate, frames: seen.append(frames) or original(wav, rate, frames))
    evaluation._jasco.cache_clear()
    yield seen
    evaluation._jasco.cache_clear()


@needs_chordino
def test_evaluation_from_pieces_to_rows_hears_every_reference_once(
    pieces: Path, settings: Settings, tmp_path: Path, calls: list[int]
) -> None:
    rows = evaluate(pieces, settings, tmp_path / "out", limit=2)
    assert [row.name for row in rows] == ["codec ceiling", "no control", "chords", "melody", "drums", "all controls"]
    ceiling, none = rows[0].figures["chroma_similarity"], rows[1].figures["chroma_similarity"]
    assert ceiling.clips == none.clips == 2
    assert 0 <= none.mean <= 1
    assert ceiling.mean > none.mean  # even a codec of random codebooks knows more of the piece than its caption does
    long, short = [frames for frames in calls if frames > 100], [frames for frames in calls if frames == 100]
    assert (len(long), len(short)) == (2, 2 + 6 * 2)  # both pieces whole and cut, once, then every clip
    folder = tmp_path / "out" / settings.key()
    assert len(list(folder.glob("*/*.flac"))) == len(list(folder.glob("*/*.json"))) == 12

    calls.clear()
    assert evaluate(pieces, settings, tmp_path / "out", limit=2) == rows
    assert calls == []
    victim = next((folder / "drums").glob("*.json"))
    expected = victim.read_text()
    victim.unlink()  # as if interrupted
    assert evaluate(pieces, settings, tmp_path / "out", limit=2) == rows
    assert len(calls) == 1
    assert victim.read_text() == expected


@needs_chordino
def test_what_is_kept_of_a_reference_is_what_was_heard(pieces: Path, tmp_path: Path, calls: list[int]) -> None:
    path = min(pieces.glob("*.json"))
    first, again = (load_reference(path, 2.0, 32000, 50.0, tmp_path) for _ in range(2))
    assert len(calls) == 2
    assert np.array_equal(first.chords, again.chords)
    assert np.array_equal(first.heard.chords, again.heard.chords)
    assert np.array_equal(first.heard.onsets, again.heard.onsets)
    assert set(first.stems) == {"mix", "drums", "drumless"}
    load_reference(path, 3.0, 32000, 50.0, tmp_path)  # another stretch of the same piece
    assert len(calls) == 3


@pytest.mark.slow
@needs_chordino
def test_the_guidance_grid_from_the_command_line(
    pieces: Path, settings: Settings, tmp_path: Path, calls: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--pieces", str(pieces), "--checkpoint", settings.checkpoint, "--limit", "2", "--seconds", "2", "--workers", "1"]
    command += ["--solver", "euler", "--steps", "1", "--guidance-grid", "-o", str(tmp_path / "out")]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert all(f"| {guidance} " in out for guidance in guidance_grid())
    assert len(calls) == 2 + 2 + 8 * 2
    report = json.loads((tmp_path / "out" / "guidance_grid.json").read_text())
    means = {
        row["name"]: np.mean([row["figures"][key]["mean"] for key in evaluation.FOLLOWING if "mean" in row["figures"][key]])
        for row in report["rows"]
    }
    best = max(means, key=means.__getitem__)
    assert report["settings"]["guidance"] == best
    assert f"Best: `{best}`, by the highest mean of chord_iou, onset_f1, melody_accuracy." in out
    assert main([*command, "--guidance", "all=1"]) == 2
    assert "leave --guidance out" in capsys.readouterr().err


def test_the_grid_needs_something_to_weigh(settings: Settings, tmp_path: Path) -> None:
    model = JascoModel(replace(JascoModel.from_pretrained(settings.checkpoint).config, controls={}))
    model.save_pretrained(tmp_path / "text-only")
    with pytest.raises(UserError, match="weighs local controls against the text"):
        evaluate_grid(tmp_path, replace(settings, checkpoint=str(tmp_path / "text-only")), tmp_path / "out")


def test_the_best_follows_most() -> None:
    def row(name: str, *means: float) -> Row:
        return Row(name, {key: Figure(mean, mean, mean, 1) for key, mean in zip(evaluation.FOLLOWING, means, strict=True)})

    rows = [row("a", 0.2, 0.5, 0.5), row("b", 0.6, 0.5, 0.4), row("c", 0.9, 0.3, 0.3)]
    assert best_of(rows).name == "b"
    assert best_of([*rows, row("d", 0.7, float("nan"), 0.7)]).name == "d"


def test_painting_is_no_row() -> None:
    assert list(rows_of(["chords", "painting"])) == ["codec ceiling", "no control", "chords"]
    assert rows_of(["chords", "melody", "painting"])["all controls"] == ("chords", "melody")
