"""The row of texts by section: which pieces it has, what its clips are told, and that other rows do not change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from jasco_pl.compose.pieces import place
from jasco_pl.evaluation import clips as module
from jasco_pl.evaluation.engine import evaluate
from jasco_pl.evaluation.references import PURPOSE, ComposedPieces, PreparedSet
from jasco_pl.evaluation.report import write_results
from jasco_pl.evaluation.settings import FORM, Settings, chosen_rows, rows_of
from jasco_pl.generation.jasco import Jasco
from jasco_pl.prepare.composed import build_shards


@pytest.fixture
def sectioned(pieces: Path, tmp_path: Path) -> Path:
    """Two composed pieces, one of which is told half a second into its stretch and again just before the end of the piece."""
    folder = tmp_path / "sectioned"
    folder.mkdir()
    for path in sorted(pieces.glob("*.json"))[:2]:
        for file in pieces.glob(f"{path.stem}.*"):
            shutil.copy(file, folder / file.name)
    path = sorted(folder.glob("*.json"))[0]
    start = start_of(folder, path.stem)
    note = json.loads(path.read_text())
    parts = [
        {"start": 0.0, "name": "A", "captions": ["organ", "soft hammond organ"]},
        {"start": start + 0.5, "captions": ["full band", "b"]},
    ]
    path.write_text(json.dumps({**note, "sections": [*parts, {"start": note["duration"] - 0.1, "captions": []}]}))
    return folder


def start_of(folder: Path, name: str) -> float:
    """Where a stretch of two seconds begins."""
    return place(name, ComposedPieces(folder).length(name, 50.0), 100, 2.0, PURPOSE) / 50.0


def test_rows_by_name() -> None:
    assert list(rows_of(["chords"]))[:3] == ["codec ceiling", "no control", FORM]
    assert chosen_rows(["form"], []) == {FORM: ()}


def test_clips_are_told_by_section_and_no_other_row_changes(
    sectioned: Path, pieces: Path, tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    conditions = Jasco.conditions
    monkeypatch.setattr(Jasco, "conditions", lambda self, texts, *rest: asked.extend(texts) or conditions(self, texts, *rest))
    source = ComposedPieces(sectioned)
    changing, plain = source.ids
    assert source.told(plain, 2.0, 50.0) == []
    told = source.told(changing, 2.0, 50.0)
    assert [(round(part.start, 2), round(part.end or 0, 2), part.text) for part in told] == [
        (0, told[1].start, "soft hammond organ"),
        (told[1].start, 2, "full band"),
    ]
    assert 0.5 <= told[1].start < 0.52
    results = evaluate(source, [tiny_settings], tmp_path / "out", rows=["none", "form"])
    none, form = results.rows
    assert (none.name, form.name, form.given) == ("no control", FORM, ())
    assert [clip["id"] for clip in form.measured.clips] == [changing]
    assert [clip["id"] for clip in none.measured.clips] == [changing, plain]
    assert told in asked
    assert len(asked) == 3
    asked.clear()
    evaluate(source, [tiny_settings], tmp_path / "out", rows=["none", "form"])
    assert asked == []
    text = write_results(results, tmp_path / "out", title="t")
    assert "It holds the 1 of 2 pieces whose stretch has more than one" in text
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert ["told" in clip for row in rows for clip in row["clips"]] == [False, False, True]
    assert rows[1]["clips"][0]["told"] == [list(part) for part in told]
    assert rows[1]["clips"][0]["caption"] == f"0-{told[1].start:g}: soft hammond organ; {told[1].start:g}-2: full band"
    note = json.loads((sectioned / f"{changing}.json").read_text())
    note["sections"][1]["captions"] = ["a loud full band"]
    (sectioned / f"{changing}.json").write_text(json.dumps(note))
    evaluate(source, [tiny_settings], tmp_path / "out", rows=["none", "form"])
    assert [part.text for told in asked for part in told] == ["soft hammond organ", "a loud full band"]  # type: ignore[attr-defined]
    module.load_jasco.cache_clear()


def test_a_set_without_sections_has_no_such_row(pieces: Path, tiny_settings: Settings, tmp_path: Path) -> None:
    results = evaluate(ComposedPieces(pieces), [tiny_settings], tmp_path / "out", rows=["none", "form"], limit=1)
    assert [row.name for row in results.rows] == ["no control"]
    assert any(note.startswith(f"The row {FORM} was left out") for note in results.notes)
    module.load_jasco.cache_clear()


def test_a_prepared_set_tells_the_same(sectioned: Path, tiny_codec_folder: Path, tmp_path: Path) -> None:
    build_shards(sectioned, tmp_path / "shards", str(tiny_codec_folder))
    source, same = PreparedSet(tmp_path / "shards"), ComposedPieces(sectioned)
    for name in source.ids:
        assert source.length(name, 50.0) - same.length(name, 50.0) in (0, 1)  # a last frame that is not whole
    parts = source.sections(source.ids[0])
    assert [text for _, text in parts] == ["soft hammond organ", "full band", ""]
    assert parts[1][0] - same.sections(source.ids[0])[1][0] < 0.02
