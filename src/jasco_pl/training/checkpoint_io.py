"""Checkpoints that are whole or absent: a kill during a save leaves the former one.

A checkpoint is a file (one process, DDP) or a folder of shards (`ShardedStrategy`); both go by the same names and are read alike.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import Tensor

from jasco_pl.errors import UserError
from jasco_pl.files import atomic_path, explain_os_error, remove_leftovers
from jasco_pl.training.shard_folder import read_folder


def temporary_folder(target: Path) -> Path:
    """A new folder beside `target`, hidden, under a name that `remove_leftovers` knows."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target.parent)
        return Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.stem}.", suffix=".part" + target.suffix))
    except OSError as error:
        raise explain_os_error(error, target) from error


def put_in_place(temporary: Path, target: Path) -> None:
    """Let the finished file or folder `temporary` stand at `target`.

    A folder cannot be replaced in one step. What stood there before is called `<name>-former` meanwhile: whole, and found by
    `ckpt_path: last` too, which takes the newest of `last*`. So whenever the process is killed, a whole one stands under a visible name.
    """
    former = target.with_name(f"{target.stem}-former{target.suffix}")
    if target.exists():
        discard(former)
        os.rename(target, former)
    os.rename(temporary, target)
    _sync(target.parent)
    discard(former)


def discard(path: Path) -> None:
    """Delete a file or folder, if it is there; half deleted it never stands under its name."""
    if not path.exists():
        return
    hidden = path.with_name(f".{path.stem}.gone.part{path.suffix}")
    shutil.rmtree(hidden, ignore_errors=True)
    os.rename(path, hidden)
    if hidden.is_dir():
        shutil.rmtree(hidden)
    else:
        hidden.unlink()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target, flush to disk, rename. Lightning's own goes through $TMPDIR, which may be another file system."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Save `checkpoint` at `path`.

        Raises:
            UserError: the folder cannot be written or the disk is full; a former checkpoint of that name is left.
        """
        target = Path(path)
        remove_leftovers(target.parent)
        replaces_folder = target.is_dir()
        with atomic_path(target.with_name(f".{target.stem}.part{target.suffix}") if replaces_folder else target) as temporary:
            torch.save(checkpoint, temporary)
        if replaces_folder:
            put_in_place(target.with_name(f".{target.stem}.part{target.suffix}"), target)

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read what `save_checkpoint` or `ShardedStrategy` wrote; shards are put together, so that any strategy can go on from them.

        Raises:
            UserError: the checkpoint is missing, damaged or something else.
        """
        try:
            checkpoint = read_folder(Path(path)) if Path(path).is_dir() else super().load_checkpoint(path, *args, **kwargs)
            checkpoint["state_dict"]
        except FileNotFoundError as error:
            if not Path(path).exists():
                raise UserError(f"there is no checkpoint {str(path)!r}.") from error
            raise damaged(path, error) from error
        except Exception as error:
            raise damaged(path, error) from error
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete it as a whole."""
        discard(Path(path))


def network_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a training module as its network, `JascoModel`, names them."""
    return {name.removeprefix("model."): tensor for name, tensor in state.items()}


def damaged(path: str | Path, error: BaseException) -> UserError:
    """The sentence for a checkpoint that cannot be read."""
    return UserError(f"{str(path)!r} is not a checkpoint of `jasco fit`, or it is damaged ({type(error).__name__}).")
