from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from jasco_pl.system.errors import UserError
from jasco_pl.training.cli import run
from jasco_pl.training.deadline import Deadline


class Clock:
    """A module and its trainer, whose steps take what is said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, parts: int = 1) -> None:
        self.world_size, self.accumulate_grad_batches = 1, parts
        self.global_step, self.should_stop, self.decay_steps, self.now, self.batches = 0, False, 5000, 1000.0, 0
        monkeypatch.setattr(time, "time", lambda: self.now)

    def step(self, deadline: Deadline, seconds: float) -> None:
        self.now += seconds
        self.batches += 1
        self.global_step = self.batches // self.accumulate_grad_batches
        deadline.on_train_batch_end(self, self, None, None, self.batches - 1)  # type: ignore[arg-type]


def test_the_schedule_ends_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, deadline = Clock(monkeypatch), Deadline(at=1150.0)
    clock.step(deadline, 30.0)  # compiling
    assert clock.decay_steps == 5000
    for _ in range(40):
        clock.step(deadline, 0.5)
    assert clock.decay_steps == 41 + 200
    clock.step(deadline, 20.0)  # a validation in between: less time, but steps are no slower
    assert clock.decay_steps == 42 + 160
    for _ in range(159):
        clock.step(deadline, 0.5)
    assert not clock.should_stop
    assert clock.decay_steps == clock.global_step + 1
    clock.step(deadline, 0.5)
    assert clock.should_stop
    assert clock.decay_steps == clock.global_step


def test_parts_of_a_step_are_no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, deadline = Clock(monkeypatch, parts=4), Deadline(at=1100.0)
    for _ in range(40):
        clock.step(deadline, 0.5)
    assert clock.decay_steps == 10 + 40


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    clock.world_size = 2
    with pytest.raises(UserError, match="a training with a deadline runs on one device, 2 were asked for"):
        Deadline(at=1.0).setup(clock, clock, "fit")  # type: ignore[arg-type]


def test_a_training_ends_in_time_and_keeps_its_last_step(
    tiny_training: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = time.time() + 6
    rare = {"every_n_train_steps": 100_000, "save_last": True}
    callbacks = [
        {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": rare},
        {"class_path": "jasco_pl.training.deadline.Deadline", "init_args": {"at": at}},
    ]
    (tmp_path / "ends.yaml").write_text(json.dumps({"trainer": {"callbacks": callbacks}}))  # JSON is YAML
    endless = ("--trainer.max_steps", "-1", "--trainer.max_epochs", "-1", "--trainer.val_check_interval", "1000")
    run("fit", [*tiny_training("run", "-c", str(tmp_path / "ends.yaml"), *endless)])
    assert at <= time.time() < at + 30
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=False)
    (group,) = checkpoint["optimizer_states"][0]["param_groups"]
    assert checkpoint["global_step"] > 3
    assert f"{checkpoint['global_step']} steps are done" in capsys.readouterr().err
    assert group["lr"] < 0.2 * group["initial_lr"]
