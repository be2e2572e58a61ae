from __future__ import annotations

import pytest
import torch
from torch import nn

from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.system.undrawn import Undrawn


def test_nothing_is_drawn_and_everything_has_its_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    state = torch.get_rng_state()
    with Undrawn():
        model = JascoModel(ModelConfig())
    assert torch.equal(torch.get_rng_state(), state)
    drawn = JascoModel(ModelConfig())
    assert not torch.equal(torch.get_rng_state(), state)
    assert {name: tensor.shape for name, tensor in model.state_dict().items()} == {
        name: tensor.shape for name, tensor in drawn.state_dict().items()
    }
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"cpu"}


def test_outside_of_it_all_is_as_before() -> None:
    with Undrawn():
        nn.Linear(2, 2)
    weight = torch.full((64, 64), torch.nan)
    assert nn.init.trunc_normal_(weight).isfinite().all()
    assert nn.init.normal_(weight.fill_(torch.nan)).isfinite().all()
    assert not weight.is_meta
