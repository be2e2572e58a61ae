"""`jasco fit --data.grow true`: a set that is still being made."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from grower import show
from recorder import jasco, read, recording

from jasco_pl.data.sampler import epoch_order
from jasco_pl.data.shards import ShardReader

SEED = 0


def growing(folder: Path, step: int, shards: int) -> str:
    """The command-line argument that adds shards after a step."""
    options = {"folder": str(folder), "step": step, "shards": shards}
    return "--trainer.callbacks+=" + json.dumps({"class_path": "grower.Grower", "init_args": options})


def expected(folder: Path, epoch: int, samples: int) -> list[list[str]]:
    """Ids of the batches of an epoch."""
    ids = ShardReader(folder).ids
    return [[ids[place] for place in batch] for batch in epoch_order(samples, SEED, epoch)[: samples // 4 * 4].reshape(-1, 4)]


@pytest.fixture
def fit(tiny_training: Callable[..., list[str]], tmp_path: Path) -> Callable[..., int]:
    """fit(run, arguments...) -> exit code of a training whose set grows."""

    def run(name: str, *arguments: str) -> int:
        log = tmp_path / "log.txt"
        code = jasco(["fit", *tiny_training(name, "--data.grow", "true", *arguments)], log)
        assert code in (0, -signal.SIGKILL), log.read_text()
        return code

    return run


@pytest.mark.parametrize("resident", ["true", "false"])
def test_epochs_take_in_what_has_come_and_a_killed_run_ends_its_own_first(fit: Callable[..., int], tmp_path: Path, resident: str) -> None:
    """Shards of eight samples in batches of four: two steps with the first shard, four with two, five with all 20 samples."""
    train = tmp_path / "train"
    show(train, 1)
    more = ("--data.resident", resident)
    grows = [growing(train, 1, 2), growing(train, 4, 3)]  # within the first epoch, and within the second
    assert fit("whole", recording(tmp_path / "whole"), *grows, *more, "--trainer.max_steps", "13") == 0
    epochs = [*expected(train, 0, 8), *expected(train, 1, 16), *expected(train, 2, 20), *expected(train, 3, 20)]
    whole = read(tmp_path / "whole")
    assert [line["ids"] for line in whole] == epochs[:13]
    assert "the set has grown from 8 to 16 samples" in (tmp_path / "log.txt").read_text()

    show(train, 1)
    killed = recording(tmp_path / "killed", kill_at=5)
    assert fit("killed", killed, *grows, *more, "--trainer.max_steps", "13") == -signal.SIGKILL  # in the second epoch; saved at step 4
    state = torch.load(tmp_path / "killed" / "checkpoints" / "last.ckpt", weights_only=True)
    (loader,) = state["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    assert [tuple(size) for size in loader["sizes"]] == [(0, 8), (1, 16)]
    assert fit("killed", recording(tmp_path / "again"), *more, "--trainer.max_steps", "13") == 0
    again: list[dict[str, Any]] = read(tmp_path / "again")
    assert again[0]["step"] == 5
    assert [line["ids"] for line in again] == epochs[4:13]  # two more of 16 samples, though all 20 are there
    assert [line["loss"] for line in again] == pytest.approx([line["loss"] for line in whole[4:]], rel=1e-5)
