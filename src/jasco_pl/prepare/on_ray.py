"""Jobs on a Ray cluster: actors hold the extractors, Ray Data hands out the tracks and starts again what was lost."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jasco_pl.errors import UserError
from jasco_pl.prepare.config import PrepareConfig
from jasco_pl.prepare.track import Job, TrackWorker

ATTEMPTS = 3
"""Of one job in one run; whatever kills its actor every time is refused."""
BLOCKS = 64
"""Parts that the jobs come in, an actor: what an actor has not given back when it dies is looked at again, and found done."""


class TrackActor:
    """A `TrackWorker` that lives on some machine of the cluster."""

    def __init__(self, config: PrepareConfig, run: str) -> None:
        self.worker, self.run = TrackWorker(config), run

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """One row is one job."""
        job = Job(**row)
        attempts = Path(job.folder) / f"attempts-{self.run}"
        attempts.parent.mkdir(parents=True, exist_ok=True)
        with attempts.open("a") as file:  # a mark for every start: the next actor sees how often this job was begun
            file.write(".")
        if attempts.stat().st_size > ATTEMPTS:
            job.refuse("crashed", f"the actor that read it died {ATTEMPTS} times; the file, or a lack of memory, may be the cause.")
        else:
            job = self.worker(job)
        attempts.unlink(missing_ok=True)
        return {"id": job.id}


def run_ray(jobs: Sequence[Job], config: PrepareConfig) -> Generator[Job, None, None]:
    """On the cluster at `config.ray`, in whatever order they are done.

    Raises:
        UserError: Ray is not installed, or the cluster is not there.
    """
    ray = connect(config.ray or "auto")
    have = ray.cluster_resources()
    most = int(have.get("GPU", 0) / config.ray_gpus) if config.ray_gpus else int(have.get("CPU", 1) / config.ray_cpus)
    if most < 1:
        raise UserError(
            f"the cluster has {have.get('CPU', 0):g} CPUs and {have.get('GPU', 0):g} GPUs, where an actor is to have "
            f"{config.ray_cpus:g} and {config.ray_gpus:g} (--ray_cpus, --ray_gpus)."
        )
    ray.data.DataContext.get_current().enable_progress_bars = False  # ours counts music
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # its plans and figures would run through our bar
    by_id = {job.id: job for job in jobs}
    actors = min(config.ray_actors or most, len(jobs))
    rows = ray.data.from_items([asdict(job) for job in jobs], override_num_blocks=min(len(jobs), BLOCKS * actors))
    done = rows.map(
        TrackActor,  # type: ignore[arg-type]  # Ray's stubs know functions alone
        fn_constructor_args=(config, os.urandom(4).hex()),
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=config.ray_cpus,
        num_gpus=config.ray_gpus or None,
    )
    for row in done.iter_rows():
        yield by_id[row["id"]]


def connect(address: str) -> Any:
    """Join the cluster at an address, start one on this machine where `auto` finds none; returns the module.

    Raises:
        UserError: Ray is not installed, or the cluster is not there.
    """
    try:
        import ray
    except ImportError:
        raise UserError("--ray needs Ray, which is not installed: `pip install 'jasco-pl[ray]'`.") from None
    if ray.is_initialized():
        return ray
    if address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=10).close()  # Ray would try for minutes
        except (OSError, ValueError, OverflowError):
            raise UserError(
                f"there is no Ray cluster at {address!r}; HOST:PORT names one, `auto` finds the one of this machine, or starts one."
            ) from None
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it calls an error what Ray Data always does with its actors
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    try:
        ray.init(address=address, **options)
    except ConnectionError:
        if address != "auto":
            raise UserError(f"the Ray cluster at {address!r} takes nobody in: it may run another version of Ray or Python.") from None
        ray.init(**options)
    return ray
