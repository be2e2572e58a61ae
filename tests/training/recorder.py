"""A callback for trainings in other processes: writes what every step saw, and can kill its process as `kill -9` does."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback


class Recorder(Callback):
    """Appends one JSON line a step to `<path>.<rank>`; after step `kill_at` the process ends by SIGKILL."""

    def __init__(self, path: str, kill_at: int | None = None) -> None:
        self.path, self.kill_at = path, kill_at

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        line = {
            "step": trainer.global_step,
            "ids": batch["id"],
            "starts": batch["start"],
            "captions": batch["caption"],
            "loss": float(outputs["loss"]),
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
        }
        with open(f"{self.path}.{trainer.global_rank}", "a") as out:
            out.write(json.dumps(line) + "\n")
        if trainer.global_step == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        line = {"step": trainer.global_step, "loss": float(trainer.callback_metrics["valid/loss"])}
        with open(f"{self.path}.valid.{trainer.global_rank}", "a") as out:
            out.write(json.dumps(line) + "\n")


def recording(path: Path, kill_at: int | None = None) -> str:
    """The command-line argument that adds a recorder."""
    return "--trainer.callbacks+=" + json.dumps({"class_path": "recorder.Recorder", "init_args": {"path": str(path), "kill_at": kill_at}})


def read(path: Path, rank: int = 0) -> list[dict[str, Any]]:
    """What a recorder wrote."""
    return [json.loads(line) for line in Path(f"{path}.{rank}").read_text().splitlines()]


def _jasco(arguments: list[str], output: str) -> None:
    descriptor = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    import torch

    from jasco_pl.cli import main

    torch.set_num_threads(1)
    os._exit(main(arguments))


def jasco(arguments: list[str], output: Path) -> int:
    """Run `jasco ARGUMENTS` in a process of its own, forked from a server that has the imports behind it; returns its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["jasco_pl.training.cli", "jasco_pl.training.callbacks"])
    process = context.Process(target=_jasco, args=(arguments, str(output)))
    process.start()
    process.join()
    return process.exitcode or 0
