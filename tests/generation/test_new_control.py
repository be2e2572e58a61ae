"""A control that nobody else knows of, one class and its place in the registry: it trains, generates, and can be asked for everywhere.

Its raw frames are vectors of floats with a finite null, which no control that ships has.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from untrained import stir

from jasco_pl.cli import main
from jasco_pl.codec import BandCodec
from jasco_pl.controls import CONTROLS
from jasco_pl.controls.base import Control, FrameGrid, Option, Reading
from jasco_pl.controls.conditions import ConditionDropout
from jasco_pl.generation.jasco import Jasco, Request
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.network.text import TextEncoder
from jasco_pl.notation.harmony import first_frame
from jasco_pl.studies.demo import generate_command, read_requests
from jasco_pl.system.errors import UserError

NULL = -3.0
SOLVER = SolverConfig("euler", steps=2)


class Groove(Control):
    """Step and downbeat as they come [T, 2] -> a projection."""

    name = field = "groove"
    option = Option("groove", "text file with the second of every downbeat", kind="file", metavar="TIMES")
    details = (Option("steps_a_bar", "steps from one downbeat to the next", kind="number", default=4),)
    dtype = torch.float32
    frame_shape = (2,)
    null = NULL

    def __init__(self, dim: int = 3) -> None:
        super().__init__()
        self.channels = dim
        self.projection = nn.Linear(2, dim)

    def read(self, asked: Mapping[str, Any], grid: FrameGrid) -> Reading:
        raw = np.zeros((grid.frames, 2), dtype=np.float32)
        times = [float(word) for word in Path(asked["groove"]).read_text().split()]
        for time in times:
            raw[first_frame(time, grid.frame_rate)] = 1.0, asked["steps_a_bar"]
        return Reading(raw, [f"groove: {len(times)} downbeats were read"])

    def forward(self, raw: Tensor) -> Tensor:
        return self.projection(raw)


@pytest.fixture
def config(tiny_model_config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> ModelConfig:
    """Of a model with that control; it is known while the test runs."""
    monkeypatch.setitem(CONTROLS, "groove", Groove)
    return replace(tiny_model_config, controls={"chords": {}, "groove": {}})


@pytest.fixture
def jasco(config: ModelConfig, tiny_codec_folder: Path, offline_encoder: TextEncoder) -> Jasco:
    torch.manual_seed(0)
    model = JascoModel(config)
    stir(model)
    return Jasco(model, BandCodec.from_pretrained(tiny_codec_folder), offline_encoder)


@pytest.fixture
def times(tmp_path: Path) -> Path:
    path = tmp_path / "groove.txt"
    path.write_text("0.1 0.6")
    return path


def test_null_is_its_own_value_in_dropout_guidance_and_for_what_is_not_asked(jasco: Jasco) -> None:
    raw = torch.rand(2, 50, 2)
    given = replace(jasco.model.null_conditions(2, 50), local={"chords": torch.zeros(2, 50, dtype=torch.long), "groove": raw})
    masks = ConditionDropout(everything=1.0).draw(["text", "chords", "groove"], torch.arange(2))
    for seen in (
        jasco.model.null_conditions(2, 50),
        jasco.model.controls.keep(given, masks),
        jasco.model.controls.only(given, frozenset({"text", "chords"})),
        jasco.conditions(["", ""], [{}, {"chords": np.zeros(50)}], 50),
    ):
        assert torch.equal(seen.local["groove"], torch.full((2, 50, 2), NULL))
    assert torch.equal(jasco.model.controls.only(given, frozenset({"groove"})).local["groove"], raw)
    half = jasco.model.controls.keep(given, {"groove": torch.tensor([True, False])}).local["groove"]
    assert torch.equal(half[0], raw[0])
    assert (half[1] == NULL).all()


@pytest.mark.parametrize("takes_gain", [True, False])
def test_the_gain_of_its_first_weights_is_said_and_not_guessed(
    config: ModelConfig, takes_gain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Groove, "takes_gain", takes_gain)
    weights = []
    for gain in (1.0, 4.0):
        torch.manual_seed(0)
        model = JascoModel(replace(config, control_gain=gain))
        weights.append(model.transformer.embed.weight.detach().unflatten(1, (config.transformer.frames_per_token, -1)))
    before, after = (weight[..., config.latent_dim :] for weight in weights)
    assert torch.equal(after[..., :16], 4 * before[..., :16])  # chords
    assert torch.equal(after[..., 16:], before[..., 16:] * (4 if takes_gain else 1))


def test_it_is_read_and_changes_the_clip(jasco: Jasco, times: Path) -> None:
    clips = jasco.generate([Request("piano", groove=times), Request("piano")], solver=SOLVER)
    assert clips[0].asked["groove"].nonzero()[0].tolist() == [5, 5, 30, 30]
    assert clips[0].asked["groove"][5].tolist() == [1.0, 4.0]
    assert (clips[0].notes, clips[1].asked) == (["groove: 2 downbeats were read"], {})
    assert not torch.allclose(clips[0].latents, clips[1].latents, atol=1e-3)
    guided, free = (jasco.generate(Request(groove=times), guidance=f"groove={weight}", solver=SOLVER)[0].latents for weight in (2, 0))
    assert not torch.allclose(guided, free, atol=1e-3)


def test_a_model_without_it_and_a_request_with_a_wrong_name_say_so(
    config: ModelConfig, tiny_codec_folder: Path, offline_encoder: TextEncoder
) -> None:
    model = JascoModel(replace(config, controls={"chords": {}}))
    with pytest.raises(UserError, match=r"no control 'groove'; it has: chords\.$"):
        Jasco(model, BandCodec.from_pretrained(tiny_codec_folder), offline_encoder).generate(Request(groove="groove.txt"))
    with pytest.raises(UserError, match=r"nothing called 'grooves'; it may have: text, chords, bpm, .*, groove, .*, during, .*seed\.$"):
        Request(grooves="groove.txt")


def test_it_is_a_flag_with_its_help_and_stands_beside_the_clip(
    jasco: Jasco, times: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["generate", "--help"])
    assert "--groove TIMES        text file with the second of every downbeat\n  --steps-a-bar STEPS_A_BAR" in capsys.readouterr().out
    jasco.model.save_pretrained(tmp_path / "model")
    command = ["generate", "--checkpoint", str(tmp_path / "model"), "--solver", "euler", "--steps", "1", "-o", str(tmp_path / "clip.wav")]
    assert main([*command, "--groove", str(times), "--steps-a-bar", "3"]) == 0
    assert "note: groove: 2 downbeats were read" in capsys.readouterr().out
    request = json.loads((tmp_path / "clip.json").read_text())["request"]
    assert (request["groove"], request["steps_a_bar"], request["chords"]) == (str(times), 3.0, None)


@pytest.mark.usefixtures("config")
def test_a_file_of_requests_may_have_it_and_its_page_has_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("requests: {one: {text: rock, groove: takes/groove.txt, steps_a_bar: 3, seed: 2}}")
    (request,) = read_requests(path).requests.values()
    assert request == Request("rock", groove=str(tmp_path / "takes" / "groove.txt"), steps_a_bar=3, seed=2)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(generate_command(request).replace("\\\n", ""))
    assert words[2:] == ["--text", "rock", "--groove", "takes/groove.txt", "--steps-a-bar", "3", "--seed", "2", "-o", "out/"]
    path.write_text("requests: {one: {groove: takes/groove.txt, steps_a_bar: three}}")
    with pytest.raises(UserError, match="steps_a_bar: 'three', where a number is accepted"):
        read_requests(path)
    path.write_text("requests: {one: {text: rock}}")
    with pytest.raises(UserError, match="give it chords, melody, drums, mix, drumless, paint, bpm, dynamics or groove"):
        read_requests(path)


def test_the_demo_makes_a_request_that_asks_for_nothing_else(jasco: Jasco, times: Path, tmp_path: Path) -> None:
    jasco.model.save_pretrained(tmp_path / "model")
    (tmp_path / "mine.yaml").write_text("requests: {one: {text: rock, groove: groove.txt}}")
    command = ["demo", "--requests", str(tmp_path / "mine.yaml"), "--checkpoint", str(tmp_path / "model"), "--solver", "euler"]
    assert main([*command, "--steps", "1", "-o", str(tmp_path / "out")]) == 0
    assert f"Given: groove [groove.txt](../{times.name})." in (tmp_path / "out" / "README.md").read_text()
    assert json.loads((tmp_path / "out" / "one.json").read_text())["request"]["groove"] == str(times)
