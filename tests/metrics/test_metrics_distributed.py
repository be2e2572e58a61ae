from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torchmetrics import Metric

from jasco_pl.metrics import ChordIoU, MelodyAccuracy, OnsetF1

CLIPS = 7


def metrics() -> dict[str, Metric]:
    return {"chords": ChordIoU("triad"), "onsets": OnsetF1(), "melody": MelodyAccuracy()}


def feed(found: dict[str, Metric], clips: range) -> None:
    """Clips of which number 2 has no onsets and number 3 no melody, so the ranks keep different counts."""
    for clip in clips:
        generator = torch.Generator().manual_seed(clip)
        asked = torch.randint(0, 193, (20,), generator=generator)
        heard = torch.where(torch.rand(20, generator=generator) < 0.6, asked, 0)
        found["chords"].update(heard, asked)
        onsets = torch.rand(8, generator=generator) * 10
        found["onsets"].update(onsets + 0.1 * torch.rand(8, generator=generator), onsets if clip != 2 else [])
        melody = asked % 53 if clip != 3 else torch.full((20,), -1)
        found["melody"].update(heard % 53, melody)


def work(rank: int, port: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    found = metrics()
    feed(found, range(rank, CLIPS, 2))
    result = {name: metric.compute() for name, metric in found.items()}
    torch.save(result, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def expected() -> dict[str, float]:
    found = metrics()
    feed(found, range(CLIPS))
    return {name: metric.compute().item() for name, metric in found.items()}


def test_two_processes_equal_one(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Forked rather than spawned: nothing needs importing again, and the arithmetic is too small for threads.
    mp.start_processes(work, args=(port, str(tmp_path)), nprocs=2, start_method="fork")
    one = expected()
    for rank in range(2):
        result = torch.load(tmp_path / f"{rank}.pt")
        assert {name: value.item() for name, value in result.items()} == pytest.approx(one, abs=1e-6)


def test_merged_states_equal_one() -> None:
    left, right = metrics(), metrics()
    feed(left, range(3))
    feed(right, range(3, CLIPS))
    for name, metric in left.items():
        metric.merge_state(right[name])
        assert metric.compute().item() == pytest.approx(expected()[name], abs=1e-6)


def test_reset_forgets() -> None:
    found = metrics()
    feed(found, range(CLIPS))
    for metric in found.values():
        metric.reset()
        assert metric.clips == 0
