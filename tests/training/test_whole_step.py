"""A step taken as one function of its batch is the step that Lightning's hooks take."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import recorded_graph
import torch
from pretended_gpu import OnGpu, pretended

from jasco_pl.data import datamodule
from jasco_pl.data.crops import CropDataset
from jasco_pl.data.datamodule import ShardDataModule
from jasco_pl.data.resident import ResidentSet
from jasco_pl.system.cuda_graph import WARM_UP
from jasco_pl.system.errors import UserError
from jasco_pl.training import module as training
from jasco_pl.training import whole_step
from jasco_pl.training.ema import WeightAverage
from jasco_pl.training.guard import GradientGuard
from jasco_pl.training.module import JascoModule
from jasco_pl.training.whole_step import WholeStep, what_forbids

FIELDS = ("latents", "chords", "melody", "codes_drums")


class Steps(lightning.Callback):
    """Loss, rate and a weight after every step; spoils the latents of the steps named."""

    def __init__(self, poisoned: tuple[int, ...] = ()) -> None:
        self.poisoned = poisoned
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.weights: list[torch.Tensor] = []

    def on_train_batch_start(self, trainer: lightning.Trainer, module: JascoModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step + 1 in self.poisoned:
            batch["latents"][1] = torch.nan

    def on_train_batch_end(self, trainer: lightning.Trainer, module: JascoModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(float(outputs["loss"]))
        self.rates.append(float(trainer.optimizers[0].param_groups[0]["lr"]))
        self.weights.append(module.model.transformer.output.weight.detach().clone())


@pytest.fixture
def fit(make_module, tmp_path, write_tiny_shards):
    """fit(graph, steps, poisoned, **options) -> (module, what the steps left, the guard, the trainer)."""
    write_tiny_shards(tmp_path / "train", samples=12, sections=True)

    def run(graph: bool, steps: int = 7, poisoned: tuple[int, ...] = (), module: Any = None, **options: Any) -> Any:
        watch, guard = Steps(poisoned), GradientGuard(**options.pop("guard", {}))
        start = options.pop("start", None)
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
        settings = {"accelerator": "cpu", "max_steps": steps, "limit_val_batches": 0, "gradient_clip_val": 0.2, "log_every_n_steps": 3}
        trainer = lightning.Trainer(**{**quiet, **settings, **options}, callbacks=[guard, watch])
        module = module or make_module(ema_decay=0.9, graph=graph, fused=True)
        folder = str(tmp_path / "train")
        data = ShardDataModule(folder, folder, batch_size=4, seconds=1.0, workers=0, resident=True)
        trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True if start else None)
        return module, watch, guard, trainer

    return run


def assert_alike(one: tuple[Any, Steps, GradientGuard], other: tuple[Any, Steps, GradientGuard], slack: float = 1) -> None:
    """Two trainings had the same losses, rates, weights, averages and norms, step by step."""
    (module, steps, guard), (reference, expected, expected_guard) = one, other
    assert steps.losses == pytest.approx(expected.losses, rel=1e-6 * slack, nan_ok=True)
    assert steps.rates == pytest.approx(expected.rates, rel=1e-6)
    for weight, wanted in zip(steps.weights, expected.weights, strict=True):
        torch.testing.assert_close(weight, wanted, rtol=1e-5 * slack, atol=1e-7 * slack)
    for name, average in module.ema.average.items():
        torch.testing.assert_close(average, reference.ema.average[name], rtol=1e-5 * slack, atol=1e-7 * slack)
    assert list(guard.norms) == pytest.approx(list(expected_guard.norms), rel=1e-5 * slack)


def test_losses_weights_average_and_norms_are_those_of_the_hooks(fit):
    (module, whole, guard, _), (other, plain, plain_guard, _) = fit(True), fit(False)
    assert module.whole_step is not None
    assert other.whole_step is None
    assert len(whole.losses) == len(set(whole.losses)) == 7  # over the border of an epoch
    assert whole.losses == pytest.approx(plain.losses, rel=1e-6)  # each of them a number
    assert_alike((module, whole, guard), (other, plain, plain_guard))
    assert (len(guard.norms), module.ema.updates) == (7, 7)


def test_a_step_that_is_not_finite_leaves_itself_out_and_is_told_later(fit, capsys):
    _, whole, guard, trainer = fit(True, poisoned=(2, 5))
    assert torch.equal(whole.weights[0], whole.weights[1])
    assert torch.equal(whole.weights[3], whole.weights[4])
    assert not torch.equal(whole.weights[1], whole.weights[2])
    assert all(torch.isfinite(weight).all() for weight in whole.weights)
    assert float(next(iter(trainer.optimizers[0].state.values()))["step"]) == 5
    told = capsys.readouterr().err
    assert "step 2 is left out: the loss is not finite; samples: train-" in told
    assert "step 5 is left out" in told
    assert (guard.skipped, guard.in_a_row, len(guard.norms)) == (2, 0, 5)


def test_too_many_steps_left_out_end_the_training(fit):
    with pytest.raises(UserError, match="2 steps in a row had to be left out, the last one, 3, because the loss is not finite"):
        fit(True, poisoned=(2, 3), guard={"give_up_after": 2})


def test_a_checkpoint_knows_of_every_step(fit, tmp_path):
    *_, trainer = fit(True, steps=5, poisoned=(2,), log_every_n_steps=100)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    stored = torch.load(tmp_path / "run.ckpt", weights_only=True)
    (state,) = (value for key, value in stored["callbacks"].items() if "GradientGuard" in key)
    assert (state["skipped"], len(state["norms"])) == (1, 4)


@pytest.mark.parametrize("before", [True, False])
def test_a_run_goes_on_either_way(fit, tmp_path, before):
    _, whole, *_ = fit(False, steps=7)
    *_, trainer = fit(before, steps=4)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    _, rest, *_ = fit(not before, steps=7, start=tmp_path / "run.ckpt")
    assert rest.losses == pytest.approx(whole.losses[4:], rel=1e-5)
    assert rest.rates == pytest.approx(whole.rates[4:], rel=1e-6)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"accumulate_grad_batches": 2}, "it is accumulated from 2 parts"),
        ({"guard": {"spike": 10.0}}, "the guard compares its norm with those before it"),
        ({"gradient_clip_algorithm": "value"}, "its gradients are not clipped by their norm"),
    ],
)
def test_what_cannot_be_one_function_is_said_in_a_sentence_and_trains_as_ever(fit, capsys, options, sentence):
    module, watch, *_ = fit(True, steps=2, **options)
    assert module.whole_step is None
    assert f"a step is not taken as one graph (model.graph): {sentence}." in capsys.readouterr().err
    assert not torch.equal(watch.weights[0], watch.weights[-1])


def test_dropout_in_the_network_forbids_it(fit, make_module, tiny_module_config, capsys):
    config = replace(tiny_module_config, transformer=replace(tiny_module_config.transformer, dropout=0.1))
    module, *_ = fit(True, steps=1, module=make_module(config=config, graph=True))
    assert module.whole_step is None
    assert "the network itself has dropout" in capsys.readouterr().err


def test_adam_that_is_not_fused_forbids_it(fit, make_module, capsys):
    module, *_ = fit(True, steps=1, module=make_module(graph=True, fused=False))
    assert module.whole_step is None
    assert "Adam is not fused (model.fused)" in capsys.readouterr().err


def test_a_set_that_grows_is_resident_too(fit):
    """`make mini` trains on one while it is being composed."""
    *_, trainer = fit(False, steps=1)
    loader = trainer.train_dataloader
    for wrapped, reason in ((loader, None), (SimpleNamespace(loader=loader), None), ([], "its data come through a loader (data.resident)")):
        stands_for = SimpleNamespace(
            accumulate_grad_batches=1, world_size=1, precision_plugin=None, gradient_clip_algorithm=None, train_dataloader=wrapped
        )
        assert what_forbids(stands_for, None, 0.0, captures=True) == reason  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true"])
def test_precisions_whose_draws_would_not_fit_are_refused(fit, precision):
    with pytest.raises(UserError, match=f"trainer.precision '{precision}' cannot be trained with here: 32-true, bf16-mixed, 16-mixed can"):
        fit(False, steps=1, precision=precision)


@pytest.fixture
def recorded(monkeypatch):
    """Steps are captured as on a GPU, on the CPU; the graphs, in turn."""
    graphs: list[recorded_graph.RecordedGraph] = []

    class Resident(ResidentSet):
        """Texts of one length."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.device = recorded_graph.CUDA  # type: ignore[assignment]

    def captured(*arguments: Any) -> recorded_graph.RecordedGraph:
        graphs.append(recorded_graph.captured(*arguments))
        return graphs[-1]

    monkeypatch.setattr(datamodule, "ResidentSet", Resident)
    monkeypatch.setattr(training, "WholeStep", lambda *arguments: WholeStep(*arguments[:-1], recorded_graph.CUDA))  # type: ignore[arg-type]
    monkeypatch.setattr(whole_step, "aside", recorded_graph.aside)
    monkeypatch.setattr(whole_step, "captured", captured)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    # PyTorch's looks at the largest value, on a CPU alone
    monkeypatch.setattr(torch.nn.functional, "one_hot", lambda index, count: (index[..., None] == torch.arange(count)).long())
    return graphs


