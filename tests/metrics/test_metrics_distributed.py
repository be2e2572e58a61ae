from __future__ import annotations

import math
import socket
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torchmetrics import Metric

from jasco_pl.metrics.distances import ClipFigures, FrechetDistance, KernelDistance

CLIPS = 7
WINDOWS, DIM = 9, 4


def metrics() -> dict[str, Metric]:
    return {
        "figure": ClipFigures(),
        "reference": ClipFigures(),
        "frechet": FrechetDistance("musicnn", DIM),
        "kernel": KernelDistance("musicnn", DIM),
    }


def feed(found: dict[str, Metric], clips: range) -> None:
    """Clips of which number 2 has no figure, so that ranks keep different counts; a reference and its figure have 1 and 3 alone."""
    for clip in clips:
        generator = torch.Generator().manual_seed(clip)
        found["figure"].update(math.nan if clip == 2 else float(torch.rand(1, generator=generator)), clip)
        rows = torch.randn(2, WINDOWS, DIM, generator=generator)
        for name in ("frechet", "kernel"):
            found[name].update(rows[0])
            if clip in (1, 3):
                found[name].update(rows[1] + 0.5, reference=True)
        if clip in (1, 3):
            found["reference"].update(clip / 10, clip)


def figures(found: dict[str, Metric]) -> dict[str, float]:
    """Every figure by its name, those of metrics with several included."""
    flat: dict[str, float] = {}
    for name, metric in found.items():
        if isinstance(metric, ClipFigures):
            flat |= {f"{name} {key}": value for key, value in asdict(metric.figure()).items() if key != "missing"}
        else:
            flat |= {key: part.item() for key, part in metric.compute().items()}
    return flat


def work(rank: int, port: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    found = metrics()
    feed(found, range(rank, CLIPS, 2))  # rank 0 sees no reference at all
    torch.save(figures(found), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def expected() -> dict[str, float]:
    found = metrics()
    feed(found, range(CLIPS))
    return figures(found)


def test_two_processes_equal_one(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Forked rather than spawned: nothing needs importing again, and the arithmetic is too small for threads.
    mp.start_processes(work, args=(port, str(tmp_path)), nprocs=2, start_method="fork")
    one = expected()
    assert one["figure clips"] == CLIPS - 1
    assert one["FD[musicnn] generated"] == CLIPS * WINDOWS
    assert one["KAD[musicnn] reference"] == 2 * WINDOWS
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt") == pytest.approx(one, abs=1e-6)


def test_merged_states_equal_one() -> None:
    left, right = metrics(), metrics()
    feed(left, range(3))
    feed(right, range(3, CLIPS))
    left["frechet"].allow_few = True
    figures(left)  # what was computed before must not come back
    for name, metric in left.items():
        metric.merge_state(right[name])
    assert figures(left) == pytest.approx(expected(), abs=1e-6)


def test_reset_forgets() -> None:
    found = metrics()
    feed(found, range(CLIPS))
    for metric in found.values():
        metric.reset()
        assert metric.update_count == 0
    feed(found, range(CLIPS))
    assert figures(found) == expected()
