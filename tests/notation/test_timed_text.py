from __future__ import annotations

from jasco_pl.notation.timed_text import ALWAYS, Span, covering, spans_of, throughout


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
