from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from jasco_pl.metrics.report import Column, Figure, Row, markdown_table, write_report
from jasco_pl.system.errors import UserError

COLUMNS = [Column("iou", "Chord IoU", higher_is_better=True), Column("fad", "FAD[vggish]", decimals=1, higher_is_better=False)]
ROWS = [
    Row("no control", {"iou": Figure(0.0371, 0.03, 0.05, 64), "fad": Figure.absent("no VGGish weights")}),
    Row("chords | drums", {"iou": Figure(0.54, 0.50, 0.58, 64), "fad": Figure.absent("no VGGish weights")}),
    Row("ceiling", {"iou": Figure.absent("Chordino is not installed")}),
]


def test_table_is_aligned_with_footnotes_shared() -> None:
    text = markdown_table(ROWS, COLUMNS, first="Condition")
    lines = text.splitlines()
    assert len({len(line) for line in lines[:5]}) == 1
    assert "Chord IoU ↑" in lines[0]
    assert "FAD[vggish] ↓" in lines[0]
    assert "0.037 ± 0.010" in lines[2]
    assert "chords \\| drums" in lines[3]
    assert "– [1]" in lines[2]
    assert "– [1]" in lines[3]
    assert "– [2]" in lines[4]
    assert lines[4].rstrip(" |").endswith("–")
    assert [line.strip() for line in lines[-2:]] == ["[1] no VGGish weights", "[2] Chordino is not installed"]


def test_one_clip_is_its_mean_alone() -> None:
    for figure in (Figure.of([0.2, math.nan]), Figure(0.2, 0.2, 0.2, 1)):  # the second as it was written once
        assert markdown_table([Row("a", {"iou": figure})], COLUMNS[:1]).splitlines()[2].split("|")[2].strip() == "0.200"
    assert math.isnan(Figure.of([0.2]).low)
    assert math.isnan(Figure.of([0.2]).high)
    distance = Figure(0.2, math.nan, math.nan, 640)
    assert "0.200 (640)" in markdown_table([Row("a", {"iou": distance})], COLUMNS[:1])


def test_figure_of_values() -> None:
    figure = Figure.of([0.2, 0.4, math.nan])
    assert figure.mean == pytest.approx(0.3)
    assert figure.clips == 2
    assert figure.low <= figure.mean <= figure.high
    assert Figure.of([math.nan]).missing


def test_report_is_written_as_markdown_and_json_beside_it(tmp_path: Path) -> None:
    text = write_report(tmp_path / "new" / "eval.md", "# Evaluation é\n", {"settings": {"seed": 0}})
    assert (tmp_path / "new" / "eval.md").read_text(encoding="utf-8") == text == "# Evaluation é\n"
    assert json.loads((tmp_path / "new" / "eval.json").read_text(encoding="utf-8")) == {"settings": {"seed": 0}}


def test_a_file_in_the_way_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_report(tmp_path / "taken" / "eval.md", "", {})
