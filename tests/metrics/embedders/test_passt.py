from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from jasco_pl.metrics.embedders import load_classifier, passt
from jasco_pl.metrics.embedders.passt import PasstNetwork, passt_mel
from jasco_pl.system.errors import UserError


def audio(seconds: float = 10.0) -> torch.Tensor:
    samples = torch.arange(int(seconds * 32000), dtype=torch.float64) / 2
    return (0.3 * torch.sin(samples * 0.05) * torch.sin(samples * 1e-4)).float()[None]


def sines(network: PasstNetwork) -> None:
    with torch.no_grad():
        for number, (_, parameter) in enumerate(sorted(network.named_parameters())):
            parameter.copy_(0.2 * torch.sin(torch.arange(parameter.numel()) * 0.37 + number).view_as(parameter))


def test_network_and_input_are_those_of_hear21passt() -> None:
    """Recorded from hear21passt 0.0.26 (models/passt.py, models/preprocess.py) with the same weights and audio."""
    network = PasstNetwork(width=24, depth=2, heads=3, labels=7).eval()
    sines(network)
    mel = passt_mel(audio())
    assert mel.shape == (1, 128, 1000)
    np.testing.assert_allclose(mel[0, 0, ::333], [-1.3964, -0.6209, -0.5642, -1.0688], atol=2e-3)
    with torch.no_grad():
        logits = network(mel)[0]
    np.testing.assert_allclose(logits, [-0.5767, 0.2390, -0.4679, -0.1497, 0.0339, -0.4840, 0.4105], atol=1e-3)


def test_has_the_layout_of_the_published_file() -> None:
    with torch.device("meta"):
        network = PasstNetwork()
    state = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert sum(math.prod(shape) for shape in state.values()) == 86_153_758  # counted in hear21passt's model
    assert state["blocks.11.attn.qkv.weight"] == (2304, 768)
    assert state["time_new_pos_embed"] == (1, 768, 1, 99)
    assert state["head.1.weight"] == (527, 768)


def test_parts_of_ten_seconds_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passt, "PasstNetwork", lambda: PasstNetwork(width=24, depth=1, heads=3, labels=7))
    small = PasstNetwork(width=24, depth=1, heads=3, labels=7)
    sines(small)
    torch.save(small.state_dict(), tmp_path / "small.pt")
    classifier = load_classifier("passt", str(tmp_path / "small.pt"))
    assert classifier.name == "passt:small"
    found = classifier.probabilities(torch.stack([audio(12.0), audio(12.0) * 0.1]), 32000)
    assert found.shape == (2, 2, 7)
    assert torch.allclose(found.sum(-1), torch.ones(2, 2))
    assert classifier.probabilities(audio(10.1), 32000).shape == (1, 1, 7)  # a tenth of a second is no part
    with pytest.raises(UserError, match="too short"):
        classifier.probabilities(audio(0.1), 32000)


def test_missing_weights_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"weights of passt are not here.*JASCO_PASST"):
        load_classifier("passt")
    with pytest.raises(UserError, match="there are: passt"):
        load_classifier("panns")
