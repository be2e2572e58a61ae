from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from torch import Tensor

from jasco_pl.cli import main
from jasco_pl.evaluation.clips import read_arrays
from jasco_pl.evaluation.engine import ResultRow, Results, best_of, evaluate, grid_of, rule_of
from jasco_pl.evaluation.pretrained import Listeners
from jasco_pl.evaluation.references import ComposedPieces
from jasco_pl.evaluation.report import figure_as_json, row_names
from jasco_pl.evaluation.settings import MIDDLE, PAINTED, Settings, guidance_grid
from jasco_pl.evaluation.table import Measured
from jasco_pl.extract import chordino
from jasco_pl.metrics.report import Figure
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import JascoModel
from jasco_pl.system.errors import UserError

needs_chordino = pytest.mark.skipif(not chordino.available(), reason="Chordino is not installed")
ROWS = ["codec ceiling", "no control", "chords", "melody", "drums", "all controls", "painting", PAINTED, MIDDLE]


@needs_chordino
def test_from_pieces_to_rows_hearing_every_reference_once(pieces: Path, tiny_settings: Settings, tmp_path: Path, calls: list[int]) -> None:
    source, out = ComposedPieces(pieces), tmp_path / "out"
    results = evaluate(source, [tiny_settings], out, limit=2)
    assert [row.name for row in results.rows] == ROWS
    figures = {row.name: row.figures for row in results.rows}
    ceiling, none = figures["codec ceiling"]["chroma_similarity"], figures["no control"]["chroma_similarity"]
    assert ceiling.clips == none.clips == 2
    assert 0 <= none.mean <= 1
    assert ceiling.mean > none.mean  # even a codec of random codebooks knows more of the piece than its caption does
    assert figures["drums"]["evaluations"].mean == 2 * 3  # two steps of three branches: all, text, nothing
    assert "evaluations" not in figures["codec ceiling"]
    long, short = [frames for frames in calls if frames > 100], [frames for frames in calls if frames == 100]
    assert (len(long), len(short)) == (2, 2 + len(ROWS) * 2)  # both pieces whole and cut, once, then every clip but those with other audio
    folder = out / tiny_settings.key() / "pieces"
    made = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("*/*.flac")}
    assert made == {path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("*/*.json")}
    assert len(made) == 2 * (len(ROWS) + 2)  # drums and all controls once more with the drums of the other piece
    other = json.loads(next((folder / "drums-other-audio").glob("*.json")).read_text())
    assert other["other"] != other["id"]
    assert "figures" not in other

    calls.clear()
    assert plain(evaluate(source, [tiny_settings], out, limit=2)) == plain(results)
    assert calls == []
    victim = next((folder / "drums").glob("*.json"))
    expected = json.loads(victim.read_text())
    victim.unlink()  # as if interrupted
    evaluate(source, [tiny_settings], out, limit=2)
    assert len(calls) == 1
    found = json.loads(victim.read_text())  # made alone, and in a batch before: the same to rounding, not to the bit
    assert found.pop("figures") == pytest.approx(expected.pop("figures"), abs=1e-5)
    assert {**found, "cost": expected["cost"], "heard": expected["heard"]} == expected


def plain(results: Results) -> list[dict[str, Any]]:
    """Figures without NaN, which equals nothing."""
    return [{key: figure_as_json(figure) for key, figure in row.figures.items()} for row in results.rows]


class Deaf(Listeners):
    """Networks that hear how loud a clip is, and count how often they are asked."""

    asked: ClassVar[list[str]] = []

    def hear(self, audio: Tensor, sample_rate: int, caption: str) -> dict[str, np.ndarray]:
        self.asked.append(caption)
        level = float(audio.square().mean().sqrt())
        labels = np.array([level, 1 - level], dtype=np.float32)
        return {"musicnn": np.full((3, 200), level, dtype=np.float32), "musicnn labels": labels}


