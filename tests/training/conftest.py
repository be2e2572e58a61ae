from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from jasco_pl.controls.conditions import ConditionDropout
from jasco_pl.data.crops import CropDataset, collate
from jasco_pl.data.schema import Batch
from jasco_pl.network.model import ModelConfig
from jasco_pl.training.module import JascoModule

FIELDS = ("latents", "chords", "melody", "codes_drums")


@pytest.fixture
def tiny_module_config(tiny_model_config: ModelConfig, tiny_text_folder: Path) -> ModelConfig:
    """The tiny model with the tiny text encoder."""
    return replace(tiny_model_config, text_encoder=str(tiny_text_folder), text_dim=32)


@pytest.fixture
def make_module(tiny_module_config: ModelConfig) -> Callable[..., JascoModule]:
    """make(**options) -> a module whose output depends on all it is given (a fresh network's output is zero)."""

    def make(**options: Any) -> JascoModule:
        config, dropout = options.pop("config", tiny_module_config), options.pop("dropout", ConditionDropout(0.1, 0.2))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = JascoModule(config, dropout, **{"warmup_steps": 2, "decay_steps": 20, **options})
            nn.init.normal_(module.model.transformer.output.weight, std=0.1)
            nn.init.normal_(module.model.transformer.time_modulation.weight, std=0.1)
        return module

    return make


@pytest.fixture
def tiny_batch(tmp_path: Path, write_tiny_shards: Callable[..., Any]) -> Callable[..., Batch]:
    """batch(positions) -> crops of one second of samples of epoch 0."""
    write_tiny_shards(tmp_path / "crops", samples=8)
    dataset = CropDataset(tmp_path / "crops", 50, seed=0, fields=FIELDS)
    return lambda *positions: collate([dataset[0, position] for position in positions])
