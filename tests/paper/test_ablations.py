"""Every overlay in conf/ablation trains twenty steps of a tiny model and generates with what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from jasco_pl.cli import main
from jasco_pl.controls import CONTROLS, stored_fields
from jasco_pl.controls.conditions import Conditions
from jasco_pl.data.crops import CropDataset, collate
from jasco_pl.generation.jasco import Jasco
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import JascoModel
from jasco_pl.training.checkpoint_io import load_checkpoint

OVERLAYS = Path(__file__).parents[2] / "conf" / "ablation"
SINGLE = {"mix", "drumless", "drums", "drums_bandpass", "chords", "melody", "painting"}
FAST = {"cross_attention", "v_diffusion"}  # the rest are slow tests
NAMES = sorted(path.stem for path in OVERLAYS.glob("*.yaml"))


def overlay(name: str) -> dict[str, Any]:
    return yaml.safe_load((OVERLAYS / f"{name}.yaml").read_text())


def train(name: str, arguments: Callable[..., list[str]], folder: Path, *overrides: str) -> JascoModel:
    """Twenty steps with the overlay after conf/mini.yaml; the live weights."""
    command = ["fit", *arguments("tiny", "-c", str(OVERLAYS / f"{name}.yaml")), "--trainer.max_steps", "20"]
    assert main([*command, "--trainer.val_check_interval", "20", *overrides]) == 0
    path = folder / overlay(name)["trainer"]["logger"]["init_args"]["name"] / "checkpoints" / "last.ckpt"
    assert torch.load(path, weights_only=True)["global_step"] == 20
    return load_checkpoint(str(path), live=True)


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, torch.Tensor]]:
    """The weights as training finds them, by name."""
    from jasco_pl.training.module import JascoModule

    before: dict[str, torch.Tensor] = {}
    original = JascoModule.on_train_start

    def remember(module: JascoModule) -> None:
        before.update({name: tensor.clone() for name, tensor in module.model.state_dict().items()})
        original(module)

    with monkeypatch.context() as patch:
        patch.setattr(JascoModule, "on_train_start", remember)
        yield before


def generate(model: JascoModel, folder: Path) -> None:
    """Save, load, and make a clip that hears the controls."""
    model.save_pretrained(folder / "exported")
    jasco = Jasco.from_pretrained(folder / "exported")
    dataset = CropDataset(folder / "valid", 50, seed=0, fields=["latents", *stored_fields(model.controls.names)])
    batch = collate([dataset[0, 0], dataset[0, 1]])
    text = jasco.text_encoder(batch["caption"])
    latents = jasco.model.normalize(batch["latents"])
    given = Conditions({name: control.from_batch(batch, latents) for name, control in jasco.model.controls.items()}, *text)  # type: ignore[operator]
    null = Conditions(jasco.model.null_conditions(2, 50).local, *text)
    made, _, evaluations, _ = jasco.sample(given, [0, 1], "all=1.5 text=0.5", SolverConfig(steps=4), frames=50)
    assert evaluations == (4 if model.config.objective == "v_diffusion" else 8)
    audio = jasco.decode(made)
    assert audio.shape == (2, 1, 50 * 640)
    assert torch.isfinite(audio).all()
    others, *_ = jasco.sample(null, [0, 1], "all=1.5 text=0.5", SolverConfig(steps=4), frames=50)
    assert torch.equal(made, others) == (not model.controls.names)


def test_every_overlay_says_what_it_belongs_to_and_how_it_is_run() -> None:
    assert {"concatenation", "cross_attention", "zero_convolution", "v_diffusion", "weight_uniform", "text_only", *SINGLE} <= set(NAMES)
    for name in NAMES:
        first, *rest = (OVERLAYS / f"{name}.yaml").read_text().splitlines()
        assert first.startswith(("# Table ", "# Figure ", "# Section ", "# Beside table ")), name
        assert any(f"-c conf/mini.yaml -c conf/ablation/{name}.yaml" in line for line in rest), name
        assert overlay(name)["trainer"]["logger"]["init_args"]["name"] == name  # runs do not write over each other


def test_every_control_of_the_paper_has_a_model_of_its_own_with_its_dims_and_windows() -> None:
    """Section 3.1: chords and melody 16; audio window 5, dim 1; drums window 3, dim 2; painting as it is."""
    assert set(CONTROLS) >= SINGLE
    audio, drums = {"dim": 1, "window": 5}, {"dim": 2, "window": 3}
    expected = {"chords": {"dim": 16}, "melody": {"dim": 16}, "painting": {}, "mix": audio, "drumless": audio}
    expected |= {"drums": drums, "drums_bandpass": drums}
    for name, options in expected.items():
        model = overlay(name)["model"]
        assert model["config"]["controls"] == {name: options}
        assert model["dropout"] is None  # the paper's rates: 40 %, see test_dropout


@pytest.mark.parametrize("name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in NAMES if n != "zero_convolution"])
def test_the_overlay_trains_and_generates(
    name: str, tiny_training: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched(monkeypatch) as before:
        model = train(name, tiny_training, tmp_path)
    parameters = dict(model.named_parameters())
    still = [key for key in parameters if torch.equal(before[key], parameters[key])]
    assert still == []
    changes = overlay(name)["model"].get("config", {})
    assert all(getattr(model.config.transformer, key) == value for key, value in changes.get("transformer", {}).items())
    assert all(getattr(model.config, key) == value for key, value in changes.items() if key != "transformer")
    generate(model, tmp_path)


def test_zero_convolution_trains_beside_a_text_only_model_and_generates(
    tiny_training: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text_only = train("text_only", tiny_training, tmp_path)
    text_only.save_pretrained(tmp_path / "text-only")
    model = train("zero_convolution", tiny_training, tmp_path, "--model.start_from", str(tmp_path / "text-only"))
    frozen, learnt = text_only.transformer.state_dict(), model.transformer.state_dict()
    assert all(torch.equal(learnt[name], tensor) for name, tensor in frozen.items())
    assert model.transformer.branch is not None
    assert all(leave.weight.any() for leave in model.transformer.branch.leave)  # type: ignore[union-attr,operator]
    generate(model, tmp_path)

    capsys.readouterr()
    command = ["fit", *tiny_training("other", "-c", str(OVERLAYS / "zero_convolution.yaml"))]
    assert main([*command, "--trainer.logger.init_args.name", "other", "--model.start_from", "null"]) == 2
    assert "name its folder with model.start_from" in capsys.readouterr().err.splitlines()[-1]
    assert main([*command, "--trainer.logger.init_args.name", "other", "--model.start_from", "nowhere"]) == 2
    assert "no JASCO checkpoint in 'nowhere'" in capsys.readouterr().err.splitlines()[-1]


def test_overlays_lie_over_the_papers_configuration_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paper = OVERLAYS.parent / "paper.yaml"
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "-c", str(paper), "-c", str(OVERLAYS / "chords.yaml"), "--print_config"])
    model = yaml.safe_load(capsys.readouterr().out)["model"]
    assert model["config"]["controls"] == {"chords": {"dim": 16}}
    assert model["dropout"] is None
    assert (model["config"]["transformer"]["layers"], model["config"]["text_encoder"]) == (24, "t5-base")
