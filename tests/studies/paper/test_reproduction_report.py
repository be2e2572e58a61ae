from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

from jasco_pl.studies.paper.plan import CLAIMS, EXPERIMENTS
from jasco_pl.studies.paper.report import draw, markdown, write_page
from jasco_pl.studies.paper.results import Reproduction, Scores, write_figures


def test_the_page_with_everything(reproduction: Callable[..., Reproduction], made_up: Callable[..., Scores], tmp_path: Path) -> None:
    scores = {name: made_up() for name in EXPERIMENTS} | {"chords": made_up(chord_iou=0.6), "zero_convolution": made_up(chord_iou=0.7)}
    found = reproduction(scores)
    text = write_page(found, tmp_path / "docs" / "page.md", tmp_path / "docs" / "images" / "page.png", "jasco reproduce --steps 7")
    assert (tmp_path / "docs" / "page.md").read_text() == text
    assert "`jasco reproduce --steps 7`" in text
    assert "](images/page.png)" in text
    assert "300 steps of 8 crops of 5 s (2,400 crops)" in text
    assert "not run yet" not in text
    assert "- **agrees**: chords raise chord IoU. chord IoU 0.5" in text
    assert "- **does not reproduce**: concatenation follows chords better than zero convolution. chord IoU 0.294 against 0.694" in text
    assert "- **undecided at this budget**: drums raise onset F1." in text
    assert "Paper: 0.59 / 0.61 against 0.09 / 0.07." in text
    assert text.count("no weights of CLAP are here.") == 1  # one footnote for all cells
    assert sum(text.count(f"- **{outcome}**") for outcome in ("agrees", "does not reproduce", "undecided at this budget")) == len(CLAIMS)


def test_what_is_missing_is_said(reproduction: Callable[..., Reproduction], made_up: Callable[..., Scores]) -> None:
    found = reproduction({"text_only": made_up(), "chords": made_up(chord_iou=0.6)})
    text = markdown(found, None, "jasco reproduce")
    rows = [line for line in text.splitlines() if line.startswith("| drums ")]
    assert rows
    assert all("not run yet" in row for row in rows)
    assert "- **not run yet**: drums raise onset F1. Paper: 0.62 / 0.73 against 0.34 / 0.41." in text
    assert "- **agrees**: chords raise chord IoU." in text
    assert "![" not in text
    assert "not run yet" in markdown(reproduction({}), None, "jasco reproduce")


def test_several_seeds_show_their_range(reproduction: Callable[..., Reproduction], made_up: Callable[..., Scores]) -> None:
    scores = made_up(seeds=2)
    text = markdown(reproduction({"text_only": scores}), None, "jasco reproduce")
    low, high = sorted(scores.by_seed("onset_f1"))
    assert f"({low:.3f}–{high:.3f})" in text


def test_files_for_programs_and_the_picture(
    reproduction: Callable[..., Reproduction], made_up: Callable[..., Scores], tmp_path: Path
) -> None:
    found = reproduction({"text_only": made_up(), "chords": made_up(chord_iou=0.6)})
    write_figures(found)
    data = json.loads((tmp_path / "reproduction.json").read_text())
    assert "NaN" not in (tmp_path / "reproduction.json").read_text()
    assert {entry["outcome"] for entry in data["findings"]} >= {"agrees", "not run yet"}
    lines = list(csv.DictReader((tmp_path / "reproduction.csv").open()))
    chords = next(line for line in lines if (line["experiment"], line["column"]) == ("chords", "chord IoU"))
    assert 0.5 < float(chords["low"]) < float(chords["mean"]) < float(chords["high"]) < 0.7
    assert (chords["paper_musiccaps"], chords["paper_internal"]) == ("0.59", "0.61")
    draw(found, tmp_path / "bars.png")
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")
