from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jasco_pl.notation import harmony
from jasco_pl.system.errors import UserError

# Of the sorted keys of audiocraft's chord map (192 chords, N and UNK), one a line.
REFERENCE_SHA256 = "8550ffefca26cbb5a9502a0495a2c39b715b8fef00eab224c43bf0e44a58ad91"


def test_labels_are_the_reference_vocabulary() -> None:
    assert hashlib.sha256("\n".join(sorted(harmony.LABELS)).encode()).hexdigest() == REFERENCE_SHA256


def test_labels_are_distinct_and_invert() -> None:
    assert len(set(harmony.LABELS)) == harmony.SIZE == 194
    assert [harmony.index(harmony.label(number)) for number in range(194)] == list(range(194))
    assert harmony.index("A") == 9 * 16
    assert (harmony.label(harmony.N), harmony.label(harmony.UNK)) == ("N", "UNK")


@pytest.mark.parametrize("name", ["C#/E#", "Abm7b5/Gb", "F#7/A#", "Ab/Eb", "Eb/Db", "B/F#", "G/A"])
def test_basses_are_spelled_by_letter(name: str) -> None:
    assert name in harmony.LABELS


@pytest.mark.parametrize("name", ["Db", "C:maj", "", "NULL", "c"])
def test_other_spellings_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="not in the vocabulary"):
        harmony.index(name)


@pytest.mark.parametrize("number", [-1, 194, 500])
def test_no_label_outside_the_vocabulary(number: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        harmony.label(number)


@pytest.mark.parametrize(
    ("name", "classes", "bass", "triad"),
    [
        ("C", {0, 4, 7}, 0, "C maj"),
        ("Am7", {9, 0, 4, 7}, 9, "A min"),
        ("D/F#", {2, 6, 9}, 6, "D maj"),
        ("C/Bb", {0, 4, 7, 10}, 10, "C maj"),
        ("C/D", {0, 2, 4, 7}, 2, "C maj"),
        ("Bm7b5/A", {11, 2, 5, 9}, 9, "B dim"),
        ("Baug", {11, 3, 7}, 11, "B aug"),
        ("Ebdim", {3, 6, 9}, 3, "Eb dim"),
        ("Gm6", {7, 10, 2, 4}, 7, "G min"),
    ],
)
def test_notes_bass_and_triad(name: str, classes: set[int], bass: int, triad: str) -> None:
    number = harmony.index(name)
    assert harmony.intervals(number) == (classes, bass)
    assert set(np.flatnonzero(harmony.pitch_classes(number)).tolist()) == classes
    root, quality = triad.split()
    assert harmony.triad(number) == harmony.ROOTS.index(root) * 4 + ["maj", "min", "dim", "aug"].index(quality)


def test_outside_chords_have_no_notes_and_no_triad() -> None:
    outside = np.array([harmony.N, harmony.UNK, harmony.NULL])
    assert harmony.triad(outside).tolist() == [-1, -1, -1]
    assert not harmony.pitch_classes(outside).any()
    assert harmony.intervals(harmony.N) == (frozenset(), -1)


def test_tables_take_arrays_of_any_shape() -> None:
    frames = np.array([[0, 1, 192], [16, 17, 18]], dtype=np.int16)
    assert harmony.triad(frames).tolist() == [[0, 1, -1], [4, 5, 4]]
    assert harmony.pitch_classes(frames).shape == (2, 3, 12)


def test_a_change_holds_from_the_first_frame_not_before_it() -> None:
    frames = harmony.changes_to_frames([("C", 0.1), ("G7", 0.1301), ("N", 0.16)], 10)
    c, g7 = harmony.index("C"), harmony.index("G7")
    assert frames.tolist() == [192] * 5 + [c, c, g7, 192, 192]
    assert frames.dtype == np.int16


@given(st.integers(0, 20000), st.sampled_from([1.0, 3.0, 7.0, 0.1]))
def test_rounding_errors_do_not_move_a_change(frame: int, factor: float) -> None:
    start = frame / 50 / factor * factor  # a rounding error away from the frame's time, on either side
    assert harmony.first_frame(start) == frame


def test_of_two_changes_in_one_frame_the_later_holds_and_order_does_not_matter() -> None:
    frames = harmony.changes_to_frames([("F", 0.019), (5, 0.011), ("C", 0.0)], 3)
    assert frames.tolist() == [0, harmony.index("F"), harmony.index("F")]


def test_changes_past_the_end_are_dropped_and_before_the_start_held() -> None:
    assert harmony.changes_to_frames([("C", -1.0), ("G", 9.0)], 4).tolist() == [0, 0, 0, 0]


@given(st.lists(st.integers(0, 193), min_size=1, max_size=60))
def test_frames_and_changes_invert(values: list[int]) -> None:
    changes = harmony.frames_to_changes(values)
    assert harmony.changes_to_frames(changes, len(values)).tolist() == values
    assert all(left[0] != right[0] for left, right in itertools.pairwise(changes))


def test_no_frames_have_no_changes() -> None:
    assert harmony.frames_to_changes(np.zeros(0, dtype=np.int16)) == []
