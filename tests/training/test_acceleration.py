from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from jasco_pl.cli import main

STEPS = 4


@pytest.fixture
def train(tiny_training, tmp_path):
    """train(name, overrides...) -> the checkpoint after some steps."""

    def run(name: str, *overrides: str, steps: int = STEPS) -> dict[str, Any]:
        arguments = ["--trainer.max_steps", str(steps), "--trainer.limit_val_batches", "0", "--trainer.enable_progress_bar", "false"]
        assert main(["fit", *tiny_training(name, *arguments, *overrides)]) == 0
        return torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)

    return run


def weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    return {**checkpoint["state_dict"], **{f"average {name}": value for name, value in checkpoint["ema"]["average"].items()}}


def test_fused_adam_and_checkpointing_train_the_same_weights(train):
    plain = train("plain", "--model.fused", "false")
    quick = train("quick", "--model.fused", "true", "--model.checkpointing", "true")
    assert plain["optimizer_states"][0]["param_groups"][0]["fused"] is False
    assert quick["optimizer_states"][0]["param_groups"][0]["fused"] is True
    assert list(weights(quick)) == list(weights(plain))
    # Adam divides tiny gradients by their own size: the last bits of a sum become visible
    torch.testing.assert_close(weights(quick), weights(plain), atol=2e-5, rtol=1e-4)


def test_a_run_goes_on_with_the_other_adam(train):
    half = train("half", "--model.fused", "false", steps=2)
    assert half["global_step"] == 2
    on = train("half", "--model.fused", "true")
    assert (on["global_step"], on["optimizer_states"][0]["param_groups"][0]["fused"]) == (STEPS, True)
    torch.testing.assert_close(weights(on), weights(train("whole", "--model.fused", "false")), atol=2e-5, rtol=1e-4)


def test_fused_adam_is_clipped_under_mixed_precision(train, monkeypatch):
    clipped: list[tuple[float, float]] = []
    original = torch.nn.utils.clip_grad_norm_

    def watch(parameters: Any, limit: float, *args: Any, **options: Any) -> Tensor:
        parameters = list(parameters)
        before = original(parameters, limit, *args, **options)
        after = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
        clipped.append((float(before), float(after)))
        return before

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", watch)
    train("mixed", "--model.fused", "true", "--trainer.precision", "bf16-mixed", "--trainer.gradient_clip_val", "0.01", steps=2)
    assert len(clipped) == 2
    assert all(after == pytest.approx(0.01, rel=1e-3) for before, after in clipped if before > 0.01)
    assert any(before > 0.01 for before, _ in clipped)


def test_adam_is_not_fused_where_gradients_are_scaled(make_module):
    module = make_module(fused=True)
    assert module.fuses
    assert not make_module(fused=None).fuses  # on a CPU nothing is, unless asked for
    module._trainer = type("Trainer", (), {"precision_plugin": type("Precision", (), {"scaler": object()})()})()
    assert not module.fuses


@pytest.mark.slow
def test_compiled_layers_train_the_same_weights(train):
    plain, compiled = train("plain"), train("compiled", "--model.compile", "true")
    assert list(weights(compiled)) == list(weights(plain))
    torch.testing.assert_close(weights(compiled), weights(plain), atol=5e-5, rtol=1e-3)
