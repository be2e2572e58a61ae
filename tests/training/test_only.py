from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from jasco_pl.controls.conditions import Conditions
from jasco_pl.network.model import JascoModel
from jasco_pl.system.errors import UserError
from jasco_pl.training.only import train_only


@pytest.fixture
def trained(make_module, tmp_path):
    """A folder with weights of a model without the new control, and a module that has it."""
    module = make_module()
    module.model.save_pretrained(tmp_path / "before")
    config = replace(module.config, controls={**module.config.controls, "beat": {"dim": 3}})
    return tmp_path / "before", make_module(config=config, start_from=str(tmp_path / "before"), train_only=["beat"])


def asked(model: JascoModel, beat: bool) -> Conditions:
    conditions = model.null_conditions(2, 50)
    draw = torch.Generator().manual_seed(1)
    conditions.local["melody"] = torch.randint(0, 2, conditions.local["melody"].shape, generator=draw).to(conditions.local["melody"].dtype)
    if beat and "beat" in model.controls:
        conditions.local["beat"] = torch.rand(conditions.local["beat"].shape, generator=draw)
    return conditions


def test_a_new_control_is_learnt_and_all_else_stays_bit_for_bit(trained, tiny_batch) -> None:
    folder, module = trained
    module.setup("fit")
    before = JascoModel.from_pretrained(folder).eval()
    noise, t = torch.randn(2, 50, module.config.latent_dim, generator=torch.Generator().manual_seed(0)), torch.tensor([0.2, 0.7])
    optimizer = module.configure_optimizers()["optimizer"]
    module.model.train()
    for _ in range(3):
        conditions = asked(module.model, beat=True)
        optimizer.zero_grad()
        module.model(noise, t, conditions).square().mean().backward()
        for group in optimizer.param_groups:
            group["lr"] = 0.1
        optimizer.step()
    module.model.eval()
    with torch.inference_mode():
        old = before(noise, t, asked(before, beat=False))
        assert torch.equal(module.model(noise, t, asked(module.model, beat=False)), old)
        assert not torch.allclose(module.model(noise, t, asked(module.model, beat=True)), old, atol=1e-3)


def test_what_cannot_be_trained_alone_is_named(make_module, tmp_path) -> None:
    with pytest.raises(UserError, match=r"model\.start_from"):
        make_module(train_only=["chords"])
    module = make_module()
    with pytest.raises(UserError, match="'tempo', which is no control"):
        train_only(module.model, ["tempo"])
    with pytest.raises(UserError, match="'chords' cannot be trained alone"):
        train_only(module.model, ["chords"])
