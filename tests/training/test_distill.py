from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from jasco_pl.network.flow.guidance import Term, guided_velocity, parse_guidance
from jasco_pl.network.flow.solver import Field
from jasco_pl.network.model import JascoModel
from jasco_pl.network.student import StudentConfig, is_student_weight
from jasco_pl.system.errors import UserError
from jasco_pl.training.distill import DistillConfig

TIMES = [0.0, 0.3, 1.0]


@pytest.fixture
def taught(make_module, tmp_path):
    """taught(target, **how) -> a module that is to learn, and the folder of its teacher."""

    def make(target="mean_velocity", **how):
        module = make_module()
        config = replace(module.config, guidance="all=2")
        module.model.config = config
        module.model.save_pretrained(tmp_path / "teacher")
        config = replace(config, student=StudentConfig(times=TIMES, rank=8, target=target))
        options = {"start_from": str(tmp_path / "teacher"), "distill": DistillConfig(**how), "weighting": "uniform", "lr": 3e-3}
        module = make_module(config=config, **options)
        module.setup("fit")
        return module, tmp_path / "teacher"

    return make


def test_the_target_is_the_guided_velocity_and_its_mean_over_a_step(taught, tiny_batch) -> None:
    module, folder = taught(substeps=100)
    teacher = JascoModel.from_pretrained(folder)
    batch = tiny_batch(0, 1)
    latents = teacher.normalize(batch["latents"])
    conditions = module.conditions(batch, latents)

    def under(terms: tuple[Term, ...]) -> Field:
        return partial(teacher.velocity, context=teacher.context(conditions, terms, latents.shape[1]))

    field = guided_velocity(under, parse_guidance("all=3", teacher.controls.names))
    z, weight, start, end = (
        torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)),
        torch.tensor([3.0, 3.0]),
        torch.tensor([0.3, 0.3]),
        torch.tensor([0.4, 0.4]),
    )
    with torch.inference_mode():
        many = module.distillation.target(conditions, weight, z, start, end)
        moved = z
        for part in range(100):
            moved = moved + 0.1 / 100 * field(moved, torch.tensor(0.3 + (part + 0.5) * 0.1 / 100))
        torch.testing.assert_close(many, (moved - z) / 0.1, atol=1e-2, rtol=1e-2)
        module.distillation.student.target = "velocity"
        said = module.distillation.target(conditions, weight, z, start, end)
        torch.testing.assert_close(said, field(z, torch.tensor(0.3)), atol=1e-5, rtol=1e-5)
        module.distillation.start = 0.35  # of the teacher's guidance, which does not act yet
        plain = guided_velocity(under, parse_guidance("all=1", teacher.controls.names))
        before = module.distillation.target(conditions, weight, z, start, end)
        torch.testing.assert_close(before, plain(z, torch.tensor(0.3)), atol=1e-5, rtol=1e-5)
        module.distillation.start = 0.0
        module.distillation.rows = (module.distillation.rows[0], Term(frozenset({"text"}), 0.0, reference=True))
        over = guided_velocity(under, parse_guidance("all=3 over=text", teacher.controls.names))
        torch.testing.assert_close(
            module.distillation.target(conditions, weight, z, start, end), over(z, torch.tensor(0.3)), atol=1e-5, rtol=1e-5
        )
    assert (many - said).abs().max() > 0.01


@pytest.mark.parametrize("how", [{}, {"points": "student"}, {"target": "velocity"}], ids=lambda how: "-".join(how.values()) or "data")
def test_a_student_comes_nearer_to_its_guided_teacher_which_stays_as_it_is(taught, tiny_batch, how) -> None:
    module, folder = taught(**how)
    batch = tiny_batch(*range(8))
    before = JascoModel.from_pretrained(folder).state_dict()
    optimizer = module.configure_optimizers()["optimizer"]

    def distance():
        with torch.no_grad():
            return float(module.item_losses(batch, None)[0].mean())

    first = distance()
    assert first > 0.01
    for group in optimizer.param_groups:
        group["lr"] = 3e-3
    for _ in range(40):
        optimizer.zero_grad()
        module.weighted_loss(batch, None)[0].backward()
        optimizer.step()
    assert distance() < 0.6 * first
    after = module.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert {name for name in after if name not in before} == {name for name in after if is_student_weight(name)}


