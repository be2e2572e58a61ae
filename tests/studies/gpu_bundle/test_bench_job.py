"""The tables of a bundle: as many as there is time for, each of them whole."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from jasco_pl.studies.gpu_bundle import jobs
from jasco_pl.studies.gpu_bundle import run as running
from jasco_pl.studies.gpu_bundle.jobs import Bench, Sizes
from jasco_pl.studies.gpu_bundle.pieces import join
from jasco_pl.studies.gpu_bundle.run import Run, carry_out


def bench(tmp_path: Path, seconds: float, gpu: str | None = None) -> tuple[Run, Bench]:
    run = Run("bench", tmp_path, tmp_path / "results", tmp_path / "out", seconds, dict(os.environ), {"gpu": gpu})
    return run, Bench(run, tmp_path, Sizes.of("bench", {}))


def printing(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_slow_table_leaves_time_for_others_and_no_part_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PACKING", 0.5)
    monkeypatch.setattr(jobs, "LEAST", 0.5)
    monkeypatch.setattr(running, "GRACE", 0.5)
    monkeypatch.setattr(Bench, "compose", lambda self, *args: None)
    monkeypatch.setattr(Bench, "build_shards", lambda self, *args: None)
    slow = printing("import time; print('half a table', flush=True); time.sleep(60)")
    tables = {"first": printing("print('a table')"), "slow": slow, "broken": printing("raise SystemExit(3)"), "last": slow, "none": slow}
    monkeypatch.setattr(Bench, "tables", lambda self: tables)
    run, job = bench(tmp_path, 8)
    assert carry_out(run, job) == 1
    (folder,) = join(run.out, tmp_path / "joined")
    assert {path.name: path.read_text() for path in folder.glob("*.md")} == {"first.md": "a table\n"}
    told = json.loads((folder / "job.json").read_text())
    assert told["failure"].startswith("slow was not done when its time was up; broken failed with status 3; last was not done")
    assert "none was not " in told["failure"]
    assert told["seconds"] < 12


def test_the_most_wanted_come_first_and_without_a_gpu_those_that_take_long_last(tmp_path: Path) -> None:
    there = list(bench(tmp_path / "there", 60, gpu="NVIDIA H200")[1].tables())
    here = list(bench(tmp_path / "here", 60)[1].tables())
    assert set(there) == set(here)
    assert there[:3] == ["mini-compiled", "paper-compiled", "paper-profile"]
    assert here[:3] == ["paper-eager", "data", "mini-eager"]
