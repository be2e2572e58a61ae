from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from recorder import jasco, read, recording


def fit(arguments: list[str], log: Path) -> int:
    return jasco(["fit", *arguments], log)


def assert_same(lines: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Ids, crops, captions and learning rates are equal; losses up to the last bits, which depend on where memory happens to lie."""
    assert len(lines) > 0
    for line, other in zip(lines, expected, strict=True):
        if line.get("captions", True) is None:
            other = {**other, "captions": None}
        assert {**line, "loss": None} == {**other, "loss": None}
        assert line["loss"] == pytest.approx(other["loss"], rel=1e-5)


@pytest.mark.parametrize("resident", ["false", "true"])
def test_the_same_command_after_a_kill_goes_on_as_if_nothing_had_been(tiny_training, tmp_path, resident):
    """13 steps of 5 batches an epoch, killed in the second epoch between two checkpoints, resumed over the border to the third.

    A set that lies in memory gives the loader's batches.
    """
    data = ("--data.resident", resident)
    log = tmp_path / "log.txt"
    assert fit(tiny_training("whole", recording(tmp_path / "whole")), log) == 0, log.read_text()
    whole = read(tmp_path / "whole")
    assert [line["step"] for line in whole] == list(range(1, 14))
    assert len({name for line in whole[:5] for name in line["ids"]}) == 20  # an epoch is the whole set
    assert [line["ids"] for line in whole[:5]] != [line["ids"] for line in whole[5:10]]

    assert fit(tiny_training("killed", recording(tmp_path / "killed", kill_at=9), *data), log) == -signal.SIGKILL
    assert_same(read(tmp_path / "killed"), whole[:9])
    assert fit(tiny_training("killed", recording(tmp_path / "killed-2"), *data), log) == 0, log.read_text()
    assert_same(read(tmp_path / "killed-2"), whole[8:])  # from the checkpoint at step 8
    assert_same(read(tmp_path / "killed-2.valid"), [line for line in read(tmp_path / "whole.valid") if line["step"] > 8])
    first, second = (torch.load(tmp_path / run / "checkpoints/last.ckpt", weights_only=True) for run in ("whole", "killed"))
    for name, tensor in first["ema"]["average"].items():
        torch.testing.assert_close(tensor, second["ema"]["average"][name], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", [1, 11])
def test_a_kill_before_the_first_checkpoint_on_a_border_and_after_it(tiny_training, tmp_path, kill_at):
    log = tmp_path / "log.txt"
    workers = ("--data.workers", "1")
    assert fit(tiny_training("whole", recording(tmp_path / "whole")), log) == 0, log.read_text()
    assert fit(tiny_training("killed", recording(tmp_path / "killed", kill_at), *workers), log) == -signal.SIGKILL
    assert fit(tiny_training("killed", recording(tmp_path / "killed-2"), *workers), log) == 0, log.read_text()
    saved = max(kill_at - 1, 0) // 2 * 2  # a checkpoint is written after the callbacks of its step
    assert_same(read(tmp_path / "killed-2"), read(tmp_path / "whole")[saved:])


@pytest.mark.slow
@pytest.mark.parametrize("resident", ["false", "true"])
def test_two_ranks_go_on_as_one_with_the_global_batch_kept(tiny_training, tmp_path, resident):
    """Ids equal to an uninterrupted run's, losses close: sums are taken in another order."""
    log = tmp_path / "log.txt"
    assert fit(tiny_training("whole", recording(tmp_path / "whole")), log) == 0, log.read_text()
    whole = read(tmp_path / "whole")
    ddp = ("--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.max_steps", "8", "--model.config.transformer.dropout", "0")
    arguments = tiny_training("shared", recording(tmp_path / "shared"), *ddp, "--data.resident", resident)
    command = [str(Path(sys.executable).with_name("jasco")), "fit", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    ranks = [read(tmp_path / "shared", rank) for rank in (0, 1)]
    assert [first["ids"] + second["ids"] for first, second in zip(*ranks, strict=True)] == [line["ids"] for line in whole[:8]]

    plain = tiny_training("plain", recording(tmp_path / "plain"), "--model.config.transformer.dropout", "0")
    assert fit(plain, log) == 0, log.read_text()
    plain_losses = [line["loss"] for line in read(tmp_path / "plain")]
    shared_losses = [(first["loss"] + second["loss"]) / 2 for first, second in zip(*ranks, strict=True)]
    assert shared_losses == pytest.approx(plain_losses[:8], rel=1e-4)

    alone = tiny_training("shared", recording(tmp_path / "alone"), "--model.config.transformer.dropout", "0")
    assert fit(alone, log) == 0, log.read_text()
    assert [line["ids"] for line in read(tmp_path / "alone")] == [line["ids"] for line in whole[8:]]
    assert [line["loss"] for line in read(tmp_path / "alone")] == pytest.approx(plain_losses[8:], rel=1e-4)
