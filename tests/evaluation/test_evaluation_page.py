"""The page of an evaluation in a real browser, from composed pieces heard by the real extractors."""

from __future__ import annotations

import copy
import json
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_reader import PageReader, read_page

from jasco_pl.audio.files import write_audio
from jasco_pl.codec import BandCodec
from jasco_pl.compose import compose_set
from jasco_pl.evaluation.measure import asked_lanes, heard_lanes, measure
from jasco_pl.evaluation.page import write_page
from jasco_pl.evaluation.references import ComposedPieces
from jasco_pl.extract.heard import Heard
from jasco_pl.metrics.report import Figure
from jasco_pl.pages.lanes import RIGHT
from jasco_pl.system.errors import UserError

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on the PATH to open the page with")
HOSTILE = "a</script><img src=x onerror=alert(1)> & \"b\" 'c' <!-- é"
KEYS = {"chord_iou": True, "onset_f1": True, "chroma_similarity": True}
ROWS = {"itself": ("chords", "melody", "drums"), "of another": ("chords",), "silence": ()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_codec_folder: Path) -> tuple[Path, dict[str, Any]]:
    """A folder with audio, and results of three rows: each piece as its own answer, the next piece's music as its answer, and silence."""
    folder = tmp_path_factory.mktemp("evaluation")
    compose_set(folder / "pieces", 0.03, 4, "test", progress=False)
    source, codec = ComposedPieces(folder / "pieces"), BandCodec.from_pretrained(tiny_codec_folder)
    pieces = [source.reference(name, 5.0, codec, folder / "cache") for name in source.ids[:3]]
    rows, references = [], {}
    for piece in pieces:
        write_audio(folder / "references" / f"{piece.id}.flac", piece.audio, piece.sample_rate)
        references[piece.id] = {"audio": f"references/{piece.id}.flac", "heard": heard_lanes(piece.heard, piece)}
    for name, given in ROWS.items():
        clips = []
        for number, piece in enumerate(pieces):
            audio = {"itself": piece.audio, "of another": pieces[number - 1].audio, "silence": 0 * piece.audio}[name]
            write_audio(folder / "clips" / name / f"{piece.id}.flac", audio, piece.sample_rate)
            heard = Heard(audio, piece.sample_rate)
            figures = {key: value for key, value in measure(heard, piece).items() if key in KEYS}
            clips.append(
                {
                    "id": piece.id,
                    "caption": HOSTILE if number == 1 else piece.caption,
                    "audio": f"clips/{name}/{piece.id}.flac",
                    "seconds": 5.0,
                    "figures": {key: None if math.isnan(value) else value for key, value in figures.items()},
                    "asked": asked_lanes(piece, given),
                    "heard": heard_lanes(heard, piece),
                }
            )
        counted = {key: Figure.of([clip["figures"][key] if clip["figures"][key] is not None else np.nan for clip in clips]) for key in KEYS}
        kept = {key: {"mean": one.mean, "low": one.low, "high": one.high, "count": one.clips} for key, one in counted.items()}
        kept["fad"] = {"mean": None, "low": None, "high": None, "count": 0, "missing": "the weights are <not> here"}
        rows.append({"name": name, "ceiling": name == "itself", "given": list(given), "figures": kept, "clips": clips})
    columns = [{"key": key, "title": key.replace("_", " "), "digits": 3, "higher_is_better": up, "per": "clip"} for key, up in KEYS.items()]
    columns.append({"key": "fad", "title": "FAD", "digits": 2, "higher_is_better": False, "per": "set", "group": "Sound"})
    settings = {"guidance": "all=3", "matrix": [{"seed": 0}]}
    results = {"title": "T & <T>", "settings": settings, "columns": columns, "rows": rows, "references": references, "notes": ["a < b"]}
    return folder, json.loads(json.dumps(results))


