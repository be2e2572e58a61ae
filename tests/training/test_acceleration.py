from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from jasco_pl.cli import main
from jasco_pl.training.module import JascoModule

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


def norm_of(module: JascoModule) -> float:
    return float(torch.nn.utils.get_total_norm([weight.grad for weight in module.parameters() if weight.grad is not None]))


def test_fused_adam_is_clipped_under_mixed_precision_by_the_norm_of_the_guard(train, monkeypatch):
    clipped: list[tuple[float, float]] = []
    original = JascoModule.configure_gradient_clipping

    def watch(self: JascoModule, *args: Any, **options: Any) -> None:
        assert float(self.gradient_norm) == pytest.approx(norm_of(self))  # type: ignore[arg-type]
        before = norm_of(self)
        original(self, *args, **options)
        assert self.gradient_norm is None  # not that of the next step
        clipped.append((before, norm_of(self)))

    monkeypatch.setattr(JascoModule, "configure_gradient_clipping", watch)
    train("mixed", "--model.fused", "true", "--trainer.precision", "bf16-mixed", "--trainer.gradient_clip_val", "0.01", steps=2)
    assert len(clipped) == 2
    assert all(before > 0.01 and after == pytest.approx(0.01, rel=1e-3) for before, after in clipped)


def test_clipping_does_without_the_guard(make_module):
    module = make_module(fused=True)
    for weight in module.parameters():
        weight.grad = torch.ones_like(weight)
    module.configure_gradient_clipping(None, 0.5)
    assert norm_of(module) == pytest.approx(0.5, rel=1e-3)
    module.configure_gradient_clipping(None, 0.7)  # below it nothing changes
    assert norm_of(module) == pytest.approx(0.5, rel=1e-3)


def test_adam_is_not_fused_where_gradients_are_scaled(make_module):
    module = make_module(fused=True)
    assert module.fuses
    assert not make_module(fused=None).fuses  # on a CPU nothing is, unless asked for
    module._trainer = type("Trainer", (), {"precision_plugin": type("Precision", (), {"scaler": object()})()})()
    assert not module.fuses


@pytest.mark.slow
def test_compiled_layers_train_the_same_weights(train):
    still = ["--model.config.transformer.dropout", "0"]  # compiled code draws it otherwise
    plain, compiled = train("plain", *still), train("compiled", "--model.compile", "true", *still)
    assert list(weights(compiled)) == list(weights(plain))
    torch.testing.assert_close(weights(compiled), weights(plain), atol=5e-5, rtol=1e-3)
