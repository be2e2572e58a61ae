from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jasco_pl.flow.solver import SolverConfig
from jasco_pl.training import callbacks
from jasco_pl.training.callbacks import Listen, Speed
from jasco_pl.training.ema import WeightAverage


class Logged:
    """Stands in for a module: keeps what is logged."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def log(self, name: str, value: Any, **options: Any) -> None:
        self.values[name] = float(value)


def test_speed_counts_all_ranks_and_splits_off_the_waiting(monkeypatch):
    clock = iter([0.0, 2.0, 2.5, 4.0, 10.0, 11.0])
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: next(clock))
    speed, module, trainer = Speed(), Logged(), SimpleNamespace(world_size=3)
    batch = {"id": ["a", "b", "c", "d"]}
    speed.on_train_batch_start(trainer, module, batch, 0)
    speed.on_train_batch_end(trainer, module, None, batch, 0)
    assert module.values == {}  # the first step has no beginning
    speed.on_train_batch_start(trainer, module, batch, 1)
    speed.on_train_batch_end(trainer, module, None, batch, 1)
    assert module.values == pytest.approx({"speed/samples_per_s": 12 / 2.0, "speed/data_wait": 0.25})
    module.values.clear()
    speed.on_validation_start(trainer, module)
    speed.on_train_batch_start(trainer, module, batch, 2)
    speed.on_train_batch_end(trainer, module, None, batch, 2)
    assert module.values == {}  # validation is not counted as waiting


@pytest.fixture
def stage(make_module, tmp_path):
    module = make_module()
    module.ema = WeightAverage(module.model, 0.9)
    module.train()
    logger = TensorBoardLogger(str(tmp_path), name="logs", version="")
    trainer = SimpleNamespace(sanity_checking=False, is_global_zero=True, loggers=[logger], global_step=7)
    request = {"text": "calm piano", "chords": "C G"}
    return Listen([request, {"text": "fast drums"}], solver=SolverConfig("euler", 2)), trainer, module, logger


def test_listening_leaves_sound_and_a_picture_and_the_training_as_it_was(stage, tmp_path):
    listen, trainer, module, logger = stage
    before = {name: tensor.clone() for name, tensor in module.model.state_dict().items()}
    listen.on_validation_end(trainer, module)
    assert module.model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.model.state_dict().items())
    logger.experiment.flush()
    events = EventAccumulator(str(tmp_path / "logs"), size_guidance={"audio": 0, "images": 0})
    events.Reload()
    assert sorted(events.Tags()["audio"]) == ["listen/clip0_audio", "listen/clip1_audio"]
    assert sorted(events.Tags()["images"]) == ["listen/clip0_picture", "listen/clip1_picture"]
    (sound,) = events.Audio("listen/clip0_audio")
    assert (sound.step, sound.sample_rate, sound.length_frames) == (7, 32000, 32000)
    (picture,) = events.Images("listen/clip0_picture")
    assert picture.width > 300
    assert picture.height > 200


def test_clips_are_made_by_the_averaged_weights(stage, monkeypatch):
    listen, trainer, module, _ = stage
    with torch.no_grad():
        module.model.transformer.output.weight.add_(1.0)
    seen = []
    monkeypatch.setattr(listen, "_show", lambda board, name, clip, heard, step: seen.append(clip.latents))
    listen.on_validation_end(trainer, module)
    with torch.no_grad():
        module.model.transformer.output.weight.sub_(1.0)
    listen.on_validation_end(trainer, module)
    torch.testing.assert_close(seen[0], seen[2])


@pytest.mark.parametrize("state", [{"sanity_checking": True}, {"is_global_zero": False}])
def test_nothing_is_made_in_the_sanity_check_or_on_other_ranks(stage, state, monkeypatch):
    listen, trainer, module, _ = stage
    for name, value in state.items():
        setattr(trainer, name, value)
    monkeypatch.setattr(callbacks, "Jasco", lambda *parts: pytest.fail("a clip was made"))
    listen.on_validation_end(trainer, module)