def opened(page: Path, fragment: str, tmp_path: Path, script: str = "") -> PageReader:
    """The page as it stands after its script, and `script` after it, have run."""
    text = page.read_text(encoding="utf-8")
    shown = page.with_name("shown.html")
    shown.write_text(text.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={tmp_path / 'profile'}"]
    quick = ["--virtual-time-budget=2000", "--window-size=1000,900", "--disable-background-networking", "--disable-component-update"]
    assert CHROMIUM
    command = [CHROMIUM, *options, *quick, "--dump-dom", f"{shown.as_uri()}#{fragment}"]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert dom.startswith("<!DOCTYPE html>")
    return read_page(dom)


def ids(seen: PageReader) -> list[str | None]:
    return [article["data-id"] for article in seen.find("article")]


def test_the_table_stands_in_the_file(made: tuple[Path, dict[str, Any]]) -> None:
    folder, results = made
    path = write_page(folder, results)
    assert path == folder / "index.html"
    text = path.read_text(encoding="utf-8")
    seen = read_page(text)
    assert seen.text("title") == seen.text("h1") == "T & <T>"
    assert not re.search(r"https?:|url\((?!#)|@import|src=.?//", text)
    assert sum(tag == "table" for tag in seen.order) == 2  # a group of columns is a table of its own
    for row in results["rows"]:
        figure = row["figures"]["chroma_similarity"]
        assert f"{figure['mean']:.3f}" in text
        assert f"{figure['low']:.3f}–{figure['high']:.3f} · 3" in text
    assert '<li id="reason-1">the weights are &lt;not&gt; here</li>' in text
    assert text.count('<li id="reason-') == 1
    best = [row["figures"]["chroma_similarity"]["mean"] for row in results["rows"] if row["name"] != "itself"]
    marked = [seen.texts[place] for place, tag in enumerate(seen.order) if tag == "b"]
    assert f"{max(best):.3f}" in marked
    assert "1.000" not in marked  # the ceiling takes no part
    data = json.loads(next(seen.texts[place] for place, tag in enumerate(seen.order) if seen.attributes[place].get("id") == "data"))
    assert [row["name"] for row in data["rows"]] == list(ROWS)
    assert HOSTILE in [piece["caption"] for piece in data["pieces"].values()]


def test_clips_that_gave_nothing_are_set_against_what_the_piece_has(made: tuple[Path, dict[str, Any]]) -> None:
    folder, results = made
    seen = read_page(write_page(folder, results).read_text(encoding="utf-8"))
    data = json.loads(next(seen.texts[place] for place, tag in enumerate(seen.order) if seen.attributes[place].get("id") == "data"))
    for own, silent in zip(data["rows"][0]["clips"], data["rows"][2]["clips"], strict=True):
        assert own["given"]
        assert silent["given"] == []
        assert silent["lanes"]["chords"]["asked"] == own["lanes"]["chords"]["asked"]
        assert {verdict for _, verdict in own["lanes"]["dynamics"]["heard"]} == {RIGHT}  # what is heard in the piece itself
        assert {verdict for _, verdict in own["lanes"].get("onsets", {"heard": []})["heard"]} <= {RIGHT}


def test_audio_elsewhere_is_refused(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    results = copy.deepcopy(made[1])
    results["rows"][0]["clips"][0]["audio"] = "/tmp/clip.flac"
    with pytest.raises(UserError, match=r"/tmp/clip\.flac"):
        write_page(tmp_path, results)
    assert not list(tmp_path.iterdir())


@needs_browser
def test_rows_of_a_piece_stand_beside_each_other_worst_first(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, results = made
    seen = opened(write_page(folder, results), "row=all&sort=chroma_similarity", tmp_path)
    values = {
        clip["id"]: np.mean([row["clips"][number]["figures"]["chroma_similarity"] for row in results["rows"]])
        for number, clip in enumerate(results["rows"][0]["clips"])
    }
    assert ids(seen) == sorted(values, key=lambda name: values[name])
    names = [seen.texts[place] for place, tag in enumerate(seen.order) if tag == "strong"]
    assert names == ["reference", *ROWS] * 3
    assert HOSTILE in [seen.texts[place] for place, tag in enumerate(seen.order) if tag == "h3"]
    assert not seen.find("article img")
    assert seen.find("article svg rect")  # what is near the window was drawn
    assert "asked" in {path["class"] for path in seen.find("article path")}  # levels
    assert "v1" in {kind for box in seen.find("article rect") for kind in (box["class"] or "").split()}
    drawn = sum(attributes.get("role") == "img" for attributes in seen.find("article svg"))
    assert drawn <= len(names)


@needs_browser
def test_one_row_is_sorted_found_in_and_played_by_keys(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, results = made
    page = write_page(folder, results)
    row = results["rows"][1]
    by_figure = sorted(row["clips"], key=lambda clip: -clip["figures"]["chroma_similarity"])
    press = "for (const key of ['ArrowDown', 'ArrowDown', 'ArrowUp', 'ArrowDown', 'r']) document.body.dispatchEvent("
    press += "new KeyboardEvent('keydown', { key, bubbles: true }));"
    seen = opened(page, "row=of+another&sort=chroma_similarity&best=1", tmp_path, press)
    assert ids(seen) == [clip["id"] for clip in by_figure]
    current = [place for place, attributes in enumerate(seen.attributes) if "current" in (attributes.get("class") or "").split()]
    assert [seen.attributes[parent].get("data-id") for parent in seen.parents[current[0]]][-1] == by_figure[1]["id"]
    assert seen.find("audio")[0]["src"] == f"references/{by_figure[1]['id']}.flac"
    assert seen.find("audio")[0]["preload"] == "none"
    assert {attributes["data-column"]: attributes["aria-pressed"] for attributes in seen.find("button") if "data-column" in attributes} == {
        str(number): str(key == "chroma_similarity").lower() for number, key in enumerate(KEYS)
    }
    found = opened(page, "row=of+another&find=ONERROR%20alert", tmp_path)
    assert ids(found) == [results["rows"][0]["clips"][1]["id"]]
    first = opened(page, "", tmp_path)  # without a choice: the row that is given most
    assert ids(first) == [clip["id"] for clip in row["clips"]]
    shown = [
        first.texts[place]
        for place, tag in enumerate(first.order)
        if tag == "b" and "article" in {first.order[up] for up in first.parents[place]}
    ]
    assert shown.count("1.000") >= len(row["clips"])
