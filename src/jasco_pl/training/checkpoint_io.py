"""Checkpoints that are whole or absent: a kill during a save leaves the former one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from jasco_pl.errors import UserError
from jasco_pl.files import atomic_path, remove_leftovers


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target, flush to disk, rename. Lightning's own goes through $TMPDIR, which may be another file system."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Save `checkpoint` at `path`.

        Raises:
            UserError: the folder cannot be written or the disk is full; a former checkpoint of that name is left.
        """
        remove_leftovers(Path(path).parent)
        with atomic_path(path) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read what `save_checkpoint` wrote.

        Raises:
            UserError: the file is missing, damaged or something else.
        """
        try:
            checkpoint = super().load_checkpoint(path, *args, **kwargs)
            checkpoint["state_dict"]
        except FileNotFoundError as error:
            raise UserError(f"there is no checkpoint {str(path)!r}.") from error
        except Exception as error:
            raise UserError(f"{str(path)!r} is not a checkpoint of `jasco fit`, or it is damaged ({type(error).__name__}).") from error
        return checkpoint
