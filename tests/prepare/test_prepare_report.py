from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from jasco_pl.prepare.report import PAGE, REPORT, summarise, write_report
from jasco_pl.prepare.report_page import bars
from jasco_pl.prepare.rules import Rejected

VOID = {"meta", "link", "img", "br", "line", "rect"}


class Checker(HTMLParser):
    """Elements must close in order, and nothing may come from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.titles = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not [value for name, value in attrs if name in ("src", "href") and not str(value).startswith("data:")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def checked(page: str) -> str:
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    return " ".join(" ".join(checker.text).split())


def record(name: str, seconds: float = 60.0, **known: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"name": name, "id": name, "hash": "h", "seconds": seconds, "source_rate": 44100, "channels": 2, "peak": 0.9}
    base |= {"loudness": None, "tempo": None, "key": None, "chords": None, "melody_share": None, "onsets_per_second": None}
    return {**base, "stage_seconds": {}, "captions": [], **known}


RECORDS = [
    record(
        "a.wav", 1800, tempo=60.0, key="C major", loudness=-14.0, chords={"C": 1200.0, "F#m7b5/E": 300.0, "N": 300.0}, captions=["x", "y"]
    ),
    record("b/ü.flac", 3600, tempo=199.9, key="C major", melody_share=1.0, onsets_per_second=99.0, chords={"C": 300.0, "UNK": 60.0}),
    record("c.ogg", 1800, tempo=310.0, key="G# minor", melody_share=0.0, loudness=-70.0, stage_seconds={"codec": 36.0, "melody": 3600.0}),
]
REJECTED = [
    Rejected("z.mp3", "not audio", "it is <b>text</b> & no audio."),
    Rejected("y.wav", "silent", "it is silent.", 1800.0),
    Rejected("x.wav", "silent", "it is silent.", 1800.0),
]


def test_totals_and_distributions_count_what_there_is() -> None:
    report = summarise(RECORDS, REJECTED, {"stages": {}}, [{"samples": [1, 2]}, {"samples": [3]}])
    assert report["totals"] == {
        "hours_found": 3.0,
        "hours_kept": 2.0,
        "hours_rejected": 1.0,
        "tracks": 3,
        "rejected": 3,
        "samples": 3,
        "shards": 2,
        "captions": 2,
        "tracks_without_captions": 2,
    }
    assert report["speed"]["codec"] == {"wall_seconds": 36.0, "music_seconds": 1800, "x_real_time": 50.0}
    assert report["speed"]["melody"]["x_real_time"] == 0.5
    assert report["key"] == {"C major": 2, "G# minor": 1}
    assert report["chords"]["roots"]["C"] == 1500.0
    assert report["chords"]["roots"]["F#"] == 300.0
    assert report["chords"]["types"]["m7b5/b7"] == 300.0
    assert sum(report["chords"]["types"].values()) == sum(report["chords"]["roots"].values()) == 1800.0
    assert report["chords"]["none"] == 360.0
    assert report["rejections"]["by_reason"] == {"silent": 2, "not audio": 1}
    assert [one["name"] for one in report["rejections"]["files"]] == ["z.mp3", "x.wav", "y.wav"]


@pytest.mark.parametrize(
    ("figure", "bins"),
    [
        ("tempo", {(60, 70): 1, (190, 200): 1, (200, None): 1}),
        ("loudness", {(None, -40): 1, (-14, -12): 1}),
        ("melody_share", {(0.0, 0.1): 1, (0.9, 1.0): 1}),
        ("onsets_per_second", {(10, None): 1}),
        ("duration", {(1200, 3600): 2, (3600, None): 1}),
    ],
)
def test_values_fall_into_half_open_bins(figure: str, bins: dict[tuple[float | None, float | None], int]) -> None:
    found = summarise(RECORDS, [], {})[figure]
    edges = found["edges"]
    assert {(edges[n], edges[n + 1]): count for n, count in enumerate(found["counts"]) if count} == bins
    assert sum(found["counts"]) == found["measured"]


def test_both_files_are_written_and_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text(json.dumps({"shards": [{"samples": [{}, {}]}]}))
    report = write_report(tmp_path, RECORDS, REJECTED, {"stages": {"codec": "</script><b>"}})
    assert json.loads((tmp_path / REPORT).read_text()) == report
    assert report["totals"]["samples"] == 2
    text = checked((tmp_path / PAGE).read_text())
    assert "2.0 h of music of 3.0 h found" in text
    assert "it is <b>text</b> & no audio." in text  # as text, not as an element
    assert "ü.flac" in text
    assert "50.0" in text
    assert not list(tmp_path.glob("*.part*"))


def test_an_empty_and_an_unmeasured_set_have_a_page(tmp_path: Path) -> None:
    for records, rejected in (([], []), ([], REJECTED), ([record("a.wav")], [])):
        write_report(tmp_path, records, rejected, {})
        text = checked((tmp_path / PAGE).read_text())
        assert "not measured" in text


def test_a_large_set_keeps_a_small_page(tmp_path: Path) -> None:
    records = [record(f"{number:05d}.wav", captions=["words " * 20]) for number in range(5000)]
    rejected = [Rejected(f"{number}.mp3", "duplicate", "it has the same content as 'a'.") for number in range(3000)]
    report = write_report(tmp_path, records, rejected, {})
    assert len(report["rejections"]["files"]) == 3000
    assert (tmp_path / PAGE).stat().st_size < 400_000
    text = checked((tmp_path / PAGE).read_text())
    assert "3,000 duplicate (the first 300; rejected.jsonl names all)" in text
    assert "300 of 5,000 recordings" in text


def test_bars_are_in_proportion_and_named() -> None:
    chart = bars(["a", ""], [[2.0, 1.0, 0.0]], describe=[["two", "one", "nothing"]])
    first, second = chart["bars"]
    assert float(first["height"]) == pytest.approx(2 * float(second["height"]), abs=0.2)
    assert (first["said"], second["said"]) == ("two", "one")
    assert [label["text"] for label in chart["labels"]] == ["a"]
