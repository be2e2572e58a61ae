from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torchmetrics import Metric

from jasco_pl.metrics import (
    ChordAccuracy,
    ChordIoU,
    ClapScore,
    FrechetDistance,
    FunctionEvaluations,
    KernelDistance,
    LabelKL,
    MelodyAccuracy,
    MelodySimilarity,
    OnsetF1,
    RealTimeFactor,
)

CLIPS = 7
WINDOWS, DIM = 9, 4


def as_bins(wav: torch.Tensor, sample_rate: int) -> torch.Tensor:
    return wav[0].long()


def metrics() -> dict[str, Metric]:
    return {
        "chords": ChordIoU("triad"),
        "roots": ChordAccuracy("root"),
        "onsets": OnsetF1(),
        "melody": MelodyAccuracy(),
        "similarity": MelodySimilarity(as_bins),
        "frechet": FrechetDistance("musicnn", DIM),
        "kernel": KernelDistance("musicnn", DIM),
        "labels": LabelKL("musicnn"),
        "clap": ClapScore(),
        "speed": RealTimeFactor(),
        "evaluations": FunctionEvaluations(),
    }


def feed(found: dict[str, Metric], clips: range) -> None:
    """Clips of which number 2 has no onsets and number 3 no melody, so that ranks keep different counts; a reference have 1 and 3 alone."""
    for clip in clips:
        generator = torch.Generator().manual_seed(clip)
        asked = torch.randint(0, 193, (20,), generator=generator)
        heard = torch.where(torch.rand(20, generator=generator) < 0.6, asked, 0)
        found["chords"].update(heard, asked)
        found["roots"].update(heard, asked)
        onsets = torch.rand(8, generator=generator) * 10
        found["onsets"].update(onsets + 0.1 * torch.rand(8, generator=generator), onsets if clip != 2 else [])
        melody = asked % 53 if clip != 3 else torch.full((20,), -1)
        found["melody"].update(heard % 53, melody)
        found["similarity"].update((heard % 53)[None], melody[None])
        rows = torch.randn(2, WINDOWS, DIM, generator=generator)
        for name in ("frechet", "kernel"):
            found[name].update(rows[0])
            if clip in (1, 3):
                found[name].update(rows[1] + 0.5, reference=True)
        found["labels"].update(rows[0].softmax(-1), rows[1].softmax(-1))
        found["clap"].update(rows[0], rows[1])
        found["speed"].update(1.0 + clip, 10.0)
        found["evaluations"].update(16 * clip)


def figures(found: dict[str, Metric]) -> dict[str, float]:
    """Every figure by its name, those of metrics with several included."""
    flat = {}
    for name, metric in found.items():
        value = metric.compute()
        flat |= {key: part.item() for key, part in value.items()} if isinstance(value, dict) else {name: value.item()}
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
