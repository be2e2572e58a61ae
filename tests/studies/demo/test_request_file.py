from __future__ import annotations

from pathlib import Path

import pytest

from jasco_pl.cli import main
from jasco_pl.generation.jasco import Request
from jasco_pl.studies.demo import PREPARED, read_requests
from jasco_pl.system.errors import UserError


def test_requests_come_in_their_order_with_files_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "title: Mine\nabout: |\n  Two of them.\nrequests:\n"
        "  b-first: {text: 'a: b', chords: 'C | %', bpm: 90.5, meter: 3/4, seed: 7}\n"
        "  a-second: {melody: tunes/a.mid, drums: ../loop.wav}\n"
    )
    file = read_requests(path)
    assert (file.title, file.about) == ("Mine", "Two of them.")
    assert list(file.requests.items()) == [
        ("b-first", Request("a: b", chords="C | %", bpm=90.5, meter="3/4", seed=7)),
        ("a-second", Request(melody=str(tmp_path / "tunes" / "a.mid"), drums=str(tmp_path.parent / "loop.wav"))),
    ]


def test_the_prepared_requests_name_files_that_are_there() -> None:
    requests = read_requests(PREPARED).requests
    assert len(requests) == 3
    files = [Path(str(source)) for request in requests.values() for source in (request.melody, request.drums) if source is not None]
    assert len(files) == 2
    assert all(path.is_file() for path in files)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no 'requests:'"),
        ("- text: a\n", "has no 'requests:'"),
        ("requests: []\n", "has no 'requests:'"),
        ("requests: {a: {chords: C}}\nrequets: 1\n", "unknown entry 'requets'"),
        ("requests: {a: {chords: C, tempo: 90}}\n", "request 'a' of .* has an unknown field 'tempo'; there may be text, chords"),
        ("requests: {a: {chords: C, bpm: fast}}\n", "bpm: 'fast', where a number is accepted"),
        ("requests: {a: {chords: C, seed: 1.5}}\n", "seed: 1.5, where a whole number is accepted"),
        ("requests: {a: {chords: C, bpm: yes}}\n", "bpm: True, where a number is accepted"),
        ("requests: {a: {chords: [C, G]}}\n", r"chords: \['C', 'G'\], where text is accepted"),
        ("requests: {a: {drums: }}\n", "drums: None, where text is accepted"),
        ("requests: {a: {text: rock}}\n", "has nothing to follow: give it chords, melody, drums, .* or dynamics"),
        ("requests: {a: C}\n", "has no fields"),
        ("requests: {../a: {chords: C}}\n", "cannot name files"),
        ("requests: {a: {chords: 'C}\n", "is not YAML"),
        (b"\xff\xfe\x00\x01requests", "is not YAML"),
    ],
)
def test_a_bad_file_is_said_in_one_sentence(content: str | bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        read_requests(path)
    assert main(["demo", "--requests", str(path), "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.yaml' cannot be read: No such file"):
        read_requests(tmp_path / "nowhere.yaml")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_requests(tmp_path)
