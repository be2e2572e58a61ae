"""From files of answers to a report: damaged and foreign files are told apart, doubled answers count once."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from simulate import World, simulate

from jasco_pl.cli import main
from jasco_pl.studies.listening.study import COLUMNS, Clip, Key, Rating, Stimulus, read_ratings
from jasco_pl.system.errors import UserError

SYSTEMS = ("good", "fair", "poor")
HEADING = ",".join(COLUMNS)
LINE = "r1,v1,clip0,clip0-good,quality,61,1.000,30,2026-01-01T10:00:00Z"


@pytest.fixture
def key() -> Key:
    clips = {
        f"clip{number}": Clip(
            f"piece {number}", None, 10.0, {f"clip{number}-{system}": Stimulus(system, "x", -14.0) for system in (*SYSTEMS, "reference")}
        )
        for number in range(10)
    }
    return Key("v1", 0, ("quality",), SYSTEMS, clips)


def write(path: Path, ratings: list[Rating]) -> Path:
    lines = [HEADING]
    for one in ratings:
        lines.append(f"{one.rater},v1,{one.clip},{one.clip}-{one.system},{one.question},{one.score:g},{one.listened:.3f},60,t")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_command_reports_who_was_left_out_means_and_differences(key: Key, tmp_path: Path, capsys: pytest.CaptureFixture):
    key.save(tmp_path / "key.json")
    ratings = simulate(World(slip=0), 20, {"random": 2, "deaf": 1}, seed=4)
    for number in range(2):  # spread over two files
        half = [rating for rating in ratings if (int(rating.rater[-1]) % 2 == 0) == (number == 0)]
        write(tmp_path / f"part{number}.csv", half)
    files = [str(tmp_path / f"part{number}.csv") for number in range(2)]
    assert main(["listen", "analyse", "--key", str(tmp_path / "key.json"), *files]) == 0
    text = capsys.readouterr().out
    assert "23 raters, 3 left out, 20 counted" in text
    for rater in ("random-0", "random-1", "deaf-0"):
        assert rater in text
    for words in ("## Means", "95 %", "good - fair", "gave the reference less than 90", "Holm"):
        assert words in text
    report = json.loads((tmp_path / "analysis/report.json").read_text())
    for system, mean in {"good": 70, "fair": 55, "poor": 35}.items():
        found = report["means"]["quality"][system]
        assert found["low"] < mean < found["high"]
        assert found["ratings"] == 200
    assert report["means"]["quality"]["reference"]["mean"] > 90
    pair = next(one for one in report["differences"]["quality"] if (one["first"], one["second"]) == ("good", "fair"))
    assert pair["low"] < 15 < pair["high"]
    assert pair["p"] < 0.01
    rows = list(csv.DictReader((tmp_path / "analysis/report.csv").open()))
    assert [row["system"] for row in rows if not row["minus"]] == ["reference", "good", "fair", "poor"]
    assert len(rows) == 4 + 6
    assert float(rows[1]["mean"]) == pytest.approx(report["means"]["quality"]["good"]["mean"])
    assert main(["listen", "analyse", "--key", str(tmp_path / "key.json"), "--no-screening", "--out", str(tmp_path / "all"), *files]) == 0
    assert "23 raters, 0 left out, 23 counted" in (tmp_path / "all/report.md").read_text()


def test_nobody_left_is_an_error(key: Key, tmp_path: Path, capsys: pytest.CaptureFixture):
    key.save(tmp_path / "key.json")
    path = write(tmp_path / "a.csv", simulate(World(), 0, {"random": 2, "deaf": 1}))
    assert main(["listen", "analyse", "--key", str(tmp_path / "key.json"), str(path)]) == 2
    assert "leaves none of 3 raters (1 by 'listened', 2 by 'reference'" in capsys.readouterr().err
    assert not (tmp_path / "analysis").exists()


def test_of_a_doubled_answer_the_later_counts(key: Key, tmp_path: Path):
    later = LINE.replace("61", "75").replace("T10", "T11")
    (tmp_path / "a.csv").write_text(f"{HEADING}\n{later}\n")
    (tmp_path / "b.csv").write_text(f"\ufeff{HEADING}\r\n{LINE}\r\n\r\n{HEADING}\r\n{LINE.replace('r1,', 'r2,')}\r\n", encoding="utf-8")
    for order in (("a.csv", "b.csv"), ("b.csv", "a.csv")):
        found = read_ratings([tmp_path / name for name in order], key)
        assert [(one.rater, one.score) for one in found] == [("r1", 75), ("r2", 61)]


def test_columns_may_stand_in_another_order(key: Key, tmp_path: Path):
    lines = [",".join(reversed(line.split(","))) for line in (HEADING, LINE)]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    assert read_ratings([tmp_path / "a.csv"], key)[0].score == 61


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "are empty"),
        (HEADING, "hold no answer"),
        ("a,b\n1,2\n", "the first line must name the columns rater,version"),
        (f"{HEADING}\n{LINE[:40]}", r"line 2 has \d fields, not 9"),
        (f"{HEADING}\n{LINE.replace(',', ';')}", "line 2 has 1 fields"),
        (f'{HEADING}\n"{LINE}', "line 2: unexpected end of data"),
        (f"{HEADING}\n{LINE.replace('v1', 'v2')}", "results of another test .version 'v2'.; this key belongs to 'v1'"),
        (f"{HEADING}\n{LINE.replace('clip0-good', 'clip1-good')}", "line 2: the key knows no stimulus 'clip1-good' of a clip 'clip0'"),
        (f"{HEADING}\n{LINE.replace('clip0,', 'clipx,')}", "no stimulus 'clip0-good' of a clip 'clipx'"),
        (f"{HEADING}\n{LINE.replace('quality', 'melody')}", "asks no question 'melody', only quality"),
        (f"{HEADING}\n{LINE.replace(',61,', ',101,')}", "score is '101', where a number of 0 to 100"),
        (f"{HEADING}\n{LINE.replace(',61,', ',nan,')}", "score is 'nan'"),
        (f"{HEADING}\n{LINE.replace(',61,', ',,')}", "score is ''"),
        (f"{HEADING}\n{LINE.replace('1.000', '-1')}", "listened is '-1'"),
        (f"{HEADING}\n{LINE.replace(',30,', ',inf,')}", "seconds is 'inf', where a number of 0 or more"),
        (f"{HEADING}\n{LINE.replace('r1,', ',')}", "the rater has no name"),
    ],
)
def test_damaged_and_foreign_results(text: str, message: str, key: Key, tmp_path: Path):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_ratings([tmp_path / "a.csv"], key)


def test_results_that_are_no_text(key: Key, tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00r")
    with pytest.raises(UserError, match="not UTF-8"):
        read_ratings([tmp_path / "a.csv"], key)
    (tmp_path / "b.csv").write_bytes(f"{HEADING}\n{LINE}".encode().replace(b"quality", b"qual\0ty"))
    with pytest.raises(UserError):
        read_ratings([tmp_path / "b.csv"], key)
    with pytest.raises(UserError, match="No such file"):
        read_ratings([tmp_path / "c.csv"], key)


def test_a_key_that_is_none(key: Key, tmp_path: Path):
    path = tmp_path / "key.json"
    key.save(path)
    assert Key.load(path) == key
    for text in ("{", "[]", "{}", path.read_text().replace('"stimuli"', '"other"')):
        path.write_text(text)
        with pytest.raises(UserError, match=r"is no key of a listening test; wanted is the key\.json"):
            Key.load(path)
    with pytest.raises(UserError, match="No such file"):
        Key.load(tmp_path / "absent.json")
