from __future__ import annotations

import pytest
import torch

from jasco_pl.metrics.following import chord_iou
from jasco_pl.notation import harmony
from jasco_pl.system.errors import UserError


def frames(*labels: str) -> torch.Tensor:
    return torch.tensor([harmony.index(label) for label in labels])


def test_identical_is_one_and_disjoint_is_zero() -> None:
    asked = frames("C", "Am7", "D/F#", "N")
    assert chord_iou(asked, asked) == 1.0
    assert chord_iou(frames("G", "G", "G", "G"), asked) == 0.0


def test_three_of_four_frames_shared() -> None:
    # 3 shared pairs, 4 + 4 - 3 = 5 in the union.
    assert chord_iou(frames("C", "C", "F", "G"), frames("C", "C", "F", "Am")) == pytest.approx(3 / 5)


def test_same_chord_in_another_frame_is_another_pair() -> None:
    assert chord_iou(frames("C", "F"), frames("F", "C")) == 0.0


def test_triads_drop_bass_and_sevenths_but_keep_root_and_quality() -> None:
    heard, asked = frames("Am7", "D/F#", "G7", "N", "C", "Caug"), frames("Am", "D", "Gmaj7", "N", "Cm", "C")
    assert chord_iou(heard, asked) == pytest.approx(1 / 11)  # only N
    assert chord_iou(heard, asked, level="triad") == pytest.approx(4 / 8)


@pytest.mark.parametrize("level", ["exact", "triad"])
def test_unknown_and_dropped_chords_never_match(level: str) -> None:
    other = torch.tensor([harmony.UNK, harmony.NULL])
    assert chord_iou(other, other, level) == 0.0
    # -1 is the triad of N as well as of UNK: they must not meet there.
    assert chord_iou(frames("N"), frames("UNK"), level) == 0.0


def test_every_chord_matches_itself_at_both_levels() -> None:
    every = torch.arange(harmony.UNK)
    assert chord_iou(every, every) == chord_iou(every, every, "triad") == 1.0


def test_bad_input_is_refused() -> None:
    with pytest.raises(UserError, match="same"):
        chord_iou(frames("C", "C"), frames("C"))
    with pytest.raises(UserError, match="triad"):
        chord_iou(frames("C"), frames("C"), level="root")  # type: ignore[arg-type]
