from __future__ import annotations

from typing import Any

import lightning
import pytest
import torch
from recorder import join, read, recording, start_ranks
from torch import nn

from jasco_pl.data.datamodule import ShardDataModule
from jasco_pl.system.errors import UserError
from jasco_pl.training.guard import GradientGuard, gradient_norm
from jasco_pl.training.module import JascoModule


class Poison(lightning.Callback):
    """Spoils the latents of one sample of the given steps, on one rank, or scales all gradients."""

    def __init__(self, steps: list[int], rank: int = 0, value: float = float("nan"), scale: float | None = None) -> None:
        self.steps, self.rank, self.value, self.scale = steps, rank, value, scale

    def on_train_batch_start(self, trainer: lightning.Trainer, module: JascoModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step + 1 in self.steps and trainer.global_rank == self.rank and self.scale is None:
            batch["latents"][1] = self.value

    def on_after_backward(self, trainer: lightning.Trainer, module: JascoModule) -> None:
        if trainer.global_step + 1 in self.steps and self.scale is not None:
            for parameter in module.parameters():
                if parameter.grad is not None:
                    parameter.grad *= self.scale


class Weights(lightning.Callback):
    """Keeps a weight, Adam's count of steps and the reported norm after every step."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []
        self.counts: list[float] = []
        self.norms: list[float] = []

    def on_train_batch_end(self, trainer: lightning.Trainer, module: JascoModule, *args: Any) -> None:
        self.seen.append(module.model.transformer.output.weight.detach().clone())
        self.counts.append(float(next(iter(trainer.optimizers[0].state.values()), {"step": 0})["step"]))
        self.norms.append(float(trainer.callback_metrics.get("train/grad_norm", 0.0)))


@pytest.fixture
def fit(make_module, tmp_path, write_tiny_shards):
    """fit(steps, callbacks, options) -> the weights that every step left."""
    write_tiny_shards(tmp_path / "train", samples=12)

    def run(steps: int, *callbacks: lightning.Callback, **options: Any) -> Weights:
        weights = Weights()
        trainer = lightning.Trainer(
            log_every_n_steps=1,
            accelerator="cpu",
            max_steps=steps,
            limit_val_batches=0,
            gradient_clip_val=0.2,
            callbacks=[*callbacks, weights],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **options,
        )
        folder = str(tmp_path / "train")
        trainer.fit(make_module(ema_decay=0.9), ShardDataModule(folder, folder, batch_size=4, seconds=1.0, workers=0))
        return weights

    return run


def test_the_norm_is_that_of_all_gradients_together():
    layer: Any = nn.Linear(2, 1)
    layer.weight.grad, layer.bias.grad = torch.tensor([[3.0, 0.0]]), torch.tensor([4.0])
    assert gradient_norm(layer) == pytest.approx(5.0)


@pytest.mark.parametrize(("value", "parts"), [(float("nan"), 1), (float("inf"), 2)])
def test_a_step_that_is_not_finite_changes_nothing_and_is_reported(fit, capsys, value, parts):
    guard = GradientGuard()
    weights = fit(4, Poison([2], value=value), guard, accumulate_grad_batches=parts)
    ends = slice(parts - 1, None, parts)
    seen, counts = weights.seen[ends], weights.counts[ends]
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
    assert all(torch.isfinite(weight).all() for weight in seen)
    assert counts == [1, 1, 2, 3]
    assert (guard.skipped, guard.in_a_row, len(guard.norms)) == (1, 0, 3)
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert line.startswith("step 2 is left out: the loss is not finite; samples: train-0")
    assert line.count("train-0") == parts  # of two parts, one sample each


def test_the_norm_that_is_logged_is_unclipped(fit):
    assert min(fit(2, GradientGuard()).norms) > 0.2


def test_a_gradient_far_above_the_usual_is_left_out_only_where_asked(fit, capsys):
    usual = 24
    guard = GradientGuard(spike=30.0, window=20)
    weights = fit(usual + 2, Poison([usual], scale=1000.0), guard)
    assert guard.skipped == 1
    assert torch.equal(weights.seen[usual - 2], weights.seen[usual - 1])
    error = capsys.readouterr().err
    assert f"step {usual} is left out: the gradient norm " in error
    assert "times the median of the last 20; samples: train-0" in error
    assert fit(3, Poison([2], scale=1000.0), plain := GradientGuard()).counts == [1, 2, 3]
    assert plain.skipped == 0


def test_many_such_steps_in_a_row_end_the_training_with_one_sentence(fit):
    sentence = "^3 steps in a row had to be left out, the last one, 4, because the loss is not finite; the weights are those of step 1: "
    with pytest.raises(UserError, match=sentence):
        fit(9, Poison([2, 3, 4, 5]), GradientGuard(give_up_after=3))


def test_a_resumed_guard_judges_as_before():
    guard, other = GradientGuard(window=20), GradientGuard(window=20)
    guard.norms.extend(map(float, range(30)))
    guard.skipped, guard.in_a_row = 5, 2
    other.load_state_dict(guard.state_dict())
    assert other.state_dict() == guard.state_dict() == {"norms": [float(n) for n in range(10, 30)], "skipped": 5, "in_a_row": 2}


@pytest.mark.parametrize("options", [{"spike": 1.0}, {"window": 3}, {"give_up_after": 0}])
def test_options_that_make_no_sense_are_one_sentence(options):
    with pytest.raises(UserError, match="is accepted"):
        GradientGuard(**options)


@pytest.mark.parametrize("strategy", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_all_processes_leave_the_step_out_together(tiny_training, tmp_path, strategy):
    """Only rank 1 sees the spoiled sample; both go on as one, and rank 1's sample is named."""
    log = tmp_path / "log.txt"
    poison = '{"class_path": "test_guard.Poison", "init_args": {"steps": [3], "rank": 1}}'
    arguments = tiny_training("run", recording(tmp_path / "run"), f"--trainer.callbacks+={poison}", "--trainer.max_steps", "6")
    processes = start_ranks(["fit", *arguments, "--trainer.strategy", strategy], log, nodes=1, devices=2)
    assert join(processes, 200) == [0, 0], log.read_text()
    ranks = [read(tmp_path / "run", rank) for rank in (0, 1)]
    spoiled = ranks[1][2]["ids"][1]
    assert log.read_text().count(f"step 3 is left out: the loss is not finite; samples: {spoiled} (1 steps so far).") == 1
    assert all(line["loss"] == line["loss"] for rank in ranks for line in rank if line["step"] != 3)
