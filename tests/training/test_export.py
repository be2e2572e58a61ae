from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from jasco_pl.cli import main
from jasco_pl.commands.export import load_mean
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.system.errors import UserError


def checkpoint(path: Path, config: ModelConfig, seed: int) -> JascoModel:
    """A training checkpoint with random weights, and its model."""
    torch.manual_seed(seed)
    model = JascoModel(config)
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    torch.save({"model_config": asdict(config), "state_dict": state}, path)
    return model


def test_several_checkpoints_are_exported_as_the_mean_of_their_weights(tiny_model_config: ModelConfig, tmp_path: Path) -> None:
    paths = [tmp_path / f"{seed}.ckpt" for seed in range(3)]
    models = [checkpoint(path, tiny_model_config, seed) for seed, path in enumerate(paths)]
    assert main(["export", *map(str, paths), "-o", str(tmp_path / "mean")]) == 0
    found = load_file(tmp_path / "mean" / "model.safetensors")
    states = [model.state_dict() for model in models]
    for name, value in found.items():
        torch.testing.assert_close(value, torch.stack([state[name] for state in states]).mean(dim=0))
    assert any(not torch.equal(value, states[0][name]) for name, value in found.items())


def test_a_single_checkpoint_is_itself_bit_for_bit(tiny_model_config: ModelConfig, tmp_path: Path) -> None:
    expected = checkpoint(tmp_path / "one.ckpt", tiny_model_config, 0).state_dict()
    found = load_mean([str(tmp_path / "one.ckpt")]).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_other_models_have_no_mean(tiny_model_config: ModelConfig, tmp_path: Path) -> None:
    checkpoint(tmp_path / "one.ckpt", tiny_model_config, 0)
    checkpoint(tmp_path / "other.ckpt", replace(tiny_model_config, control_gain=tiny_model_config.control_gain + 1), 0)
    with pytest.raises(UserError, match=r"other.ckpt' is of another model than .*one.ckpt'"):
        load_mean([str(tmp_path / "one.ckpt"), str(tmp_path / "other.ckpt")])
