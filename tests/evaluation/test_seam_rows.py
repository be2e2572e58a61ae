from __future__ import annotations

import numpy as np
import pytest
import torch

from jasco_pl.evaluation.pretrained import Listeners
from jasco_pl.evaluation.seams import SEAMS, moments_of, seam_figures
from jasco_pl.evaluation.table import groups
from jasco_pl.extract.heard import Heard

RATE = 16000


def test_windows_meet_where_they_were_planned() -> None:
    assert moments_of(1500, 500, 50.0) == {"seam": [9.16, 15.84, 22.5], "inside": [4.58, 12.5, 19.17]}
    assert moments_of(500, 500, 50.0) == {"seam": [], "inside": [5.0]}


def test_a_clip_that_sinks_at_its_seams_is_told_from_one_that_does_not() -> None:
    even = 0.1 * torch.randn(1, 30 * RATE, generator=torch.Generator().manual_seed(0))
    sinking = even.clone()
    for seam in moments_of(1500, 500, 50.0)["seam"]:
        sinking[:, round(seam * RATE) :] *= 0.5
    found = {name: seam_figures(Heard(wav, RATE), 1500, 500, 50.0) for name, wav in (("even", even), ("sinking", sinking))}
    heard = Heard(even, RATE)
    heard.__dict__["chords"] = np.where(np.arange(1500) < 500, 3, 4)  # where the cached property looks first
    assert seam_figures(heard, 1500, 500, 50.0, np.full(1500, 3))["chord_iou_first"] == 1.0
    assert seam_figures(heard, 1500, 500, 50.0, np.full(1500, 4))["chord_iou_first"] == 0.0
    assert found["even"].keys() == {column.key for column in SEAMS}
    assert found["even"]["step_seam"] == pytest.approx(0, abs=0.3)
    assert found["sinking"]["step_seam"] == pytest.approx(6, abs=0.3)
    assert found["sinking"]["step_inside"] == pytest.approx(0, abs=0.3)
    assert found["even"]["drift"] == pytest.approx(0, abs=0.3)
    assert found["sinking"]["drift"] == pytest.approx(-18, abs=3)
    assert found["even"]["flux_seam"] == pytest.approx(found["even"]["flux_inside"], abs=0.2)
    assert found["sinking"]["chroma_seam"] < 0.1


def test_silence_has_no_figures_and_warns_of_nothing() -> None:
    assert all(np.isnan(value) for key, value in seam_figures(Heard(torch.zeros(1, 30 * RATE), RATE), 1500, 500, 50.0).items())


def test_seams_are_a_table_of_long_clips_alone() -> None:
    titles = [[group.title for group in groups(Listeners(), windows=long)] for long in (True, False)]
    assert "Holds together where windows meet" in titles[0]
    assert titles[1] == [title for title in titles[0] if not title.startswith("Holds together")]
