from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
import torch

from jasco_pl.cli import main
from jasco_pl.studies import bench_training as bench
from jasco_pl.studies.bench_training import Laps, TrainBench, summary, train_speed
from jasco_pl.training.guard import GradientGuard
from jasco_pl.training.module import JascoModule


@pytest.fixture
def arguments(tiny_training):
    """A tiny configuration without dropout inside the network, whose draws depend on who computes."""
    return tiny_training("bench", "--model.config.transformer.dropout", "0")


def test_both_loops_train_the_same_network_on_the_same_samples(arguments, monkeypatch):
    seen = {}
    original = JascoModule.item_losses

    def watch(self, batch, dropout):
        losses, t = original(self, batch, dropout)
        seen.setdefault(id(self), []).append((batch["id"], batch["key"].tolist(), losses.detach()))
        return losses, t

    monkeypatch.setattr(JascoModule, "item_losses", watch)
    speed = train_speed(TrainBench(arguments, turns=4, warmup=2, steps=1))
    ours, plain = seen.values()
    assert len(ours) == len(plain) == 6  # past the end of an epoch of five
    for (names, keys, losses), (others, other_keys, other_losses) in zip(ours, plain, strict=True):
        assert (names, keys) == (others, other_keys)
        torch.testing.assert_close(losses, other_losses, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(ours[0][2], ours[5][2])
    assert (speed.batch_size, speed.precision, speed.mfu) == (4, "32-true", None)
    assert speed.price[1] <= speed.price[0] <= speed.price[2]
    assert speed.samples_per_second == pytest.approx(4 / speed.step)
    assert 0 <= speed.wait < 1
    assert speed.memory is None or speed.memory > 2**26


def test_what_lightnings_loop_does_besides_is_in_its_price_and_nowhere_else(arguments, monkeypatch):
    clock = {"wall": 0.0, "cpu": 0.0}
    monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=lambda: clock["wall"], process_time=lambda: clock["cpu"]))
    guard, losses = GradientGuard.on_before_optimizer_step, JascoModule.item_losses

    def network(self, *args):
        clock["wall"] += 1.0
        clock["cpu"] += 0.5
        return losses(self, *args)

    def besides(self, *args):
        clock["wall"] += 0.25  # in Lightning's loop alone; half of it waiting for something
        clock["cpu"] += 0.05
        return guard(self, *args)

    monkeypatch.setattr(JascoModule, "item_losses", network)
    monkeypatch.setattr(GradientGuard, "on_before_optimizer_step", besides)
    speed = train_speed(TrainBench(arguments, turns=2, warmup=1, steps=2))
    assert (speed.step, speed.plain) == pytest.approx((1.25, 1.0))
    assert speed.price == pytest.approx((0.25, 0.25, 0.25))
    assert speed.computing_price == pytest.approx((0.1, 0.1, 0.1))
    assert speed.wait == 0


def test_figures_of_the_turns_that_count():
    turns = SimpleNamespace(
        ours=Laps([9.0, 2.2, 2.0, 4.4], [9.0, 1.1, 1.0, 2.2], [9.0, 0.2, 0.3, 0.36]),
        theirs=Laps([1.0, 2.0, 2.0, 4.0], [1.0, 1.0, 1.0, 2.0], [0.0] * 4),
        plain=SimpleNamespace(device=torch.device("cpu")),
    )
    speed = summary(TrainBench([], turns=3, steps=2, warmup=1), "bf16-mixed", 8, turns, 10**9, 10e9, 5)  # type: ignore[arg-type]
    assert (speed.step, speed.plain, speed.samples_per_second) == pytest.approx((1.1, 1.0, 8 / 1.1))
    assert speed.price == pytest.approx((0.1, 0.0, 0.1))
    assert speed.computing_price == pytest.approx((0.1, 0.0, 0.1))
    assert (speed.flops, speed.mfu) == pytest.approx((1e9 / 1.1, 0.1 / 1.1))
    assert speed.wait == pytest.approx(0.1)
    turns.plain.device = torch.device("cuda")
    assert summary(TrainBench([], steps=2, warmup=1), "32-true", 8, turns, 1, None, 5).computing_price is None  # type: ignore[arg-type]


def test_the_command_prints_a_table(arguments, capsys):
    options = [option for option in arguments if option.endswith(".yaml") or option == "-c"]
    given = ["--data", "loader", "memory", "--precision", "32-true", "bf16-mixed", "--batch-size", "2", "--turns", "2", "--warmup", "1"]
    assert main(["bench", "train", *options, *given, "--", "--data.seconds", "0.5"]) == 0
    out = capsys.readouterr().out
    assert "--data.seconds 0.5" in out
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines() if line.startswith("|")]
    assert rows[0][:6] == ["data", "compiled", "precision", "batch", "step", "plain loop"]
    assert [row[:4] for row in rows[2:]] == [
        [data, "off", precision, "2"] for data in ("loader", "memory") for precision in ("32-true", "bf16-mixed")
    ]
    for row in rows[2:]:
        assert all(re.fullmatch(r"\d+\.\d ms", cell) for cell in (*row[4:6], row[7]))
        assert all(re.fullmatch(r"[+-][\d.]+% \([+-][\d.]+% to [+-][\d.]+%\)", cell) for cell in (row[6], row[8]))
        assert row[10].endswith(" GFLOP/s")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--turns", "1"], "at least two turns"),
        (["--precision", "16-true"], "knows the precisions 32-true, bf16-mixed, not '16-true'"),
        (["--", "--trainer.devices", "2"], "one device is measured, not 2"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(arguments, options, message, capsys):
    assert main(["bench", "train", *[option for option in arguments if option.endswith(".yaml") or option == "-c"], *options]) == 2
    assert re.search(message, capsys.readouterr().err)
