from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from jasco_pl.metrics.distances import FrechetDistance, label_kl
from jasco_pl.metrics.embedders import load_embedder, musicnn
from jasco_pl.metrics.embedders.musicnn import Musicnn
from jasco_pl.system.errors import UserError

installed = pytest.mark.skipif(
    importlib.util.find_spec("musicnn") is None, reason="the optional package musicnn, which carries the weights, is not installed"
)
RATE = 32000


@pytest.fixture(scope="module")
def embedder() -> Musicnn:
    return Musicnn()


def noise(seconds: float = 4.5, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(1, int(seconds * RATE), generator=torch.Generator().manual_seed(seed))


@installed
def test_embeddings_and_labels_of_batches(embedder: Musicnn) -> None:
    clips = torch.stack([noise(seed=0), noise(seed=1)])
    embeddings, logits = embedder.analyse(clips, RATE)
    assert embeddings.shape == (2, 2, 200)
    assert logits.shape == (2, 2, 50)
    assert torch.allclose(embedder(clips[1], RATE), embeddings[1:], atol=1e-5)
    probabilities = logits.softmax(dim=-1).mean(dim=1)
    assert label_kl(probabilities, probabilities).abs().max() < 1e-4
    assert FrechetDistance(embedder.name, embedder.dim).name == "FD[musicnn]"
    with pytest.raises(UserError, match="too short"):
        embedder(noise(2.0), RATE)


@installed
def test_statistics_of_the_checkpoint_fit_the_layers_they_were_assigned_to(embedder: Musicnn) -> None:
    """A batch norm's running mean and variance are those of what enters it: a wrong order of layers or of weights would show here."""
    network = embedder.network
    seen: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_pre_hook(lambda _, given, name=name: seen.__setitem__(name, given[0]))
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)
    ]
    embedder.analyse(_chords(), RATE)
    for hook in hooks:
        hook.remove()
    assert len(seen) == 11
    for name, given in seen.items():
        norm = network.get_submodule(name)
        found = given.float().transpose(0, 1).flatten(1).mean(dim=1)
        deviations = (found - norm.running_mean).abs() / (norm.running_var + norm.eps).sqrt()  # type: ignore[operator]
        assert deviations.median() < 1.5, name


def _chords() -> Tensor:
    """Plucked chords over clicks: sound that the network knows more of than noise."""
    time = np.arange(6 * RATE) / RATE
    notes = sum(np.sin(2 * np.pi * 220 * 2 ** (step / 12) * harmonic * time) / harmonic for step in (0, 4, 7) for harmonic in range(1, 6))
    wav = 0.08 * notes * np.exp(-3 * (time % 0.5))
    clicks = np.random.default_rng(0).standard_normal(len(time)) * np.exp(-60 * (time % 0.5)) * 0.2
    return torch.from_numpy(wav + clicks).float()[None]


def test_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JASCO_MUSICNN", raising=False)
    monkeypatch.setattr(musicnn.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install --no-deps musicnn==0\.1\.0.*JASCO_MUSICNN"):
        load_embedder("musicnn")
    monkeypatch.setenv("JASCO_MUSICNN", str(tmp_path))
    with pytest.raises(UserError, match="does not hold the checkpoint MTT_musicnn"):
        load_embedder("musicnn")
