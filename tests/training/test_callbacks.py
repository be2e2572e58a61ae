from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jasco_pl.network.flow import SolverConfig
from jasco_pl.training import callbacks
from jasco_pl.training.callbacks import Listen, Speed
from jasco_pl.training.ema import WeightAverage


class Logged:
    """Stands in for a module: keeps what is logged."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def log(self, name: str, value: Any, **options: Any) -> None:
        self.values[name] = float(value)


def train(speed: Speed, module: Any, trainer: Any, batch: Any, clock: Any, arrivals: list[tuple[float, float]]) -> None:
    """Batches that arrive and end at these times, two of them a step."""
    for arrived, ended in arrivals:
        clock.append(arrived)
        speed.on_train_batch_start(trainer, module, batch, trainer.parts % 2)
        clock.append(ended)
        trainer.parts += 1
        trainer.global_step = trainer.parts // 2
        speed.on_train_batch_end(trainer, module, None, batch, (trainer.parts - 1) % 2)


def test_speed_counts_all_ranks_and_parts_and_splits_off_the_waiting(monkeypatch):
    clock = []
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: clock.pop())
    speed, module = Speed(), Logged()
    trainer = SimpleNamespace(world_size=3, global_step=0, parts=0, accumulate_grad_batches=2, log_every_n_steps=2)
    batch = {"id": ["a", "b", "c", "d"]}
    train(speed, module, trainer, batch, clock, [(0, 2), (2.5, 4), (4, 5)])
    assert module.values == {}  # the third part is not yet the second step
    train(speed, module, trainer, batch, clock, [(6, 7)])
    # three parts of two steps, as the first of all has no beginning; 1.5 of 5 seconds were waiting
    expected = {"speed/samples_per_s": 3 * 4 * 3 / 5, "speed/step_s": 2 * 5 / 3, "speed/data_wait": 0.3}
    assert module.values == pytest.approx(expected)
    module.values.clear()
    speed.on_validation_start(trainer, module)
    train(speed, module, trainer, batch, clock, [(100, 101), (101, 102), (102, 103)])
    assert module.values == {}
    train(speed, module, trainer, batch, clock, [(103, 104)])
    assert module.values == pytest.approx({"speed/samples_per_s": 3 * 4, "speed/step_s": 2.0, "speed/data_wait": 0.0})


def test_speed_of_the_network_is_in_flops_and_on_a_known_gpu_their_share(make_module, monkeypatch):
    module, logged = make_module(), Logged()
    module.log = logged.log
    clock = []
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: clock.pop())
    trainer = SimpleNamespace(world_size=1, global_step=0, parts=0, accumulate_grad_batches=2, log_every_n_steps=1, precision="32-true")
    batch = {"id": ["a", "b"], "latents": torch.zeros(2, 40, 128)}
    speed = Speed()
    train(speed, module, trainer, batch, clock, [(0, 1), (1, 1.5)])
    rate = 3 * 2 * callbacks.flops_per_sample(module.config, 40, callbacks.TEXT_TOKENS) / 0.5
    assert logged.values["speed/gflops"] == pytest.approx(rate / 1e9)
    assert "speed/mfu" not in logged.values
    monkeypatch.setattr(callbacks, "peak_flops", lambda device, half: None if half else 8 * rate)
    train(speed, module, trainer, batch, clock, [(1.5, 1.75), (1.75, 2)])
    assert logged.values["speed/mfu"] == pytest.approx(2 / 8)


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
