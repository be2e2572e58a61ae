"""A callback for trainings in other processes: writes what every step saw, and can kill its process as `kill -9` does."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback


class Recorder(Callback):
    """Appends one JSON line a batch to `<path>.<rank>`; after step `kill_at` the process (of that rank) ends by SIGKILL.

    With `own_group` the process becomes the head of a process group, as a task of a scheduler is.
    """

    def __init__(self, path: str, kill_at: int | None = None, kill_rank: int = 0, own_group: bool = False) -> None:
        self.path, self.kill_at, self.kill_rank, self.own_group = path, kill_at, kill_rank, own_group

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        if self.own_group:
            os.setpgrp()

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        line = {
            "step": trainer.global_step,
            "ids": batch["id"],
            "starts": batch["start"].tolist(),
            "captions": batch.get("caption"),  # a set in memory has its states alone
            "loss": float(outputs["loss"]),
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
        }
        with open(f"{self.path}.{trainer.global_rank}", "a") as out:
            out.write(json.dumps(line) + "\n")
        if trainer.global_step == self.kill_at and trainer.global_rank == self.kill_rank:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        line = {"step": trainer.global_step, "loss": float(trainer.callback_metrics["valid/loss"])}
        with open(f"{self.path}.valid.{trainer.global_rank}", "a") as out:
            out.write(json.dumps(line) + "\n")


def recording(path: Path, kill_at: int | None = None, **options: Any) -> str:
    """The command-line argument that adds a recorder."""
    options |= {"path": str(path), "kill_at": kill_at}
    return "--trainer.callbacks+=" + json.dumps({"class_path": "recorder.Recorder", "init_args": options})


def read(path: Path, rank: int = 0) -> list[dict[str, Any]]:
    """What a recorder wrote."""
    return [json.loads(line) for line in Path(f"{path}.{rank}").read_text().splitlines()]


def _jasco(arguments: list[str], output: str, environment: dict[str, str]) -> None:
    descriptor = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(environment)
    import torch

    from jasco_pl.cli import main

    torch.set_num_threads(1)
    os._exit(main(arguments))


def start(arguments: list[str], output: Path, **environment: str) -> Any:
    """`jasco ARGUMENTS` in a process of its own, forked from a server that has the imports behind it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["jasco_pl.training.cli", "jasco_pl.training.callbacks"])
    process = context.Process(target=_jasco, args=(arguments, str(output), environment))
    process.start()
    return process


def jasco(arguments: list[str], output: Path) -> int:
    """Run `jasco ARGUMENTS` so; returns its exit code."""
    process = start(arguments, output)
    process.join()
    return process.exitcode or 0


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_ranks(arguments: list[str], output: Path, nodes: int, devices: int) -> list[Any]:
    """All processes of a training with the environment that torchrun gives them; the sizes are added to the arguments."""
    port, world = str(free_port()), nodes * devices
    sizes = ["--trainer.num_nodes", str(nodes), "--trainer.devices", str(devices)]
    return [
        start(
            [*arguments, *sizes],
            output,
            TORCHELASTIC_RUN_ID="test",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
            RANK=str(rank),
            LOCAL_RANK=str(rank % devices),
            GROUP_RANK=str(rank // devices),
            WORLD_SIZE=str(world),
        )
        for rank in range(world)
    ]


def join(processes: list[Any], seconds: float) -> list[int | None]:
    """Exit codes after at most so many seconds; None for a process that still ran then, and is killed."""
    deadline = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    codes = [process.exitcode for process in processes]
    for process in processes:
        if process.is_alive():
            process.kill()
    return codes
