from __future__ import annotations

import pytest
import torch
from torch import nn

from jasco_pl.system.errors import UserError
from jasco_pl.training.ema import WeightAverage


@pytest.fixture
def layer() -> nn.Linear:
    layer = nn.Linear(2, 2)
    nn.init.constant_(layer.weight, 1.0)
    nn.init.constant_(layer.bias, 0.0)
    return layer


def set_weight(layer: nn.Linear, value: float) -> None:
    with torch.no_grad():
        layer.weight.fill_(value)


def test_the_average_moves_by_the_stated_shares(layer):
    ema = WeightAverage(layer, decay=0.25)
    set_weight(layer, 12.0)
    ema.update()  # decay min(0.25, 2 / 11)
    first = 2 / 11 * 1.0 + 9 / 11 * 12.0
    assert torch.allclose(ema.average["weight"], torch.tensor(first))
    set_weight(layer, 0.0)
    ema.update()  # min(0.25, 3 / 12)
    ema.update()  # 0.25 from here on
    assert torch.allclose(ema.average["weight"], torch.tensor(first * 0.25 * 0.25))
    assert torch.equal(ema.average["bias"], torch.zeros(2))


def test_late_updates_use_the_decay_itself(layer):
    ema = WeightAverage(layer, decay=0.9)
    ema.updates = 10_000
    set_weight(layer, 2.0)
    ema.update()
    assert torch.allclose(ema.average["weight"], torch.tensor(1.1))


def test_the_average_is_no_view_of_the_live_weights(layer):
    ema = WeightAverage(layer, decay=0.9)
    set_weight(layer, 5.0)
    assert torch.equal(ema.average["weight"], torch.ones(2, 2))


def fail_inside(ema: WeightAverage, layer: nn.Linear) -> None:
    with ema.applied():
        assert torch.equal(layer.weight, torch.ones(2, 2))
        raise RuntimeError("in the middle")


def test_applied_puts_the_average_in_and_the_live_weights_back_even_after_an_error(layer):
    ema = WeightAverage(layer, decay=0.9)
    set_weight(layer, 7.0)
    with pytest.raises(RuntimeError, match="in the middle"):
        fail_inside(ema, layer)
    assert torch.equal(layer.weight, torch.full((2, 2), 7.0))
    assert torch.equal(ema.average["weight"], torch.ones(2, 2))
    assert layer.weight.requires_grad


def test_frozen_parameters_are_left_out(layer):
    layer.bias.requires_grad_(False)
    assert set(WeightAverage(layer, 0.9).average) == {"weight"}


def test_a_loaded_average_goes_on_as_the_saved_one_would(layer):
    ema = WeightAverage(layer, decay=0.9)
    for value in (3.0, 4.0, 5.0):
        set_weight(layer, value)
        ema.update()
    state = {"updates": ema.updates, "average": {name: tensor.clone() for name, tensor in ema.state_dict()["average"].items()}}
    other = WeightAverage(layer, decay=0.9)
    other.load_state_dict(state)
    for average in (ema, other):
        average.update()
    assert other.updates == ema.updates == 4
    assert torch.equal(other.average["weight"], ema.average["weight"])


def test_an_average_of_other_weights_is_refused(layer):
    stored = WeightAverage(layer, decay=0.9).state_dict()
    layer.bias.requires_grad_(False)
    with pytest.raises(UserError, match="the checkpoint's average is of other weights than those that are trained now \\('bias'"):
        WeightAverage(layer, decay=0.9).load_state_dict(stored)
