from __future__ import annotations

from typing import Any

import pytest

from jasco_pl.controls.contradictions import contradictions


@pytest.mark.parametrize(
    ("text", "asked", "notes"),
    [
        ("house at 124 bpm", {"bpm": 96}, ["the text says 124 bpm and --bpm 96: the controls go by the latter"]),
        ("house at 124 BPM", {"bpm": 124.5}, []),
        ("trap, 70bpm", {"bpm": 140}, []),  # half the tempo is the same beat
        ("house at 124 bpm", {"bpm": None}, []),
        ("house, 1990s", {"bpm": 96}, []),
        (
            [(0, 4, "piano"), (4, None, "60 beats per minute")],
            {"bpm": 96},
            ["the text says 60 bpm and --bpm 96: the controls go by the latter"],
        ),
        ("piano, no drums", {"drums": "x.wav"}, ["the text says 'no drums', and drums are given to follow: they mostly win"]),
        ("a drumless ballad", {"drums": "x.wav"}, ["the text says 'drumless', and drums are given to follow: they mostly win"]),
        ("piano, no drums", {"drums": None}, []),
        ("piano and drums, no vocals", {"drums": "x.wav"}, []),
    ],
)
def test_what_is_said_against_the_controls(text: Any, asked: dict[str, Any], notes: list[str]) -> None:
    assert contradictions(text, asked) == notes
