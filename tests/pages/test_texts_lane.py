from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jasco_pl.notation.timed_text import Span, read_passages
from jasco_pl.pages.texts import Texts, texts_lane, told


def drawn(lane: Texts, seconds: float) -> tuple[list[tuple[float, float]], list[str]]:
    """Beginnings and lengths of the boxes, and the words in them."""
    axes = Figure(figsize=(12, 1)).add_axes((0, 0, 1, 1))
    axes.set_xlim(0, seconds)
    assert lane.draw(axes, lane.side, None, ("asked", "heard")) == ""
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return [(box.get_x(), box.get_width()) for box in boxes], [text.get_text() for text in axes.texts]


def test_each_stretch_is_a_box_with_its_text_cut_where_there_is_no_room() -> None:
    ((lane, side, heard),) = texts_lane("0-4: calm piano; 4-4.1: xylophone; 5-: " + "full band, " * 20, 10.0)
    assert (lane.name, heard) == ("text", None)
    assert side.shape == (500,)
    boxes, words = drawn(lane, 10.0)
    assert boxes == [(0, 4), (4, 0.1), (5, 5)]  # nothing where no text holds
    assert words[:2] == ["calm piano", ""]
    assert words[2].endswith("…")
    assert 40 < len(words[2]) < 80


def test_a_text_for_the_whole_clip_is_no_lane() -> None:
    assert texts_lane("calm piano", 10.0) == []
    assert read_passages("calm piano", 10.0) == []
    assert told(()) == {}


def test_dollars_are_no_formulas() -> None:
    assert drawn(Texts([Span(0, 100, "$x_1 and $y")]), 2.0)[1] == ["$x_1 and $y"]


def test_a_page_is_told_what_is_said_when() -> None:
    parts = read_passages([(2, None, "band"), (0, 1.5, "piano"), (1.5, 2, "")], 8.0)
    assert told(parts) == {"text": {"kind": "texts", "asked": [["piano", 0.0, 1.5], ["band", 2.0, 8.0]], "heard": []}}