def test_weights_and_times_are_drawn_from_what_the_student_is_to_know(taught) -> None:
    module, _ = taught()
    keys = torch.arange(4000)
    weights = module.distillation.weights(keys)
    assert 0.45 < (weights == 2).double().mean() < 0.55
    assert weights.min() >= 1
    assert weights.max() <= 4
    t, end, step = module.distillation.steps(keys)
    torch.testing.assert_close(torch.stack([t, end]), torch.tensor([TIMES[:-1], TIMES[1:]])[:, step])
    assert set(zip(t.tolist(), end.tolist(), strict=True)) == set(zip(*torch.tensor([TIMES[:-1], TIMES[1:]]).tolist(), strict=True))


@pytest.mark.parametrize("target", ["mean_velocity", "velocity"])
def test_every_step_is_asked_as_often_in_every_batch_and_counts_as_much(taught, target) -> None:
    module, _ = taught(target)
    teaching = module.distillation
    for first in range(20):
        t, end, step = teaching.steps(torch.arange(first, first + 6))
        assert step.bincount().tolist() == [3, 3]
        assert bool((teaching.times[step] <= t).all() and (t < end).all())
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        step = torch.randint(2, (8,), generator=generator)
        errors = torch.tensor([5.0, 0.05])[step] * (0.5 + torch.rand(8, generator=generator))
        weighed = teaching._evened(errors, step) * errors
    first, second = (float(weighed[step == number].mean()) for number in (0, 1))
    assert 0.5 < first / second < 2
    assert 1.5 < first < 4.5  # as large as before, over all


def test_what_cannot_be_taught_is_said(make_module, taught) -> None:
    module, folder = taught()
    with pytest.raises(UserError, match=r"model\.distill, model\.config\.student"):
        make_module(distill=DistillConfig())
    with pytest.raises(UserError, match=r"model\.distill, model\.config\.student"):
        make_module(config=module.config)
    options = {"distill": DistillConfig(), "start_from": str(folder)}
    with pytest.raises(UserError, match="one weight of all conditions"):
        make_module(config=replace(module.config, guidance="all=2 text=1"), **options)
    with pytest.raises(UserError, match=r"none that .* learns: all=W alone, with W from 1 to 4"):
        make_module(config=replace(module.config, guidance="all=9"), **options)
    with pytest.raises(UserError, match=r"model\.config\.guidance is all=3, where the teacher .* has all=2"):
        make_module(config=replace(module.config, guidance="all=3"), **options).setup("fit")
    for wrong in ({"usual": 2.0}, {"points": "noise"}, {"substeps": 0}):
        with pytest.raises(UserError):
            DistillConfig(**wrong)


def test_what_the_teacher_answered_is_asked_again(taught, tiny_batch) -> None:
    module, _ = taught(reuse=3)
    teacher, calls = module.distillation.teacher, []
    velocity = teacher.velocity
    teacher.velocity = lambda z, t, context: calls.append(len(z)) or velocity(z, t, context)
    losses = []
    with torch.no_grad():
        for first in (0, 2, 4, 6):
            losses.append(module.item_losses(tiny_batch(first, first + 1), module.condition_dropout)[0])
            assert len(calls) == (2 if first < 6 else 4)  # the teacher answers the first and the fourth, in two evaluations each
        assert torch.equal(losses[1], losses[0])
        assert torch.equal(losses[2], losses[0])
        assert not torch.equal(losses[3], losses[0])
        module.item_losses(tiny_batch(0, 1), None)  # a validation is answered always, and not kept
        assert len(calls) == 6
        module.item_losses(tiny_batch(0, 1), module.condition_dropout)
        assert len(calls) == 6
