from __future__ import annotations

import pytest

from jasco_pl.notation.timed_text import ALWAYS, Prompt, Span, covering, is_timed, passages, read_prompt, spans_of, throughout, written
from jasco_pl.system.errors import UserError


def test_sections_cover_a_piece_from_its_beginning() -> None:
    assert covering([]) == []
    assert covering([(0, ["a"]), (9, [])]) == [(0, ["a"]), (9, [""])]
    assert covering([(5, ["a", "b"])]) == [(0, [""]), (5, ["a", "b"])]


def test_a_stretch_is_told_what_it_touches_without_gaps() -> None:
    sections = [(0, "a"), (100, "b"), (130, "c")]
    assert spans_of(sections, 0, 90) == [Span(0, 90, "a")]
    assert spans_of(sections, 50, 100) == [Span(0, 50, "a"), Span(50, 80, "b"), Span(80, 100, "c")]
    assert spans_of(sections, 100, 30) == [Span(0, 30, "b")]
    assert spans_of(sections, 129, 2) == [Span(0, 1, "b"), Span(1, 2, "c")]
    assert spans_of(sections, 5000, 10) == [Span(0, 10, "c")]
    assert throughout("a") == [Span(0, ALWAYS, "a")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "calm piano",
        "Title: a song",
        "at 3:00 am: a lullaby",
        "80-90 bpm: fast",
        "-: nothing",
        "5-6-7-8: counted in",
        "well-known: yes",
        "4/4: rock",
    ],
)
def test_a_plain_text_stays_one_whatever_colons_it_has(text: str) -> None:
    assert passages(text) is None
    assert not is_timed(text)
    assert read_prompt(text, 500, 50.0) == (throughout(text), [])
    assert written(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0-5: calm piano; 5-: full band", [(0, 5, "calm piano"), (5, None, "full band")]),
        ("5-: full band;\n 0 - 4.5 s:  calm\n piano;", [(0, 4.5, "calm piano"), (5, None, "full band")]),
        ("-2s: Title: a song; .5e", None),
        ("-2.5: at 3:00 am: waltz", [(0, 2.5, "at 3:00 am: waltz")]),
        ("3–4: with a dash", [(3, 4, "with a dash")]),
        ("0-5:", [(0, 5, "")]),
        ([(5, None, "full band"), (0, 5.0, "calm piano")], [(0, 5, "calm piano"), (5, None, "full band")]),
    ],
)
def test_parts_of_a_timed_text(text: Prompt, expected: list | None) -> None:
    if expected is None:
        with pytest.raises(UserError, match="does not say when it holds"):
            passages(text)
        return
    assert passages(text) == expected
    assert passages(written(text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0-5: a; 3-: b", "'0-5: a' and '3-: b' both hold at 3 s: stretches must not overlap"),
        ("0-: a; 3-: b", "both hold at 3 s"),
        ("5-2: a", "5-2 s holds for no time"),
        ("0-5: a; 5: b", "the part '5: b' of a text over time does not say when it holds"),
        ([(0, 5)], "list of"),
        ([(0, 5, "a; b")], "without ';'"),
        ([(-1, 5, "a")], "list of"),
        ([(0, float("nan"), "a")], "list of"),
        ([("x", 5, "a")], "list of"),
    ],
)
def test_what_is_no_timed_text_is_one_sentence(text: Prompt, message: str) -> None:
    with pytest.raises(UserError, match=message):
        passages(text)


def test_every_frame_is_told_something_if_only_nothing() -> None:
    spans, notes = read_prompt("1-2: a; 3-4.51: b", 250, 50.0)
    assert spans == [Span(0, 50, ""), Span(50, 100, "a"), Span(100, 150, ""), Span(150, 226, "b"), Span(226, 250, "")]
    assert notes == ["text over time: 0-1 s none, 1-2 s 'a', 2-3 s none, 3-4.52 s 'b', 4.52-5 s none"]
    assert read_prompt("0-3: a; 3-99: b", 250, 50.0)[0] == [Span(0, 150, "a"), Span(150, 250, "b")]
    for late in ("5-: a", "0-4: a; 4.999-: b", "7-8: a", "1.001-1.002: a"):
        with pytest.raises(UserError, match="holds for none of the clip's 5 seconds"):
            read_prompt(late, 250, 50.0)
