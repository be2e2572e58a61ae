from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from recorder import jasco, join, start_ranks
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jasco_pl.cli import main
from jasco_pl.codec import load_codec
from jasco_pl.evaluation.pretrained import Listeners
from jasco_pl.evaluation.table import RowFigures
from jasco_pl.extract import chordino
from jasco_pl.system.checksums import sealed_json
from jasco_pl.system.errors import UserError
from jasco_pl.training import validation
from jasco_pl.training.validation import ValidationMetrics, spread, summary, swap_rises

needs_chordino = pytest.mark.skipif(not chordino.available(), reason="Chordino is not installed")
SOLVER = {"method": "euler", "steps": 2}


def listening(**options: Any) -> str:
    """The command-line argument that adds the callback."""
    options = {"clips": 4, "batch": 2, "show": 1, "swaps": 4, "solver": SOLVER, **options}
    return "--trainer.callbacks+=" + json.dumps({"class_path": "jasco_pl.training.validation.ValidationMetrics", "init_args": options})


def best(**options: Any) -> str:
    """The one that keeps the best checkpoint by a figure of it."""
    options = {"monitor": "val/chroma_similarity", "mode": "max", "filename": "best-{step}", "enable_version_counter": False, **options}
    return "--trainer.callbacks+=" + json.dumps({"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": options})


