from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from jasco_pl.system.errors import UserError
from jasco_pl.training import checkpoint_io
from jasco_pl.training.checkpoint_io import AtomicCheckpointIO, discard, put_in_place


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


def folder(path: Path, step: int) -> Path:
    path.mkdir(parents=True)
    for name in ("__0_0.distcp", ".metadata", "meta.pt"):
        (path / name).write_text(str(step))
    return path


def newest_last(checkpoints: Path) -> Path | None:
    """What `ckpt_path: last` takes."""
    trainer = SimpleNamespace(loggers=[], default_root_dir=str(checkpoints.parent))
    found = ModelCheckpoint(checkpoints)._find_last_checkpoints(trainer)
    return max(map(Path, found), key=lambda path: path.stat().st_mtime, default=None)


def whole(path: Path) -> int:
    """The step of a checkpoint of which nothing is missing."""
    steps = {(path / name).read_text() for name in ("__0_0.distcp", ".metadata", "meta.pt")}
    assert len(steps) == 1
    return int(steps.pop())


def killed_at_change(number: int, temporary: Path, target: Path) -> None:
    """Put in place, killed before the n-th rename or deletion of a file or folder."""
    left = [number]

    def before(change):  # type: ignore[no-untyped-def]
        def changed(*arguments: object, **options: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*arguments, **options)

        return changed

    os.rename, os.unlink, os.rmdir = before(os.rename), before(os.unlink), before(os.rmdir)
    put_in_place(temporary, target)


def test_wherever_a_folders_change_is_killed_the_newest_last_is_whole(tmp_path):
    """At every rename and every deletion of a file; the next save cleans up."""
    survived = []
    for number in range(12):
        checkpoints = tmp_path / str(number)
        os.utime(folder(checkpoints / "last.ckpt", 4), (1, 1))
        temporary = folder(checkpoints / ".last.x.part.ckpt", 6)
        process = multiprocessing.get_context("fork").Process(target=killed_at_change, args=(number, temporary, checkpoints / "last.ckpt"))
        process.start()
        process.join(60)
        found = newest_last(checkpoints)
        assert found is not None
        survived.append(whole(found))
        temporary = checkpoint_io.temporary_folder(checkpoints / "last.ckpt")
        shutil.rmtree(temporary)
        put_in_place(folder(temporary, 8), checkpoints / "last.ckpt")
        assert [path.name for path in checkpoints.iterdir()] == ["last.ckpt"]
        assert whole(checkpoints / "last.ckpt") == 8
    assert survived[0] == survived[1] == 4
    assert set(survived[2:]) == {6}
    assert process.exitcode == 0  # the last one had nothing left to be killed at


def test_files_and_folders_take_each_others_place(tmp_path):
    path = tmp_path / "last.ckpt"
    folder(path, 2)
    AtomicCheckpointIO().save_checkpoint(checkpoint(3), path)
    assert AtomicCheckpointIO().load_checkpoint(path)["global_step"] == 3
    put_in_place(folder(tmp_path / ".last.x.part.ckpt", 4), path)
    assert whole(path) == 4
    assert [found.name for found in tmp_path.iterdir()] == ["last.ckpt"]
    AtomicCheckpointIO().remove_checkpoint(path)
    discard(path)  # nothing there is no error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [[".metadata"], ["meta.pt"], ["__0_0.distcp"], [".metadata", "meta.pt", "__0_0.distcp"]])
def test_a_folder_that_is_no_checkpoint_is_one_sentence(tmp_path, damage):
    path = folder(tmp_path / "some.ckpt", 2)
    for name in damage:
        (path / name).unlink()
    with pytest.raises(UserError, match=r"some\.ckpt' is not a checkpoint of `jasco fit`, or it is damaged"):
        AtomicCheckpointIO().load_checkpoint(path)


def test_any_flipped_bit_of_a_checkpoint_is_noticed(tmp_path):
    """Or falls where it says nothing: between the entries of the archive."""
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(checkpoint(3), path)
    whole, unnoticed = path.read_bytes(), 0
    places = range(0, len(whole), 37)
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            found = AtomicCheckpointIO().load_checkpoint(path)
        except UserError:
            continue
        unnoticed += 1
        assert torch.equal(found["state_dict"]["weight"], torch.full((1000,), 3.0))
        assert found["global_step"] == 3
    assert unnoticed < len(places) / 4