def test_nothing_that_changes_from_step_to_step_is_baked_into_a_graph(fit, recorded):
    module, replayed, guard, _ = fit(True, steps=14, poisoned=(6, 11))
    graphs = list(recorded)
    other, plain, plain_guard, _ = fit(False, steps=14, poisoned=(6, 11))
    assert [graph.replays for graph in graphs] == [14 - WARM_UP]
    assert (module.whole_step.graph, other.whole_step) == (graphs[0], None)
    assert_alike((module, replayed, guard), (other, plain, plain_guard), slack=10)


def test_a_run_that_goes_on_has_the_optimizer_of_a_fresh_one(make_module):
    """On a GPU: its checkpoint is read while the module still lies on the CPU."""
    module = make_module(graph="auto")
    gpu = SimpleNamespace(root_device=torch.device("cuda", 0))
    module._trainer = SimpleNamespace(strategy=gpu, precision_plugin=None, optimizers=[], ckpt_path="last", accumulate_grad_batches=1)
    group = {"lr": 0.0, "fused": False, "capturable": False}
    stored = {"optimizer_states": [{"param_groups": [group]}], "lr_schedulers": [{"last_epoch": 3}], "state_dict": module.state_dict()}
    module.on_load_checkpoint(stored)
    assert module.device.type == "cpu"
    assert (group["fused"], group["capturable"], module.wants_graph) == (True, True, True)


