from __future__ import annotations

import torch

from jasco_pl.controls.segments import segments, within


def test_a_share_of_a_clip_at_a_place() -> None:
    frames, half = torch.tensor([100, 100, 100, 50]), torch.full((4,), 0.5).double()
    first, last = segments(frames, half, torch.tensor([0.0, 0.5, 1.0, 1.0]).double())
    assert first.tolist() == [0, 25, 50, 25]
    assert last.tolist() == [50, 75, 100, 50]
    first, last = segments(torch.tensor([1, 7]), half[:2] * 0, half[:2])
    assert (last - first).tolist() == [1, 1]  # a frame at least


def test_frames_of_stretches() -> None:
    assert within(torch.tensor([1, 0]), torch.tensor([3, 9]), 4).tolist() == [[False, True, True, False], [True] * 4]
