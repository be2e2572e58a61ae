from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jasco_pl.notation import harmony
from jasco_pl.notation.chord_text import ChordChange, read_chords
from jasco_pl.system.errors import UserError


def read(text: str | Path, **arguments: object) -> list[tuple[str, float]]:
    return [(change.label, round(change.start, 6)) for change in read_chords(text, **arguments).changes]  # type: ignore[arg-type]


def test_bars_share_their_time_evenly() -> None:
    assert read("C | G7 | Am F", bpm=120, duration=6) == [("C", 0), ("G7", 2), ("Am", 4), ("F", 5)]
    assert read("| C | G7 |\n| Am F |", bpm=120, duration=6) == [("C", 0), ("G7", 2), ("Am", 4), ("F", 5)]
    assert read("| C - - G | . D |", bpm=120, duration=4) == [("C", 0), ("G", 1.5), ("D", 3)]
    assert read("| C / G / ||", bpm=120, duration=2) == [("C", 0), ("G", 1)]


def test_percent_repeats_a_bar_and_an_empty_bar_holds() -> None:
    assert read("| C F | % | G |", bpm=120, duration=6) == [("C", 0), ("F", 1), ("C", 2), ("F", 3), ("G", 4)]
    assert read("| C | | G |", bpm=120, duration=6) == [("C", 0), ("G", 4)]
    with pytest.raises(UserError, match="there is none"):
        read_chords("| % | C |")


@pytest.mark.parametrize("text", ["C G Am F", "C, G, Am, F", "C; G; Am; F", "C - G - Am - F", "C\nG\nAm\nF", "C → G → Am → F"])
def test_a_plain_list_is_one_chord_a_bar(text: str) -> None:
    assert read(text, bpm=120, duration=8) == [("C", 0), ("G", 2), ("Am", 4), ("F", 6)]


def test_without_a_tempo_the_line_fills_the_duration_once() -> None:
    assert read("C G Am F") == [("C", 0), ("G", 2.5), ("Am", 5), ("F", 7.5)]
    assert read("C | G Am", duration=8) == [("C", 0), ("G", 4), ("Am", 6)]


def test_with_a_tempo_the_line_repeats_or_is_cut() -> None:
    assert read("C G", bpm=240, duration=3.5) == [("C", 0), ("G", 1), ("C", 2), ("G", 3)]
    assert read("C G Am F", bpm=60, duration=8) == [("C", 0), ("G", 4)]


def test_musicgen_style_commas_split_a_bar() -> None:
    assert read("C G,G:7 E:min", bpm=120, duration=6) == [("C", 0), ("G", 2), ("G7", 3), ("Em", 4)]
    assert read("C7(b9,13) G", bpm=120, duration=4) == [("C7", 0), ("G", 2)]


@pytest.mark.parametrize(
    ("meter", "bar"), [("4/4", 2.0), ("3/4", 1.5), ("6/8", 1.0), ("12/8", 2.0), ("5/8", 1.25), ("2/2", 2.0), ("7/4", 3.5)]
)
def test_meters(meter: str, bar: float) -> None:
    assert read("C G", bpm=120, meter=meter, duration=2 * bar) == [("C", 0), ("G", bar)]


@pytest.mark.parametrize(
    "text",
    [
        "(C, 0.0), (D:min, 2.0), (F#, 4.5)",
        "(C,0)(D:min,2)(F#,4.5s)",
        "[('C', 0.0), ('D:min', 2.0), ('F#', 4.5)]",
        "C@0 D:min@2 F#@4.5s",
        "C@0, D:min@2.0,F#@4.5",
    ],
)
def test_times(text: str) -> None:
    assert read(text) == [("C", 0), ("Dm", 2), ("F#", 4.5)]


def test_chords_with_parentheses_in_pairs() -> None:
    assert read("(C7(#9), 0), (G(add9)/B, 1)") == [("C7", 0), ("G/B", 1)]


def test_nothing_sounds_before_a_late_first_chord() -> None:
    changes = read_chords("C@2.5 D@20").changes
    assert changes == [ChordChange("N", 0.0), ChordChange("C", 2.5, "C")]


def test_what_was_written_and_the_remark_are_kept() -> None:
    changes = read_chords("Gsus4 Db").changes
    assert (changes[0].written, changes[0].note) == ("Gsus4", "Gsus4 -> G: nearest in the vocabulary")
    assert (changes[1].written, changes[1].label, changes[1].note) == ("Db", "C#", None)


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        ("0.000 1.5 N\n1.5\t4.0\tA:min7\n4.0 10.0 C/3\n", "lab"),
        ("# a comment\n\n0 N\n1.5 A:min7\n4.0 C/E\n", "lab"),
        ('0.0,"N"\n1.5,"Am7"\n4.0,"C/E"\n', "txt"),
        ("\ufeff0.000 1.5 N\r\n1.5 4.0 A:min7\r\n4.0 10.0 C:maj/3\r\n", "txt"),
    ],
)
def test_lab_files(tmp_path: Path, content: str, suffix: str) -> None:
    path = tmp_path / f"song.{suffix}"
    path.write_text(content)
    assert read(path) == read(f" {path} ") == [("N", 0), ("Am7", 1.5), ("C/E", 4)]