def test_all_of_a_step_lies_on_the_gpu(make_module, tmp_path, write_tiny_shards):
    """On a pretended one: weights, data in its memory, draws, loss, optimiser and average."""
    write_tiny_shards(tmp_path / "train", sections=True)

    def steps(kind: str, module: JascoModule) -> tuple[list[float], torch.Tensor]:
        device = torch.device(kind)
        dataset = CropDataset(tmp_path / "train", 50, 3, FIELDS, {"chords": ("chords_heard", 0.4)}, section_captions=0.5)
        data = ResidentSet(dataset, kind, module.text_encoder)
        module.to(device).train()
        assert module.captures == (kind == "cuda")
        optimizer = module.configure_optimizers()["optimizer"]
        compute = partial(module.weighted_loss, dropout=module.condition_dropout)
        average = WeightAverage(module.model, 0.9)
        step = WholeStep(list(module.model.parameters()), compute, optimizer, 0.2, average, nullcontext, device)
        losses = [float(step(data([(epoch, 2), (epoch, 3), (epoch, 5)])).loss) for epoch in range(WARM_UP + 3)]
        return losses, average.average["transformer.output.weight"]

    losses, average = steps("cpu", make_module(graph=True))
    other = make_module(graph=True)
    with pretended(whole_step):
        there, average_there = steps("cuda", other)
        assert isinstance(average_there, OnGpu)
        average_there = average_there.cpu()
    assert there == pytest.approx(losses, rel=1e-4)
    torch.testing.assert_close(average_there, average, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_graph_gives_the_losses_of_the_hooks(fit):
    _, whole, *_ = fit(True, steps=12, accelerator="gpu")
    _, plain, *_ = fit(False, steps=12, accelerator="gpu")
    assert whole.losses == pytest.approx(plain.losses, rel=1e-4)


def test_batches_of_another_shape_are_kept_anew():
    """On a GPU: of a set that has grown by a longer text."""
    step = WholeStep.__new__(WholeStep)
    step._inputs = {}

    def batch(length: int, value: float = 0.0) -> dict[str, Any]:
        return {"text": torch.full((2, length), value), "key": torch.arange(2), "id": ["a", "b"]}

    assert step._keep(batch(3))
    first = dict(step._inputs)
    assert not step._keep(batch(3, 1.0))
    assert all(step._inputs[name] is first[name] for name in ("text", "key"))  # where the graph reads them
    assert step._inputs["text"].eq(1).all()
    assert step._keep(batch(5, 2.0))
    assert step._inputs["text"].shape == (2, 5)
    assert step._inputs["text"].eq(2).all()
