from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from untrained import stir

from jasco_pl.codec import BandCodec
from jasco_pl.compose import compose_set
from jasco_pl.evaluation import clips
from jasco_pl.evaluation.settings import Settings
from jasco_pl.extract import heard
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import JascoModel, ModelConfig


@pytest.fixture(scope="session")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two composed pieces or more."""
    folder = tmp_path_factory.mktemp("pieces")
    compose_set(folder, 0.02, 9, "test", progress=False)
    assert len(list(folder.glob("*.json"))) >= 2
    return folder


@pytest.fixture
def tiny_settings(tiny_model_config: ModelConfig, tiny_codec_folder: Path, tiny_text_folder: Path, tmp_path: Path) -> Settings:
    """A tiny model with all kinds of controls that obeys in some way; two-second clips of two Euler steps."""
    torch.manual_seed(0)
    codec = BandCodec.from_pretrained(tiny_codec_folder)
    controls = {**tiny_model_config.controls, "painting": {}}
    config = replace(tiny_model_config, text_encoder=str(tiny_text_folder), text_dim=32, seconds=2.0, controls=controls)
    model = JascoModel(config, codec.latent_mean, codec.latent_std, codec.normalized_codebook, codec.normalized_silence)
    stir(model)
    model.save_pretrained(tmp_path / "model")
    return Settings(str(tmp_path / "model"), "all=1.5 text=0.5", SolverConfig("euler", steps=2, times="uniform"), seconds=2.0)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How long every audio was, in frames, that Chordino had to listen to."""
    seen: list[int] = []
    original = heard.chordino_frames
    monkeypatch.setattr(heard, "chordino_frames", lambda wav, rate, frames: seen.append(frames) or original(wav, rate, frames))
    clips.load_jasco.cache_clear()
    yield seen
    clips.load_jasco.cache_clear()
