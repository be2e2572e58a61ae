"""The way there and back, tiny, on a CPU: a bundle is made here and runs its jobs without network, with a Python that sees PyTorch and the
like (`bare.ROOTS` and what they require) and nothing else of this environment."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from bare import bare_environment, make_bare_python, without_network

from jasco_pl.cli import main
from jasco_pl.codec import load_codec
from jasco_pl.codec.vocoder import Vocoder
from jasco_pl.studies.gpu_bundle.build import LIMIT, build
from jasco_pl.studies.gpu_bundle.pieces import PIECE, join

pytestmark = pytest.mark.slow

_NETWORK = "--model.config.transformer.width 48 --model.config.transformer.layers 2 --model.config.transformer.feed_forward 64"
SMALL_MODEL = f"{_NETWORK} --model.config.transformer.heads 2 --data.seconds 2 --data.workers 0"
SMALL_FIT = f"{SMALL_MODEL} --data.batch_size 2 --model.compile false --trainer.precision 32-true --trainer.val_check_interval 1000"
SMALL_VOCODER = (
    "--model.width 32 --model.layers 1 --model.discriminator_filters 2 --data.batch_size 2 --data.valid_clips 1 --data.valid_seconds 2"
)


USUAL_START = 10.0  # seconds to import what a training needs


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "gpu-bundle"
    assert build(folder) <= LIMIT
    return folder


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    interpreter = make_bare_python(tmp_path_factory.mktemp("bare"))
    names = ("torch", "jasco_pl", "soundfile", "lightning", "vamp", "chord_extractor")
    look = f"import importlib.util as u; print([name for name in {names} if u.find_spec(name)])"
    assert subprocess.run([str(interpreter), "-c", look], capture_output=True, text=True, check=True).stdout == "['torch']\n"
    return interpreter


@pytest.fixture(scope="module")
def slowness() -> float:
    """How many times as long as on a machine that nobody else uses, from 1 to 2: jobs get that much more time."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import jasco_pl.training.cli"], check=True)
    return min(2.0, max(1.0, (time.monotonic() - began) / USUAL_START))


def brought_back(bundle: Path, python: Path, out: Path, job: str, minutes: float, **sizes: str) -> tuple[Path, dict[str, Any]]:
    """Run a job; returns what was joined of it, and what it says of itself."""
    command = without_network(["sh", str(bundle / "run.sh"), job, str(out / "pieces"), str(minutes)])
    run = subprocess.run(command, env=bare_environment(python, **sizes), capture_output=True, text=True, check=False)
    assert run.returncode in (0, 1), run.stdout + run.stderr
    assert max(path.stat().st_size for path in (out / "pieces").iterdir()) <= PIECE
    (folder,) = join(out / "pieces", out / "joined")
    told = json.loads((folder / "job.json").read_text())
    assert told["finished"] is (run.returncode == 0)
    assert told["seconds"] < minutes * 60 + 15
    assert told["gpu"] is None
    assert told["torch"] == torch.__version__
    return folder, told


def test_a_trained_model_comes_back_and_makes_music(bundle: Path, python: Path, slowness: float, tmp_path: Path) -> None:
    folder, told = brought_back(bundle, python, tmp_path, "train", 6 * slowness, HOURS="0.03", VALID_HOURS="0.01", ARGS=SMALL_FIT)
    assert told["finished"]
    assert [stage["name"] for stage in told["stages"]][-3:] == ["fit", "compose train", "export"]  # composing goes on beside the training
    assert told["stages"][-1]["status"] == "done"
    assert "soundfile" in told["installed"] or told["installed"] == []  # by the job before
    request = ["--text", "calm jazz", "--chords", "C | F", "--bpm", "100", "--steps", "2"]
    assert main(["generate", "--checkpoint", str(folder / "jasco-mini"), *request, "-o", str(tmp_path / "clips")]) == 0
    assert list((tmp_path / "clips").glob("*.wav"))
    assert list((folder / "fit").glob("events*"))


def test_a_trained_decoder_comes_back(bundle: Path, python: Path, slowness: float, tmp_path: Path) -> None:
    folder, told = brought_back(bundle, python, tmp_path, "decoder", 5 * slowness, HOURS="0.02", VALID_HOURS="0.01", ARGS=SMALL_VOCODER)
    assert told["finished"]
    codec = load_codec(str(folder / "codec-mini"))
    assert isinstance(codec.decoder, Vocoder)
    wav = torch.randn(1, 1, codec.sample_rate)
    assert bool(torch.isfinite(codec.decode(codec.encode(wav))).all())


TABLES = {
    *("mini-compiled", "mini-eager", "mini-profile", "paper-compiled", "paper-eager", "paper-profile", "paper-checkpointing"),
    *("paper-generate", "data"),
}
SPEED = {"profile": "kernel of attention", "generate": "x real time"}


def test_tables_come_back(bundle: Path, python: Path, slowness: float, tmp_path: Path) -> None:
    """As many as there was time for, each of them whole; the others are named."""
    sizes = {"HOURS": "0.02", "BATCH": "2", "TURNS": "2", "STEPS": "1", "ARGS": f"{SMALL_MODEL} --data.seconds 1"}
    folder, told = brought_back(bundle, python, tmp_path, "bench", 9 * slowness, **sizes)
    tables = {path.stem: path.read_text() for path in folder.glob("*.md")}
    stages = {stage["name"]: stage["status"] for stage in told["stages"] if stage["name"] in TABLES}
    assert set(tables) == {name for name, status in stages.items() if status == "done"}
    assert set(stages.values()) <= {"done", "stopped"}  # nothing failed
    assert told["finished"] is (set(tables) == TABLES)
    for name in TABLES - set(tables):
        assert re.search(f"{name} was not (begun|done when its time was up)", told["failure"]), name
    assert tables  # nine minutes are enough for one of them anywhere
    for name, table in tables.items():
        assert SPEED.get(name.split("-")[-1], "samples/s") in table, name
        assert "|---" in table.replace("|:--", "|---"), name
        assert ("conf/paper.yaml" in table) == name.startswith("paper"), name
