from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch

from jasco_pl.errors import UserError
from jasco_pl.training import checkpoint_io
from jasco_pl.training.checkpoint_io import AtomicCheckpointIO


def checkpoint(value: float) -> dict[str, object]:
    return {"state_dict": {"weight": torch.full((1000,), value)}, "global_step": int(value)}


def killed_in_the_middle(path: str) -> None:
    def half(data: object, temporary: Path) -> None:
        temporary.write_bytes(b"PK half of a checkpoint")
        os.kill(os.getpid(), signal.SIGKILL)

    checkpoint_io.torch.save = half
    AtomicCheckpointIO().save_checkpoint(checkpoint(2), path)


def test_a_save_that_is_killed_leaves_the_former_checkpoint_and_the_next_one_cleans_up(tmp_path):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(checkpoint(1), path)
    process = multiprocessing.get_context("fork").Process(target=killed_in_the_middle, args=(str(path),))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert AtomicCheckpointIO().load_checkpoint(path)["global_step"] == 1
    assert len(list(tmp_path.iterdir())) == 2  # the half one lies beside it, under another name
    AtomicCheckpointIO().save_checkpoint(checkpoint(3), path)
    assert AtomicCheckpointIO().load_checkpoint(path)["global_step"] == 3
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_what_is_saved_needs_no_pickle_to_load(tmp_path):
    AtomicCheckpointIO().save_checkpoint(checkpoint(4), tmp_path / "new" / "a.ckpt")
    loaded = torch.load(tmp_path / "new" / "a.ckpt", weights_only=True)
    assert torch.equal(loaded["state_dict"]["weight"], torch.full((1000,), 4.0))


def test_a_failing_save_leaves_nothing_and_keeps_the_former_one(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(checkpoint(1), path)

    def full(data: object, temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_io.torch, "save", full)
    with pytest.raises(UserError, match=r"last\.ckpt.*the disk is full"):
        AtomicCheckpointIO().save_checkpoint(checkpoint(2), path)
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]
    assert AtomicCheckpointIO().load_checkpoint(path)["global_step"] == 1


@pytest.mark.parametrize("damage", ["absent", "text", "truncated", "other"])
def test_a_checkpoint_that_cannot_be_read_is_one_sentence(tmp_path, damage):
    path = tmp_path / "some.ckpt"
    AtomicCheckpointIO().save_checkpoint(checkpoint(1), path)
    if damage == "absent":
        path.unlink()
    elif damage == "text":
        path.write_text("no checkpoint at all")
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    else:
        torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(UserError, match=r"some\.ckpt") as caught:
        AtomicCheckpointIO().load_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert ("there is no checkpoint" in str(caught.value)) == (damage == "absent")
