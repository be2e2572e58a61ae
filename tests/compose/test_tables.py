from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from jasco_pl.compose.captions import captions
from jasco_pl.compose.song import SCALES, Song, generator
from jasco_pl.compose.tables import (
    FAMILIES,
    METER_WORDS,
    PULSES,
    RHYTHMS,
    STYLES,
    TEMPLATES,
    Instrument,
    Style,
    check_steps,
    check_style,
    degrees,
    typed,
)


def test_progressions_are_read_by_degree() -> None:
    assert [chord.label for chord in degrees("1 5/3 6m7 b7 #4m7b5")] == ["C", "G/B", "Am7", "Bb", "F#m7b5"]
    with pytest.raises(ValueError, match="1sus4"):
        degrees("1 1sus4")


def test_every_family_has_both_modes_and_lines_of_a_sections_length() -> None:
    for modes in FAMILIES.values():
        assert set(modes) == set(SCALES)
        assert all(2 <= len(line) <= 12 for lines in modes.values() for line in lines)


def test_a_rhythm_strikes_where_its_steps_say() -> None:
    assert RHYTHMS["4/4"][4] == (0.0, 1.5, 2.0)
    assert RHYTHMS["6/8"][-1] == (0.0, 1 / 3, 2 / 3, 1.0, 4 / 3, 5 / 3)
    assert set(RHYTHMS) == set(METER_WORDS) == set(PULSES)


def test_every_template_asks_for_words_that_there_are(songs: list[Song], monkeypatch: pytest.MonkeyPatch) -> None:
    full = next(song for song in songs if {"comp", "bass", "melody"} <= {part.role for part in song.parts} and not song.drums)
    for templates in TEMPLATES.values():
        for template in templates:
            monkeypatch.setitem(TEMPLATES, "full", (template.replace("{drums}", ""),))
            assert len(captions(full, generator(0, "train", 0, "captions"))) == 1, template


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ({"program": 0, "words": ["piano"], "hihg": 84}, Instrument, "here: 'hihg' is unknown.*program, words, low, high"),
        ({"program": 0}, Instrument, "here lacks 'words'"),
        ({"program": "0", "words": ["piano"]}, Instrument, "here: program: '0' is not of the kind int"),
        ({"program": True, "words": ["piano"]}, Instrument, "here: program: True"),
        ({"program": 0, "words": "piano"}, Instrument, "here: words: 'piano' is not of the kind tuple"),
        ([84, 132, 7], tuple[int, int], r"here: \[84, 132, 7\]"),
        ({"held": {"4/4": 1111}}, dict[str, dict[str, str]], "here: held: 4/4: 1111 is not of the kind str"),
        (None, dict[str, str], "here: None"),
    ],
)
def test_what_is_wrong_in_a_table_is_said_with_its_place(value: Any, kind: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        typed(value, kind, "here")


def test_a_style_reads_back_and_names_only_what_there_is() -> None:
    style = STYLES["pop"]
    written = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(style).items()}
    assert typed(written, Style, "pop") == style
    for change, message in (
        ({"bass": ("kazoo",)}, "bass: 'kazoo' is unknown"),
        ({"meters": {"5/4": 1.0}}, "meters: '5/4' is unknown"),
        ({"grooves": ("polka",)}, "grooves: 'polka' is unknown"),
        ({"tail": 1.5}, "tail is 1.5"),
    ):
        with pytest.raises(ValueError, match=f"pop: {message}"):
            check_style(replace(style, **change), "pop")


def test_steps_fill_the_pulses_with_known_symbols() -> None:
    check_steps("x..", "3/4", "x.", "waltz")
    for steps, meter, message in (("x..", "4/4", "3 steps"), ("x.q", "3/4", "'q' is unknown"), ("x..", "5/4", "'5/4' is unknown")):
        with pytest.raises(ValueError, match=f"waltz.*{message}"):
            check_steps(steps, meter, "x.", "waltz")
