"""Trainings of several processes on this machine (gloo), against one process with the same global batch."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from recorder import jasco, join, read, recording, start, start_ranks

from jasco_pl.cli import main
from jasco_pl.network.model import JascoModel

PLAIN = ("--model.config.transformer.dropout", "0")  # the network's own dropout draws once a process
LOSSES = 1e-4  # relative: sums are taken in another order, and thirty steps of Adam carry that on
WEIGHTS = 2e-4  # absolute, of weights around 0.1
SELDOM = {"filename": "{step}", "every_n_train_steps": 10, "save_last": True, "enable_version_counter": False}


def global_losses(path: Path, world: int, parts: int = 1) -> list[float]:
    """Mean loss of every step over ranks and parts; Lightning has divided each by the parts already."""
    ranks = [[line["loss"] for line in read(path, rank)] for rank in range(world)]
    steps = [sum(losses) / world for losses in zip(*ranks, strict=True)]
    return [sum(steps[at : at + parts]) for at in range(0, len(steps), parts)]


def global_ids(path: Path, world: int, parts: int = 1) -> list[set[str]]:
    """The samples of every step."""
    ranks = [[line["ids"] for line in read(path, rank)] for rank in range(world)]
    steps = [[name for ids in together for name in ids] for together in zip(*ranks, strict=True)]
    return [{name for step in steps[at : at + parts] for name in step} for at in range(0, len(steps), parts)]


def exported(run: Path) -> dict[str, torch.Tensor]:
    """The averaged weights of a run, through `jasco export`."""
    assert main(["export", str(run / "checkpoints" / "last.ckpt"), "-o", str(run / "exported")]) == 0
    return JascoModel.from_pretrained(run / "exported").state_dict()


@pytest.fixture
def train(tiny_training, tmp_path):
    """train(run, overrides, nodes, devices) -> exit codes; the run's recordings are tmp_path / record."""

    def run(name: str, *overrides: str, nodes: int = 1, devices: int = 1, record: str | None = None, **options: Any) -> list[int | None]:
        seldom = "--trainer.callbacks=" + json.dumps([{"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": SELDOM}])
        first = (seldom,) if options.get("seldom") else ()
        arguments = ["fit", *tiny_training(name, *first, recording(tmp_path / (record or name)), *overrides)]
        log = tmp_path / f"{record or name}.txt"
        if nodes * devices == 1:
            return [jasco(arguments, log)]
        return join(start_ranks(arguments, log, nodes, devices), 500)

    return run


@pytest.mark.slow
def test_thirty_steps_are_the_same_however_they_are_split(train, tmp_path):
    """One process; its batch in two parts; two nodes of two processes with DDP and with FSDP: ids, losses, averaged weights."""
    steps = ("--trainer.max_steps", "30", "--model.decay_steps", "40", "--model.lr", "3e-3", *PLAIN)
    assert train("one", *steps, seldom=True) == [0], (tmp_path / "one.txt").read_text()
    assert train("parts", *steps, "--trainer.accumulate_grad_batches", "2", seldom=True) == [0], (tmp_path / "parts.txt").read_text()
    for strategy in ("ddp", "fsdp"):
        codes = train(strategy, *steps, "--trainer.strategy", strategy, nodes=2, devices=2, seldom=True)
        assert codes == [0] * 4, (tmp_path / f"{strategy}.txt").read_text()
    losses, ids = global_losses(tmp_path / "one", 1), global_ids(tmp_path / "one", 1)
    assert len(losses) == 30
    assert abs(losses[0] - losses[-1]) > 0.05  # something was learned
    weights = exported(tmp_path / "one")
    validations = [line["loss"] for line in read(tmp_path / "one.valid")]
    for run, world, parts in (("parts", 1, 2), ("ddp", 4, 1), ("fsdp", 4, 1)):
        assert global_ids(tmp_path / run, world, parts) == ids, run
        found = global_losses(tmp_path / run, world, parts)
        print(run, "losses differ by", max(abs(a / b - 1) for a, b in zip(found, losses, strict=True)))
        assert found == pytest.approx(losses, rel=LOSSES), run
        assert [line["loss"] for line in read(tmp_path / f"{run}.valid")] == pytest.approx(validations, rel=LOSSES), run
        for name, tensor in exported(tmp_path / run).items():
            torch.testing.assert_close(
                tensor, weights[name], rtol=0, atol=WEIGHTS, msg=lambda text, name=name, run=run: f"{run} {name} {text}"
            )
    assert (tmp_path / "fsdp" / "checkpoints" / "last.ckpt" / ".metadata").is_file()


