from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from jasco_pl.compose import compose_set
from jasco_pl.studies.paper.engine import Budget, Job, jobs_of
from jasco_pl.studies.paper.plan import chosen

ROOT = Path(__file__).parents[3]


@pytest.fixture
def budget(tmp_path: Path, write_tiny_shards: Callable[..., Any]) -> Budget:
    write_tiny_shards(tmp_path / "train")
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    return Budget(4, 2, tmp_path / "out", tmp_path / "train", tmp_path / "train", tmp_path / "pieces", tmp_path / "conf")


def test_a_mark_changes_with_what_the_weights_depend_on(budget: Budget, tmp_path: Path, write_tiny_shards: Callable[..., Any]) -> None:
    mark = Job("concatenation", 0, budget).mark
    assert Job("concatenation", 0, replace(budget, out=tmp_path / "elsewhere", clips=9, guidance="all=2")).mark == mark
    write_tiny_shards(tmp_path / "more", samples=24)
    others = [
        Job("concatenation", 1, budget),
        Job("cross_attention", 0, budget),
        Job("concatenation", 0, replace(budget, steps=5)),
        Job("concatenation", 0, replace(budget, train=tmp_path / "more")),
    ]
    assert len({mark, *(job.mark for job in others)}) == 5
    with (tmp_path / "conf" / "ablation" / "text_only.yaml").open("a") as file:  # of the model that it starts from
        file.write("# changed\n")
    assert Job("concatenation", 0, budget).mark != mark


def test_what_is_finished_is_not_done_again_but_another_budget_is(budget: Budget, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def train(job: Job) -> None:
        done.append(f"train {job.name} {job.budget.steps}")
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / "finished.json").write_text(json.dumps({"mark": job.mark}))

    monkeypatch.setattr(Job, "train", train)
    monkeypatch.setattr(Job, "measure", lambda job: done.append(f"measure {job.name}"))
    job = Job("chords", 0, budget)
    assert not job.measured()
    job.run()
    job.run()
    assert done == ["train chords-0 4", "measure chords-0"]
    more = Job("chords", 0, replace(budget, clips=3))
    assert more.finished()
    assert not more.measured()
    more.run()
    assert done[2:] == ["measure chords-0"]
    Job("chords", 0, replace(budget, steps=5)).run()
    assert done[3:] == ["train chords-0 5", "measure chords-0"]
    assert job.finished() is None


def test_a_damaged_note_counts_as_none(budget: Budget) -> None:
    job = Job("chords", 0, budget)
    job.folder.mkdir(parents=True)
    (job.folder / "finished.json").write_text('{"mark": ')
    assert job.finished() is None
    assert not job.measured()


def test_a_first_seed_of_everything_comes_first(budget: Budget) -> None:
    names = [job.name for job in jobs_of(chosen(["chords", "zero_convolution"]), [0, 3], budget)]
    assert names == ["text_only-0", "chords-0", "zero_convolution-0", "text_only-3", "chords-3", "zero_convolution-3"]


def test_an_overlay_says_budget_seed_and_base(budget: Budget) -> None:
    overlay = Job("zero_convolution", 3, budget).overlay()
    assert overlay["seed_everything"] == overlay["data"]["seed"] == 3
    assert overlay["trainer"]["max_steps"] == overlay["model"]["decay_steps"] == 4
    assert overlay["model"]["start_from"] == str(budget.out / "text_only-3" / "model")
    assert Job("chords", 3, budget).overlay()["model"]["start_from"] is None


@pytest.mark.slow
def test_from_trainings_to_the_page(budget: Budget, tmp_path: Path, tiny_codec_folder: Path, tiny_text_folder: Path) -> None:
    """Two experiments of four steps; killed in between, the command goes on; done, it trains nothing again."""
    compose_set(budget.pieces, 0.02, 9, "test", progress=False)
    path = budget.conf / "reproduction.yaml"
    config = yaml.safe_load(path.read_text())
    tiny = {"width": 32, "layers": 2, "heads": 2, "feed_forward": 64, "convolution_kernel": 7, "convolution_groups": 4}
    config["model"]["config"] |= {
        "codec": str(tiny_codec_folder),
        "text_encoder": str(tiny_text_folder),
        "text_dim": 32,
        "codebook_size": 16,
    }
    config["model"]["config"]["transformer"] |= tiny
    config["data"] |= {"seconds": 1.0, "batch_size": 4}
    config["trainer"]["callbacks"][0]["init_args"]["every_n_train_steps"] = 1
    path.write_text(yaml.safe_dump(config))
    page = tmp_path / "docs" / "page.md"
    command = [sys.executable, "-m", "jasco_pl.cli", "reproduce", "--only", "zero_convolution", "--workers", "2", "--report", str(page)]
    command += ["--steps", "4", "--clips", "2", "--evaluations", "2", "--out", str(budget.out), "--conf", str(budget.conf)]
    command += ["--train", str(budget.train), "--valid", str(budget.valid), "--pieces", str(budget.pieces)]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    base, job = (Job(name, 0, budget) for name in ("text_only", "zero_convolution"))
    while base.finished() is None:
        assert first.poll() is None
    first.kill()
    first.wait()
    trained = (base.folder / "finished.json").stat().st_mtime_ns
    subprocess.run(command, cwd=ROOT, check=True)
    assert (base.folder / "finished.json").stat().st_mtime_ns == trained
    assert job.finished() is not None
    text = page.read_text()
    assert "| zero convolution |" in text
    assert "--steps 4 --clips 2 --evaluations 2" in text
    assert "- **not run yet**: chords raise chord IoU." in text
    stamps = [(one.folder / "finished.json").stat().st_mtime_ns for one in (base, job)]
    subprocess.run([*command, "--report-only"], cwd=ROOT, check=True)
    assert [(one.folder / "finished.json").stat().st_mtime_ns for one in (base, job)] == stamps
    assert page.read_text() == text
