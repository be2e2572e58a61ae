from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jasco_pl.controls.keeping import kept_frames
from jasco_pl.system.errors import UserError


def kept(frames: int = 500, available: int = 1000, **options: Any) -> list[int]:
    return np.flatnonzero(kept_frames(frames, available, 50.0, **options)).tolist()


def test_a_time_holds_from_the_first_frame_at_or_after_it() -> None:
    assert kept(keep="0.01-0.05") == [1, 2]
    assert kept(keep="0-0.1") == [0, 1, 2, 3, 4]


def test_keep_and_redo_are_opposites() -> None:
    assert kept(keep="0-3,6-") == kept(redo="3-6") == [*range(150), *range(300, 500)]


def test_a_recording_that_ends_sooner_gives_up_its_last_frames() -> None:
    assert kept(available=200) == list(range(197))
    assert kept(available=200, redo="0-1") == list(range(50, 197))
    assert kept(available=200, keep="1-4") == kept(available=200, keep="1-9") == list(range(50, 197))
    assert kept(available=200, keep="1-2") == list(range(50, 100))  # its end is far away
    assert kept(available=500, redo="0-1") == list(range(50, 500))  # it ends where the clip ends


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "all 10 seconds of the clip would be kept: name the seconds to keep"),
        ({"keep": "0-"}, "all 10 seconds"),
        ({"available": 2}, "nothing of the recording would be kept"),
        ({"redo": "0-10"}, "nothing of the recording would be kept"),
        ({"available": 200, "keep": "5-6"}, "keep 5-6 begins past the recording, which ends at 4 seconds"),
        ({"keep": "10-12"}, "keep 10-12 begins past the clip, which ends at 10 seconds"),
        ({"keep": "0-1", "redo": "0-1"}, "one of them says it all"),
    ],
)
def test_nothing_to_do_is_one_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        kept(**options)


def test_a_recording_may_begin_later() -> None:
    assert kept(available=300, begins=100) == list(range(103, 297))  # its first frames have heard the silence before them
    assert kept(available=600, begins=100) == list(range(103, 500))
    assert kept(available=300, begins=100, redo="4-5") == [*range(103, 200), *range(250, 297)]
    assert kept(available=300, begins=100, keep="3-4") == list(range(150, 200))
    with pytest.raises(UserError, match="nothing of the recording would be kept"):
        kept(available=300, begins=100, keep="0-2")
