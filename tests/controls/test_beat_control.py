from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from untrained import stir

from jasco_pl.codec import BandCodec
from jasco_pl.controls.base import FrameGrid
from jasco_pl.controls.beat import BEATS, Beat
from jasco_pl.extract.heard import Heard
from jasco_pl.generation.jasco import Jasco, Request
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.network.text import TextEncoder
from jasco_pl.notation.beats import beat_times, phases, steady_beats
from jasco_pl.pages.lanes import RIGHT, WRONG
from jasco_pl.pages.pictures import draw_lane

SOLVER = SolverConfig("euler", steps=1)


@pytest.fixture
def grid(tiny_codec_folder: Path) -> FrameGrid:
    return FrameGrid(200, BandCodec.from_pretrained(tiny_codec_folder), lambda latents: latents, 200)


def model_with(config: ModelConfig, codec: Path, encoder: TextEncoder, *controls: str) -> Jasco:
    torch.manual_seed(0)
    model = JascoModel(replace(config, controls={name: {} for name in controls}))
    stir(model)
    return Jasco(model, BandCodec.from_pretrained(codec), encoder)


def test_a_tempo_and_a_meter_are_read(grid: FrameGrid) -> None:
    raw = Beat().read({"bpm": 90.0, "meter": "3/4"}, grid).raw
    assert raw.shape == (200, 2)
    assert beat_times(raw[:, 0], 50.0) == pytest.approx([0, 2 / 3, 4 / 3, 2, 8 / 3, 10 / 3], abs=1e-3)
    assert beat_times(raw[:, 1], 50.0) == pytest.approx([0, 2], abs=1e-3)


def test_what_is_not_known_is_the_same_whatever_the_rest_says() -> None:
    """Of single frames and of the bar alone; a phase of 0 and one of 1 are one place."""
    control = Beat()
    nothing = control(control.null_frames(1, 3))
    raw = torch.tensor([[[-1.0, -1.0], [0.25, 0.5], [0.25, -1.0]]])
    seen = control(raw)
    torch.testing.assert_close(seen[0, 0], nothing[0, 0])
    assert not torch.allclose(seen[0, 1], seen[0, 2])
    assert not torch.allclose(seen[0, 2], nothing[0, 2])
    torch.testing.assert_close(control(torch.tensor([[[0.0, 0.0]]])), control(torch.tensor([[[1.0, 1.0]]])), atol=1e-5, rtol=0)
    assert control.drop(raw, torch.tensor([False])).eq(-1).all()


def test_a_tempo_asks_for_the_beat_and_still_spaces_the_chords(
    tiny_model_config: ModelConfig, tiny_codec_folder: Path, offline_encoder: TextEncoder
) -> None:
    jasco = model_with(tiny_model_config, tiny_codec_folder, offline_encoder, "chords", "beat")
    alone, both = jasco.generate([Request(bpm=120), Request(bpm=120, chords="C | G | Am | F")], solver=SOLVER)
    assert set(alone.asked) == {"beat"}
    assert set(both.asked) == {"beat", "chords"}
    assert alone.notes == both.notes == []
    slower = jasco.generate(Request(bpm=60), solver=SOLVER)[0]
    assert not torch.allclose(slower.latents, alone.latents, atol=1e-3)


def test_a_tempo_that_nothing_follows_is_said_and_no_error(
    tiny_model_config: ModelConfig, tiny_codec_folder: Path, offline_encoder: TextEncoder
) -> None:
    jasco = model_with(tiny_model_config, tiny_codec_folder, offline_encoder, "chords")
    idle, spaced = jasco.generate([Request(bpm=120, meter="3/4"), Request(bpm=120, chords="C | G")], solver=SOLVER)
    assert idle.notes == ["nothing in this model follows bpm and meter here: chords, beat would"]
    assert spaced.notes == []
    assert idle.asked == {}


def heard(beats: list[list[float]], seconds: float = 8.0) -> Heard:
    clip = Heard(torch.zeros(1, round(seconds * 32000)), 32000)
    clip.__dict__["beats"] = np.array(beats).reshape(-1, 2)
    return clip


def test_what_is_asked_for_perfectly_heard_and_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BEATS, "missing", lambda: None)
    raw = phases(steady_beats(90, "3/4", 8.0), 400, 50.0)
    asked = BEATS.asked({"beat": raw}, None)
    assert asked is not None
    np.testing.assert_allclose(asked[:4], [[0, 1], [2 / 3, 2], [4 / 3, 2], [2, 1]], atol=1e-3)
    right = heard([[time + 0.03, number] for time, number in steady_beats(90, "3/4", 8.0)[:-1]])
    found = BEATS.figures(right, asked, right.whole)
    assert (found["beat_f1"], found["downbeat_f1"], found["tempo_right"], found["tempo_octaves"]) == (1, 1, 1, 1)
    assert found["tempo_heard"] == pytest.approx(90)
    assert found["tempo_error"] == pytest.approx(0, abs=1e-3)
    double = heard([[time, number] for time, number in steady_beats(180, "4/4", 8.0)[:-1]])
    found = BEATS.figures(double, asked, double.whole)
    assert (found["tempo_right"], found["tempo_octaves"]) == (0, 1)
    assert found["beat_f1"] == pytest.approx(2 / 3, abs=0.02)
    nothing = heard([])
    found = BEATS.figures(nothing, asked, nothing.whole)
    assert (found["beat_f1"], found["tempo_octaves"]) == (0, 0)
    assert math.isnan(found["tempo_error"])
    assert BEATS.asked({"beat": np.full((400, 2), -1.0)}, None) is None
    assert BEATS.asked({}, None) is None


def test_a_page_and_a_picture_have_its_times() -> None:
    asked = BEATS.asked({"beat": phases(steady_beats(120, "4/4", 8.0), 400, 50.0).astype(np.float16)}, None)
    assert asked is not None
    kept = BEATS.lane.written(asked)
    assert kept == pytest.approx([number / 2 for number in range(16)], abs=0.002)
    lane = BEATS.judged(kept, {"beat": [0.04, 0.7]}, 8.0)
    assert lane["heard"] == [[0.04, RIGHT], [0.7, WRONG]]
    figure = draw_lane(BEATS.lane, asked, asked[::2], seconds=8.0, title="a beat")
    assert "F1 0.67" in [text.get_text() for text in figure.axes[0].texts][1]


def test_of_too_few_beats_for_a_tempo_no_figure_of_it_is_missing() -> None:
    clip = Heard(torch.zeros(1, 64000), 32000)
    clip.__dict__["beats"] = np.array([[0.5, 1.0], [1.0, 2.0]])
    asked = np.array([[0.5, 1.0], [1.0, 2.0]])
    found = BEATS.figures(clip, asked, clip.whole)
    assert {column.key for column in BEATS.columns} <= found.keys()
    assert found["beat_f1"] == 1
    assert np.isnan(found["tempo_octaves"])
