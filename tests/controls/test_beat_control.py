from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from untrained import stir

from jasco_pl.codec import BandCodec
from jasco_pl.controls.base import FrameGrid
from jasco_pl.controls.beat import Beat
from jasco_pl.generation.jasco import Jasco, Request
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.network.text import TextEncoder
from jasco_pl.notation.beats import beat_times

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
