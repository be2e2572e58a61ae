from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jasco_pl.controls.during import read_during, said
from jasco_pl.system.errors import UserError

GRID: Any = SimpleNamespace(frames=500, frame_rate=50.0, seconds=10.0)
OPTIONS = ["chords", "melody", "drums", "mix", "paint"]


def read(written: Any, *asked: str) -> dict[str, list[tuple[int, int]]]:
    from jasco_pl.notation.stretches import runs

    return {name: runs(mask) for name, mask in read_during(written, OPTIONS, asked or ("chords", "melody"), GRID).items()}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("chords=0-6,melody=4-10", {"chords": [(0, 300)], "melody": [(200, 500)]}),
        (" chords = 8- , melody = -2", {"chords": [(400, 500)], "melody": [(0, 100)]}),
        ("chords=0-2+6-8", {"chords": [(0, 100), (300, 400)]}),
        ("chords=0-3+2-4", {"chords": [(0, 200)]}),
        ("melody=9-12", {"melody": [(450, 500)]}),  # as far as the clip goes
        ({"chords": "0-2+6-8", "melody": [(1, 2.5)]}, {"chords": [(0, 100), (300, 400)], "melody": [(50, 125)]}),
    ],
)
def test_stretches_of_controls(written: Any, expected: dict[str, list[tuple[int, int]]]) -> None:
    assert read(written) == expected


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("chrods=0-2", r"during names 'chrods', which is no control; there are: chords, melody, drums, mix\."),
        ("bpm=0-2", "during names 'bpm', which is no control"),
        ("drums=0-2", "during names drums, which is not asked for"),
        ("paint=0-2", "during cannot cut paint: keep and redo say which seconds of the recording stay"),
        ("chords=10-12", "during chords: 10-12 begins past the clip, which ends at 10 seconds"),
        (
            "chords=0-2,6-8",
            "has '6-8' without the name of a control: it is written as chords=0-6,melody=4-, several stretches as chords=0-2",
        ),
        ("chords=0-2,chords=6-8", "names chords twice: .* several"),
        ("", "has '' without the name of a control"),
        ("chords=", "during chords '' is not a stretch of seconds, as in '0-4'"),
        ("chords=4-2", "during chords has the stretch 4-2"),
        ("chords=0.001-0.002", "during chords: there is no frame in '0.001-0.002'; a frame lasts 0.02 s"),
    ],
)
def test_what_cannot_be_cut_is_one_sentence(written: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(written)


def test_what_holds_when_in_words() -> None:
    masks = read_during("chords=0-2+6-8", OPTIONS, ["chords"], GRID)
    assert said(masks, ["chords"], 50.0) == "held for a part of the time: chords for 0.00-2.00, 6.00-8.00 s"
    assert said({"drums": np.arange(500) < 50}, ["melody", "drums"], 50.0).endswith("drums for 0.00-1.00 s; melody throughout")
