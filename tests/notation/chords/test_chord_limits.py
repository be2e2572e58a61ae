"""Hostile sizes: time grows with the length alone, and what is too large is one sentence."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path

import pytest

from jasco_pl.notation.chord_text import read_chords
from jasco_pl.system.errors import UserError

LINES = {
    "list": "C G Am F ",
    "bars": "| C | G | Am | F ",
    "commas": "C G,Am F,",
    "dashes": "C-G-Am-F-",
    "beats": "C / / / ",
    "numbers": "C 4 ",
    "groups": "(C G) x2 ",
    "endings": "|: C |1 D :|2 E ",
    "brackets": "[Am] [F] ",
    "lyrics": "[Am]Hello [F]you ",
    "labels": "[Verse] C ",
    "sections": "[Verse]\nC\n[Verse]\n",
    "open": "C( ",
    "words": "Hello world\n",
    "blanks": "       ",
    "unread": "Cq7 ",
    "keys": "C in ",
}


def seconds(text: str) -> float:
    started = time.process_time()
    try:
        read_chords(text, 120.0)
    except UserError as error:
        if "\n" in str(error):
            raise
    return time.process_time() - started


@pytest.mark.parametrize("kind", LINES)
def test_ten_times_the_length_takes_no_hundred_times_the_time(kind: str) -> None:
    unit = LINES[kind]
    seconds(unit * 10)

    def grows() -> bool:
        few, many = (seconds("C G " + unit * (size // len(unit))) for size in (10_000, 100_000))
        return many >= 30 * few + 0.2

    assert not all(grows() for _ in range(3))  # a machine that others use counts their time, too


def test_a_hundred_thousand_chords_are_read() -> None:
    changes = read_chords("C G Am F " * 25_000, duration=600.0).changes
    assert len(changes) == 100_000
    assert changes[-1].label == "F"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("C " * 600_000, "1,200,000 characters long, where 1,048,576 are the most"),
        ("C\n" * 250_000, "longer than 200,000 bars"),
        ("C x199999 G x199999", "longer than 200,000 bars"),
        ("C x999999999", "a number of times from 1 to 200,000"),
        ("(" * 1000 + "C" + ")" * 1000, "expected was"),
        ("| " + "C " * 300_000 + "|", "more than 200,000"),
    ],
)
def test_too_much_is_one_sentence(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        read_chords(text, 120.0)
    assert len(str(error.value)) < 400


def test_files_that_are_too_large_or_no_files(tmp_path: Path) -> None:
    with open(tmp_path / "sparse.lab", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match="larger than 8 MiB"):
        read_chords(tmp_path / "sparse.lab")
    with pytest.raises(UserError, match="does not exist"):
        read_chords(Path("/dev/zero"))  # not a file


SCORE = (
    "<score-partwise><part><measure><harmony><root><root-step>G</root-step></root><kind>dominant</kind></harmony></measure></part>"
    "</score-partwise>"
)
CONTAINER = '<container><rootfiles><rootfile full-path="song.xml"/></rootfiles></container>'


def packed(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return out.getvalue()


def test_packed_scores(tmp_path: Path) -> None:
    path = tmp_path / "song.mxl"
    path.write_bytes(packed(**{"META-INF__container.xml": CONTAINER.encode(), "song.xml": SCORE.encode()}))
    assert [change.label for change in read_chords(path).changes] == ["G7"]
    path.write_bytes(packed(**{"song.xml": b"<score-partwise>" + b" " * (1 << 26) + b"</score-partwise>"}))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(UserError, match="larger than 32 MiB"):
        read_chords(path)
    path.write_bytes(packed(**{"readme.txt": b"nothing"}))
    with pytest.raises(UserError, match="holds no MusicXML score"):
        read_chords(path)
    path.write_bytes(packed(**{"song.xml": SCORE.encode()})[:60])
    with pytest.raises(UserError, match="damaged: it cannot be unpacked"):
        read_chords(path)


BOMB = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "ha"}">' for n in range(12))


@pytest.mark.parametrize("subset", [BOMB, '<!ENTITY x SYSTEM "file:///etc/passwd">', '<!ENTITY % x SYSTEM "http://nowhere/x.dtd">'])
def test_no_entity_of_a_score_is_expanded(tmp_path: Path, subset: str) -> None:
    path = tmp_path / "song.musicxml"
    path.write_text(f"<!DOCTYPE score-partwise [{subset}]>{SCORE}")
    with pytest.raises(UserError, match="declares entities"):
        read_chords(path)


def test_a_deep_or_damaged_document_is_one_sentence(tmp_path: Path) -> None:
    for name, content in {
        "deep.json": "[" * 200_000,
        "deep.musicxml": "<a>" * 100_000,
        "cut.musicxml": SCORE[:80],
        "other.musicxml": "<html/>",
        "strange.jams": '{"annotations": [{"namespace": "chord", "data": [{"time": null, "value": "C"}]}]}',
        "huge.jams": '{"annotations": [{"namespace": "chord", "data": [{"time": 1e400, "duration": 1, "value": "C"}]}]}',
    }.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError) as error:
            read_chords(tmp_path / name)
        assert "\n" not in str(error.value), name