def test_gaps_in_a_lab_file_are_silence(tmp_path: Path) -> None:
    (tmp_path / "gap.lab").write_text("1.0 2.0 C\n3.0 4.0 G\n4.001 5.0 F:7(b9,13)")
    assert read(tmp_path / "gap.lab") == [("N", 0), ("C", 1), ("N", 2), ("G", 3), ("F7", 4.001), ("N", 5)]


def test_a_text_file_may_hold_a_chord_line(tmp_path: Path) -> None:
    (tmp_path / "line.txt").write_text("| C | G |\n| Am | F |\n")
    assert read(tmp_path / "line.txt", bpm=120, duration=8) == [("C", 0), ("G", 2), ("Am", 4), ("F", 6)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("- -", "without a chord"),
        ("| | |", "without a chord"),
        ("C G Cfoo F", r"'Cfoo' \(chord 3 of the line, bar 3, character 5\)"),
        ("C | G Zm7", r"'Zm7' \(chord 3 of the line, bar 2, character 7\)"),
        ("C@0 Q@1", r"'Q' \(chord 2\)"),
        ("(C, 0), (Q, 1)", r"'Q' \(pair 2\)"),
        ("C@0 G", "'G', has no time"),
        ("C@0 G@soon", "has no time"),
        ("C@0 G@2 F@2", "times must rise"),
        ("C@0 G@2 F@1", "times must rise"),
        ("(C, -1)", "times count from 0"),
        ("(C, 0.0), (D 2.0)", r"not understood at '\(D 2.0\)'"),
        ("C@11 D@12", "after the end of the piece"),
        ("missing.lab", "does not exist"),
        ("a\0b.lab", "does not exist"),
    ],
)
def test_bad_lines_are_one_sentence_each(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        read_chords(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("hello there you", "line 1 of .* is not understood"),
        ("0 1 C\n1 2 Hm", r"'Hm' \(line 2 of"),
        ("0 1 C\n1 0.5 D", "ends at 0.5 s, not after its start"),
        ("0 0 C\n1 1 D", "only chords of no length"),
        ("0 1 C\n0 2 D", "times must rise"),
        ("0 1 C\nover and out", "line 2 of .* is not understood"),
    ],
)
def test_bad_lab_files_name_the_line(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "bad.lab").write_text(content)
    with pytest.raises(UserError, match=words):
        read_chords(tmp_path / "bad.lab")


def test_binary_chord_files_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.lab").write_bytes(bytes(range(128, 256)))
    (tmp_path / "folder.lab").mkdir()
    with pytest.raises(UserError, match="not a text file"):
        read_chords(tmp_path / "binary.lab")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_chords(tmp_path / "folder.lab")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"bpm": 19}, "20 and 400"),
        ({"bpm": 401}, "20 and 400"),
        ({"bpm": float("nan")}, "20 and 400"),
        ({"meter": "4"}, "meter '4'"),
        ({"meter": "0/4"}, "meter '0/4'"),
        ({"meter": "4/5"}, "meter '4/5'"),
        ({"duration": 0}, "positive"),
        ({"duration": float("inf")}, "positive"),
    ],
)
def test_bad_tempo_meter_and_duration(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_chords("C G", **arguments)  # type: ignore[arg-type]


LABEL_LISTS = st.lists(st.sampled_from(harmony.LABELS[: harmony.N]), min_size=1, max_size=12)


@given(LABEL_LISTS)
def test_every_form_reads_back_what_was_formatted(labels: list[str]) -> None:
    duration = float(len(labels))
    expected = [(label, float(place)) for place, label in enumerate(labels)]
    pairs = ", ".join(f"({label}, {start})" for label, start in expected)
    at = " ".join(f"{label}@{start}" for label, start in expected)
    for text in (" ".join(labels), " | ".join(labels), f"| {' | '.join(labels)} |", ",".join(labels), pairs, at):
        assert read(text, duration=duration) == expected


@given(
    st.one_of(st.text(max_size=40), st.text(alphabet="CGAmb#7:/|%-,()@0.5 \n", max_size=40)),
    st.sampled_from([None, 20, 93.7, 400]),
    st.sampled_from(["4/4", "6/8", "x"]),
)
def test_arbitrary_lines_give_rising_changes_or_one_sentence(text: str, bpm: float | None, meter: str) -> None:
    try:
        changes = read_chords(text, bpm=bpm, meter=meter).changes
    except UserError:
        return
    starts = [change.start for change in changes]
    assert starts[0] == 0
    assert all(left < right for left, right in itertools.pairwise(starts))
    assert starts[-1] < 10
    assert {change.label for change in changes} <= set(harmony.LABELS)
