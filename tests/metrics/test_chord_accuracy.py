from __future__ import annotations

import math

import numpy as np
import pytest

from jasco_pl.metrics.following import chord_accuracy
from jasco_pl.notation import harmony
from jasco_pl.system.errors import UserError


def frames(*labels: str) -> np.ndarray:
    return np.array([harmony.index(label) for label in labels])


@pytest.mark.parametrize(
    ("heard", "asked", "root", "majmin", "sevenths"),
    [
        ("C", "C", 1, 1, 1),
        ("Cm", "C", 1, 0, 0),
        ("G", "C", 0, 0, 0),
        ("C7", "C", 1, 1, 0),  # the triad is right, the seventh is not
        ("C", "Cmaj7", 1, 1, 0),
        ("Cm7", "Cm7", 1, 1, 1),
        ("C/E", "C", 1, 1, 1),  # none of the three looks at the bass
        ("N", "N", 1, 1, 1),
        ("C", "N", 0, 0, 0),
        ("Cdim", "Cdim", 1, math.nan, math.nan),  # diminished chords are in neither vocabulary
        ("C", "UNK", math.nan, math.nan, math.nan),
    ],
)
def test_single_chords(heard: str, asked: str, root: float, majmin: float, sevenths: float) -> None:
    found = [chord_accuracy(frames(heard), frames(asked), name) for name in ("root", "majmin", "sevenths")]
    assert found == pytest.approx([root, majmin, sevenths], nan_ok=True)


def test_every_frame_weighs_the_same_and_uncovered_ones_nothing() -> None:
    asked, heard = frames("C", "C", "C", "Adim"), frames("C", "C", "G", "F")
    assert chord_accuracy(heard, asked, "majmin") == pytest.approx(2 / 3)
    assert chord_accuracy(heard, asked, "root") == pytest.approx(2 / 4)


def test_every_label_of_the_vocabulary_is_read_by_mir_eval() -> None:
    every = np.arange(harmony.SIZE + 1)
    assert chord_accuracy(every, every, "root") == 1


def test_bad_arguments() -> None:
    with pytest.raises(UserError, match="tetrads"):
        chord_accuracy(frames("C"), frames("C"), "tetrads")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="shapes"):
        chord_accuracy(frames("C"), frames("C", "G"))