@pytest.mark.slow
def test_a_run_goes_on_under_any_strategy_with_the_options_of_the_command(train, tmp_path):
    """FSDP on two processes, then one process, then FSDP again, then DDP with two parts; every time from `last`, with another peak rate."""
    assert train("whole", *PLAIN, "--trainer.max_steps", "12", "--model.lr", "2e-3") == [0], (tmp_path / "whole.txt").read_text()
    stages = [("4", "fsdp", 2, 1), ("6", "auto", 1, 1), ("8", "fsdp", 2, 1), ("12", "ddp", 2, 2)]
    found: list[float] = []
    for number, (steps, strategy, world, parts) in enumerate(stages):
        options = ("--trainer.strategy", strategy, "--trainer.max_steps", steps, "--trainer.accumulate_grad_batches", str(parts))
        codes = train("run", *PLAIN, *options, "--model.lr", "2e-3", devices=world, record=f"stage{number}")
        assert codes == [0] * world, (tmp_path / f"stage{number}.txt").read_text()
        found += global_losses(tmp_path / f"stage{number}", world, parts)
    assert found == pytest.approx(global_losses(tmp_path / "whole", 1), rel=LOSSES)

    assert train("run", *PLAIN, "--trainer.max_steps", "13", "--trainer.strategy", "fsdp", devices=2, record="again") == [0, 0]
    options = ("--model.lr", "0.5", "--model.betas", "[0.5, 0.6]", "--model.decay_steps", "40", "--trainer.max_steps", "14")
    assert train("run", *PLAIN, *options, "--trainer.strategy", "fsdp", devices=2, record="changed") == [0, 0]
    assert [line["lr"] for line in read(tmp_path / "changed")] == pytest.approx([0.5 * (40 - 14) / (40 - 4)])
    wider = ("--model.config.transformer.feed_forward", "128", "--trainer.max_steps", "20")
    assert train("run", *wider, "--trainer.strategy", "fsdp", devices=2, record="wider") == [2, 2]
    assert "belong to another configuration: transformer.layers" in (tmp_path / "wider.txt").read_text()
    assert "Traceback" not in (tmp_path / "wider.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_when_a_process_is_killed_the_others_end_and_the_restart_goes_on_exactly(tiny_training, train, tmp_path, strategy):
    options = ("--trainer.strategy", strategy, "--trainer.max_steps", "10", *PLAIN)
    assert train("whole", *options, devices=2) == [0, 0], (tmp_path / "whole.txt").read_text()
    log = tmp_path / "killed.txt"
    arguments = tiny_training("killed", recording(tmp_path / "killed", kill_at=7, kill_rank=1), *options)
    processes = start_ranks(["fit", *arguments], log, 2, 1)
    processes[1].join(280)
    lost = time.monotonic()
    codes = join(processes, 60)
    print(strategy, "the other one ended after", time.monotonic() - lost, "s")
    assert codes[1] == -signal.SIGKILL
    assert codes[0] not in (0, None), log.read_text()
    assert "process 0 of 2 ends because another one has ended or cannot be reached (" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert train("killed", *options, devices=2, record="resumed") == [0, 0], (tmp_path / "resumed.txt").read_text()
    assert global_ids(tmp_path / "resumed", 2) == global_ids(tmp_path / "whole", 2)[6:]
    assert global_losses(tmp_path / "resumed", 2) == pytest.approx(global_losses(tmp_path / "whole", 2)[6:], rel=1e-5)


@pytest.mark.slow
def test_when_a_process_hangs_the_others_end_and_say_which(tiny_training, tmp_path):
    """Stopped, it keeps its connections open: only its heartbeat is missing."""
    log = tmp_path / "log.txt"
    heartbeat = '{"class_path": "jasco_pl.training.guard.Heartbeat", "init_args": {"every": 1, "patience": 10}}'
    options = (f"--trainer.callbacks+={heartbeat}", "--trainer.strategy", "ddp", "--trainer.max_steps", "100000")
    processes = start_ranks(["fit", *tiny_training("run", recording(tmp_path / "run"), *options)], log, 1, 2)
    wait_for(tmp_path / "run.1")
    os.kill(processes[1].pid, signal.SIGSTOP)
    codes = join(processes[:1], 60)
    os.kill(processes[1].pid, signal.SIGKILL)
    assert codes == [70], log.read_text()
    assert f"jasco fit: process 1 of 2 (pid {processes[1].pid} on " in log.read_text()
    assert "has not been heard of for 10 s" in log.read_text()


def wait_for(path: Path, seconds: float = 120) -> None:
    """Until a file is there."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.2)


STOPS = [(signal.SIGTERM, 143, "auto", 1), (signal.SIGINT, 130, "auto", 1), (signal.SIGUSR1, 75, "fsdp", 2)]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code", "strategy", "world"), STOPS)
def test_a_training_that_is_asked_to_stop_saves_and_the_next_goes_on_exactly(tiny_training, train, tmp_path, number, code, strategy, world):
    """Its whole process group is signalled, loader processes too, as a scheduler does; of two processes only the second."""
    options = ("--trainer.strategy", strategy, *PLAIN)
    long = (*options, "--data.workers", "1", "--trainer.max_steps", "400", "--model.decay_steps", "400")
    log = tmp_path / "stopped.txt"
    arguments = ["fit", *tiny_training("run", recording(tmp_path / "run", own_group=True), *long)]
    processes = start_ranks(arguments, log, 1, world) if world > 1 else [start(arguments, log)]
    wait_for(tmp_path / f"run.{world - 1}")
    os.killpg(processes[-1].pid, number)
    assert join(processes, 120) == [code] * world, log.read_text()
    done = len(read(tmp_path / "run"))
    assert f"stopped by {number.name} after step {done}: {tmp_path}/run/checkpoints/last.ckpt is saved" in log.read_text()
    assert "Traceback" not in log.read_text()
    end = ("--trainer.max_steps", str(done + 3), "--model.decay_steps", "400")
    assert train("run", *options, *end, devices=world, record="resumed") == [0] * world, (tmp_path / "resumed.txt").read_text()
    assert train("whole", *options, *end, devices=world) == [0] * world
    assert global_ids(tmp_path / "resumed", world) == global_ids(tmp_path / "whole", world)[done:]
    assert global_losses(tmp_path / "resumed", world) == pytest.approx(global_losses(tmp_path / "whole", world)[done:], rel=1e-5)


@pytest.mark.slow
def test_clips_are_made_from_sharded_weights(train, tmp_path):
    listen = '{"class_path": "jasco_pl.training.callbacks.Listen", "init_args": {"solver": {"method": "euler", "steps": 1}}}'
    codes = train("run", f"--trainer.callbacks+={listen}", "--trainer.strategy", "fsdp", "--trainer.max_steps", "5", devices=2)
    assert codes == [0, 0], (tmp_path / "run.txt").read_text()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"audio": 0})
    events.Reload()
    assert events.Tags()["audio"] == ["listen/clip0_audio"]