@pytest.fixture
def training(tiny_training: Any, tiny_codec_folder: Path, tmp_path: Path) -> Any:
    """`tiny_training` whose validation set says that the tiny codec made it."""
    codec, path = load_codec(str(tiny_codec_folder)), tmp_path / "valid" / "index.json"
    index = json.loads(path.read_text())
    index["codec"] |= {"mean": codec.latent_mean.tolist(), "std": codec.latent_std.tolist()}
    del index["crc32"]
    path.write_bytes(sealed_json(index))
    return tiny_training


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"audio": 0, "images": 0, "scalars": 0})
    found.Reload()
    return found


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What was logged under val/, by step."""
    found = events(folder)
    return {
        name: [(event.step, event.value) for event in found.Scalars(name)] for name in found.Tags()["scalars"] if name.startswith("val/")
    }


@needs_chordino
def test_a_training_listens_and_keeps_the_best(training, tmp_path: Path) -> None:
    steps = ("--trainer.max_steps", "9", "--trainer.val_check_interval", "3", "--model.lr", "1e-2")
    assert main(["fit", *training("run", listening(every=2), best(), *steps)]) == 0
    found = scalars(tmp_path / "run")
    assert {"val/onset_f1", "val/chroma_similarity", "val/swap_rise", "val/swap_rise_chords", "val/clips"} <= set(found)
    assert [step for step, _ in found["val/chroma_similarity"]] == [2, 8]  # every other validation, the first among them
    assert [value for _, value in found["val/clips"]] == [4, 4]
    (kept,) = (tmp_path / "run" / "checkpoints").glob("best-*.ckpt")
    by_step = dict(found["val/chroma_similarity"])
    assert kept.name == ("best-step=9.ckpt" if by_step[8] > by_step[2] else "best-step=3.ckpt")
    tags = events(tmp_path / "run").Tags()
    assert {"val_clip0/clip_audio", "val_clip0/reference_audio"} <= set(tags["audio"])
    assert {"val_clip0/spectrogram", "val_clip0/chords", "val_clip0/onsets"} <= set(tags["images"])
    assert not set(tags["audio"]) & set(tags["images"])  # TensorBoard shows only the first kind that it meets under a tag


@pytest.mark.slow
@needs_chordino
def test_two_processes_hear_what_one_does(training, tmp_path: Path) -> None:
    steps = ("--trainer.max_steps", "60", "--trainer.val_check_interval", "100", "--model.lr", "3e-2", "--model.dropout.text_alone", "0")
    assert main(["fit", *training("trained", *steps)]) == 0
    checkpoint = ("--ckpt_path", str(tmp_path / "trained" / "checkpoints" / "last.ckpt"))
    for name, clips in (("even", 4), ("uneven", 3)):
        one = ["validate", *training(f"{name}-one", listening(clips=clips, swaps=clips), *checkpoint)]
        assert jasco(one, tmp_path / "one.txt") == 0, (tmp_path / "one.txt").read_text()
        two = ["validate", *training(f"{name}-two", listening(clips=clips, swaps=clips, batch=1), *checkpoint)]
        assert join(start_ranks(two, tmp_path / "two.txt", 1, 2), 300) == [0, 0], (tmp_path / "two.txt").read_text()
        expected, found = scalars(tmp_path / f"{name}-one"), scalars(tmp_path / f"{name}-two")
        assert expected["val/clips"][0][1] == clips
        rises = [abs(value[0][1]) for key, value in expected.items() if key.startswith("val/swap_rise_")]
        assert max(rises) > 2e-5  # the controls are heeded a little, so that there is something to compare
        assert {key: value[0][1] for key, value in found.items()} == pytest.approx(
            {key: value[0][1] for key, value in expected.items()}, rel=1e-4, abs=2e-6
        )


@needs_chordino
def test_the_time_that_is_given_is_kept(training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 10_000, 40))
    monkeypatch.setattr(validation.time, "monotonic", lambda: next(now))
    steps = ("--trainer.max_steps", "2", "--trainer.val_check_interval", "2")
    assert main(["fit", *training("run", listening(batch=1, max_seconds=100.0, show=0, swaps=0), *steps)]) == 0
    assert [value for _, value in scalars(tmp_path / "run")["val/clips"]] == [3]  # begun after 0, 40 and 80 seconds


def test_what_is_asked_for_must_make_sense(training, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="is accepted"):
        ValidationMetrics(clips=0)
    steps = ("--trainer.max_steps", "2", "--trainer.val_check_interval", "2")
    assert main(["fit", *training("run", listening(given=["mix", "nothing"], swaps=0), *steps)]) == 2
    assert "clips cannot be given 'nothing'" in capsys.readouterr().err
    assert main(["fit", *training("run", listening(), *steps, "--data.seconds", "60")]) == 2
    assert "holds nothing that lasts 60 seconds" in capsys.readouterr().err


def test_rises_are_shares_of_the_mean_loss() -> None:
    losses = [{"kept": 1.0, "chords": 1.5, "drums": 1.0}, {"kept": 3.0, "chords": 3.5, "drums": 3.0}]
    assert swap_rises(losses) == pytest.approx({"chords": 0.25, "drums": 0.0, "all": 0.125})
    assert swap_rises([{"kept": 1.0}]) == {}
    assert swap_rises([]) == {}


def test_a_summary_does_not_depend_on_who_made_what() -> None:
    draw = np.random.default_rng(0)
    labels = np.full(50, 0.02, dtype=np.float32)
    clips = [
        (
            {"chord_iou": number / 10, "melody_accuracy": float("nan") if number != 3 else 0.5, "onset_f1": float("nan")},
            {"musicnn": draw.normal(size=(60, 200)).astype(np.float32), "musicnn labels": labels},
            {"musicnn": draw.normal(size=(60, 200)).astype(np.float32), "musicnn labels": labels},
        )
        for number in range(4)
    ]

    def summed(positions: Sequence[int]) -> dict[str, float]:
        made = RowFigures(clips[0][0], Listeners({"musicnn": "musicnn"}))
        for position in positions:
            made.add(position, *clips[position])
        return summary(made)

    found = summed(range(4))
    assert found["clips"] == 4
    assert found["chord_iou"] == pytest.approx(0.15)
    assert found["melody_accuracy"] == 0.5
    assert np.isnan(found["onset_f1"])
    assert found["fd_musicnn"] > 0
    assert found["kl_musicnn"] == pytest.approx(0, abs=1e-4)
    assert summed((3, 1, 0, 2)) == pytest.approx(found, nan_ok=True)
    assert np.isnan(summed([0])["fd_musicnn"])  # 60 embeddings are too few


def test_clips_lie_far_apart() -> None:
    assert spread(100, 4) == [0, 25, 50, 75]
    assert spread(3, 16) == [0, 1, 2]


def test_other_modules_and_the_sanity_check_are_left_alone() -> None:
    ValidationMetrics().on_validation_epoch_end(SimpleNamespace(sanity_checking=True), torch.nn.Module())
    ValidationMetrics().on_validation_epoch_end(SimpleNamespace(sanity_checking=False), torch.nn.Module())