@needs_chordino
def test_more_ears_hear_again_without_making_again(pieces: Path, tiny_settings: Settings, tmp_path: Path) -> None:
    source = ComposedPieces(pieces)
    first = evaluate(source, [tiny_settings], tmp_path, rows=["none", "drums"], limit=2)
    clips = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/pieces/*/*.flac")}
    assert len(clips) == 3 * 2
    assert "kl_musicnn" not in {key for key, figure in first.rows[0].figures.items() if not figure.missing}
    Deaf.asked.clear()
    second = evaluate(
        source, [tiny_settings], tmp_path, rows=["none", "drums"], limit=2, listeners=Deaf({"musicnn": "musicnn"}), allow_few=True
    )
    assert {path: path.stat().st_mtime_ns for path in clips} == clips
    assert len(Deaf.asked) == 2 + 3 * 2  # both references, then every clip
    none, drums = second.rows
    assert none.figures["chord_iou"] == first.rows[0].figures["chord_iou"]
    assert none.figures["frechet_musicnn"].clips == 2 * 3
    # the divergence of a row that gives audio is of clips with other audio, so that its own clips do not claim it
    assert drums.figures["kl_musicnn"].clips == 2
    assert all(clip["figures"]["kl_musicnn"] is None for clip in drums.measured.clips)
    assert all(clip["figures"]["kl_musicnn"] is not None for clip in none.measured.clips)
    with_other = [np.load(path) for path in tmp_path.glob("*/pieces/drums-other-audio/*.npz")]
    levels = [float(found["musicnn labels"][0]) for found in with_other]
    own = [float(np.load(path)["musicnn labels"][0]) for path in sorted(tmp_path.glob("*/pieces/drums/*.npz"))]
    assert sorted(levels) != sorted(own)


@needs_chordino
def test_damaged_embeddings_are_one_sentence(tmp_path: Path) -> None:
    assert read_arrays(tmp_path / "none.npz") == {}
    np.savez(tmp_path / "whole.npz", sound=np.arange(9.0))
    whole = (tmp_path / "whole.npz").read_bytes()
    np.savez(tmp_path / "objects.npz", sound=np.array([{}]))
    flipped = bytearray(whole)
    flipped[-150] ^= 1
    damages = {"empty": b"", "half": whole[: len(whole) // 2], "pickle": b"\x80\x04N.", "flipped": bytes(flipped), "none": b"x" * 300}
    for name, content in damages.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
    for name in (*damages, "objects"):
        with pytest.raises(UserError, match=rf"{name}\.npz' is damaged: take it [^\n]*\.$"):
            read_arrays(tmp_path / f"{name}.npz")
    assert read_arrays(tmp_path / "whole.npz")["sound"].tolist() == list(range(9))


def test_a_matrix_makes_the_ceiling_once_and_names_what_varies(pieces: Path, tiny_settings: Settings, tmp_path: Path) -> None:
    matrix = [
        tiny_settings,
        replace(tiny_settings, guidance="all=1"),
        replace(tiny_settings, solver=SolverConfig("heun", steps=1, times="uniform")),
    ]
    results = evaluate(ComposedPieces(pieces), matrix, tmp_path, rows=["ceiling", "none", "chords+melody"], limit=1)
    assert row_names(results.rows) == [
        "codec ceiling",
        "no control · all=1.5 text=0.5 · euler 2",
        "chords+melody · all=1.5 text=0.5 · euler 2",
        "no control · all=1 · euler 2",
        "chords+melody · all=1 · euler 2",
        "no control · all=1.5 text=0.5 · heun 1",
        "chords+melody · all=1.5 text=0.5 · heun 1",
    ]
    assert [row.figures["evaluations"].mean for row in results.rows[1:]] == [6, 6, 2, 2, 6, 6]


@needs_chordino
def test_what_a_page_needs_is_written(pieces: Path, tiny_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = ["evaluate", "--pieces", str(pieces), "--checkpoint", tiny_settings.checkpoint, "--limit", "2", "--seconds", "2"]
    command += ["--workers", "1", "--solver", "euler", "--steps", "1", "--rows", "ceiling", "chords", "painting", "--salience", "none"]
    assert main([*command, "-o", str(out)]) == 0
    text = (out / "report.md").read_text()
    assert text in capsys.readouterr().out
    assert "FD[musicnn] needs at least 201 embeddings" in text or "musicnn are not installed" in text or "too short for musicnn" in text
    assert "deep salience was left out" in text
    assert "only what lies between is measured" in text
    results = json.loads((out / "results.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    keys = {column["key"]: column["per"] for column in results["columns"]}
    assert keys["chord_iou"] == "clip"
    assert keys["frechet_musicnn"] == "set"
    assert [row["name"] for row in results["rows"]] == ["codec ceiling", "chords", "painting"]
    for row in results["rows"]:
        assert set(row["figures"]) <= set(keys)
        for clip in row["clips"]:
            assert (out / clip["audio"]).is_file()
            assert (out / results["references"][clip["id"]]["audio"]).is_file()
            assert {"chords", "melody", "onsets"} <= set(clip["heard"])
    chords = results["rows"][1]["clips"][0]["asked"]["chords"]
    assert chords[0][1] == 0.0
    assert results["rows"][2]["clips"][0]["asked"]["chords"] == []
    lines = list(csv.DictReader((out / "report.csv").open()))
    assert [line["row"] for line in lines] == ["codec ceiling", "chords", "painting"]
    assert float(lines[1]["evaluations"]) == results["rows"][1]["figures"]["evaluations"]["mean"]
    assert len(list(csv.DictReader((out / "clips.csv").open()))) == 3 * 2


@pytest.mark.slow
@needs_chordino
def test_a_killed_run_goes_on_and_leaves_no_process(pieces: Path, tiny_settings: Settings, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jasco_pl.cli", "evaluate", "--pieces", str(pieces), "--checkpoint", tiny_settings.checkpoint]
    command += ["--limit", "2", "--seconds", "2", "--workers", "2", "--solver", "euler", "--steps", "2", "--salience", "none"]
    killed = subprocess.Popen([*command, "-o", str(tmp_path / "out")], start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list((tmp_path / "out").glob("*/pieces/*/*.json")):
        assert time.monotonic() < deadline
        assert killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    deadline = time.monotonic() + 60
    while subprocess.run(["pgrep", "-g", str(killed.pid)], stdout=subprocess.DEVNULL).returncode == 0:  # its workers end too
        assert time.monotonic() < deadline
        time.sleep(0.1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/pieces/*/*.json")}
    assert 0 < len(before) < 2 * 9
    assert all(json.loads(path.read_text()) for path in before)
    subprocess.run([*command, "-o", str(tmp_path / "out")], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    subprocess.run([*command, "-o", str(tmp_path / "whole")], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    costs = ("real_time_factor",)
    interrupted, whole = (
        [
            {key: value for key, value in row["figures"].items() if key not in costs}
            for row in json.loads((tmp_path / name / "results.json").read_text())["rows"]
        ]
        for name in ("out", "whole")
    )
    assert interrupted == whole


@pytest.mark.slow
@needs_chordino
def test_the_guidance_grid_from_the_command_line(
    pieces: Path, tiny_settings: Settings, tmp_path: Path, calls: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "evaluate",
        "--pieces",
        str(pieces),
        "--checkpoint",
        tiny_settings.checkpoint,
        "--limit",
        "2",
        "--seconds",
        "2",
        "--workers",
        "1",
    ]
    command += ["--solver", "euler", "--steps", "1", "--guidance-grid", "-o", str(tmp_path / "out")]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert all(f"| {guidance} " in out for guidance in guidance_grid())
    assert len(calls) == 2 + 2 + 8 * 2
    report = json.loads((tmp_path / "out" / "results.json").read_text())
    means = {
        row["name"]: np.mean([row["figures"][key]["mean"] for key in report["settings"]["rule"] if row["figures"][key]["mean"] is not None])
        for row in report["rows"]
    }
    best = max(means, key=means.__getitem__)
    assert report["settings"]["best"] == best
    rule = ", ".join(report["settings"]["rule"])
    assert f"Best: `{best}`, by the highest mean of {rule}." in out
    assert main([*command, "--guidance", "all=1"]) == 2
    assert "leave --guidance, --rows and --audio out" in capsys.readouterr().err


def test_the_grid_needs_something_to_weigh(tiny_settings: Settings, tmp_path: Path) -> None:
    model = JascoModel(replace(JascoModel.from_pretrained(tiny_settings.checkpoint).config, controls={}))
    model.save_pretrained(tmp_path / "text-only")
    with pytest.raises(UserError, match="weighs local controls against the text"):
        grid_of([replace(tiny_settings, checkpoint=str(tmp_path / "text-only"))])


def test_the_best_follows_most(tiny_settings: Settings) -> None:
    def row(name: str, *means: float) -> ResultRow:
        figures = {key: Figure(mean, mean, mean, 1) for key, mean in zip(main, means, strict=True)}
        figures["beat_f1"] = Figure(1 - means[0], 0, 1, 1)  # not given: it says nothing
        return ResultRow(name, tiny_settings, given, SimpleNamespace(), Measured(figures, []))

    given, main = ("chords", "mix", "drums", "melody"), ["chord_iou", "onset_f1", "melody_accuracy"]
    rows = [row("a", 0.2, 0.5, 0.5), row("b", 0.6, 0.5, 0.4), row("c", 0.9, 0.3, 0.3)]
    assert rule_of(rows[0]) == main
    assert best_of(rows).name == "b"
    assert best_of([*rows, row("d", 0.7, float("nan"), 0.7)]).name == "d"


def test_without_chordino_the_rest_is_measured(
    pieces: Path, tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chordino, "available", lambda: False)
    results = evaluate(ComposedPieces(pieces), [tiny_settings], tmp_path, rows=["chords"], limit=1)
    figures = results.rows[0].figures
    assert "Chordino is not installed" in (figures["chord_iou"].missing or "")
    assert figures["chroma_similarity"].clips == 1
    assert results.rows[0].measured.clips[0]["asked"]["chords"]  # as composed
