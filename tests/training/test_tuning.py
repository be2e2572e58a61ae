from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from recorder import read, recording
from torch import Tensor

from jasco_pl.cli import main
from jasco_pl.network.implementations import ATTENTION, CONVOLUTION, convolve
from jasco_pl.network.transformer import Transformer, TransformerConfig
from jasco_pl.studies.bench_training import TrainBench, train_speed
from jasco_pl.training import tuning
from jasco_pl.training.module import JascoModule
from jasco_pl.training.tuning import Sizes, fastest, tune


def product(x: Tensor, y: Tensor) -> Tensor:
    return x * y


def slow(x: Tensor, y: Tensor) -> Tensor:
    time.sleep(0.02)
    return x * y


def failing(x: Tensor, y: Tensor) -> Tensor:
    raise NotImplementedError("there is no such kernel. A longer explanation.\nAnd another line.")


def inputs() -> list[Tensor]:
    return [torch.randn(3, 4, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]


def test_the_fastest_of_those_that_agree_is_chosen() -> None:
    choice = fastest({"slow": slow, "wrong": lambda x, y: x * y * 1.01, "failing": failing, "quick": product}, inputs())
    assert choice.name == "quick"
    pattern = r"slow [\d.]+ ms, wrong is off by 1\.0%, failing cannot be had \(there is no such kernel\), quick [\d.]+ ms"
    assert re.fullmatch(pattern, choice.told), choice.told


def test_one_whose_gradients_alone_differ_is_not_chosen() -> None:
    choice = fastest({"slow": slow, "detached": lambda x, y: x * y + 0 * y - (y - y.detach()) * x.detach()}, inputs())
    assert choice.name == "slow"
    assert "detached is off by" in choice.told


def test_one_whose_gradients_are_no_numbers_is_not_chosen() -> None:
    def broken(x: Tensor, y: Tensor) -> Tensor:
        return x * y + 0 * (y - y.detach()).sqrt()  # of whose root the slope at zero is infinite

    choice = fastest({"slow": slow, "broken": broken}, inputs())
    assert choice.name == "slow"
    assert "broken is off by nan" in choice.told


def test_where_nothing_else_can_be_had_the_first_stays() -> None:
    assert fastest({"slow": slow, "failing": failing}, inputs()).name == "slow"
    assert fastest({"failing": failing}, inputs()).name == "failing"  # it will say itself what is wrong


CONFIG = TransformerConfig(width=32, layers=2, heads=4, feed_forward=64, convolution_kernel=8, convolution_groups=4, frames_per_token=2)


def lazily(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def lazy(*arguments: Any) -> Tensor:
        time.sleep(0.01)
        return compute(*arguments)

    return lazy


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_network_is_given_what_is_fastest_at_its_sizes(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[torch.Size, ...]] = []

    def library(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
        seen.append((x.shape, weight.shape))
        return convolve(x, weight, bias, groups)

    monkeypatch.setitem(CONVOLUTION, "library", lazily(library))
    monkeypatch.setitem(ATTENTION, "products", lazily(ATTENTION["products"]))
    network = Transformer(CONFIG, 8, 8, 8)
    told = tune(network, Sizes(3, 41, torch.device("cpu"), dtype, compiled=False))
    assert network.implementations == ("sdpa", "sdpa", "blocks")
    assert set(seen) == {((3, 32, 21), (32, 8, 8))}
    assert told.startswith("self-attention by sdpa (sdpa ")
    assert "cudnn cannot be had (" in told
    assert "flex" not in told  # it would have to be compiled
    assert "; positions by blocks (library " in told


def test_where_there_is_no_choice_none_is_made() -> None:
    sizes: dict[str, Any] = {"width": 32, "layers": 2, "heads": 4, "feed_forward": 64, "positions": "sinusoid"}
    plain = Transformer(TransformerConfig(**sizes, alibi=False, mask_text=False), 8, 8, 8)
    assert tune(plain, Sizes(1, 8, torch.device("cpu"), torch.float32, compiled=True)) == ""
    assert plain.implementations == ("sdpa", "sdpa", "library")
    random = Transformer(TransformerConfig(**sizes, dropout=0.1), 8, 8, 8)  # each would draw its own
    assert tune(random, Sizes(1, 8, torch.device("cpu"), torch.float32, compiled=True)) == ""


@pytest.fixture
def blocks_win(monkeypatch: pytest.MonkeyPatch) -> None:
    original = tuning._timed
    win = {"blocks": 0.0, "sdpa": 0.0}
    monkeypatch.setattr(tuning, "_timed", lambda works, device: {name: win.get(name, it) for name, it in original(works, device).items()})


def test_a_tuned_training_has_the_losses_of_an_untuned_one(
    blocks_win: None, tiny_training: Callable[..., list[str]], tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = {}
    for name in ("true", "false"):
        more = ["--trainer.max_steps", "4", "--model.config.transformer.dropout", "0", "--model.tune", name, recording(tmp_path / name)]
        assert main(["fit", *tiny_training(name, *more)]) == 0
        losses[name] = [step["loss"] for step in read(tmp_path / name)]
        assert ("the fastest here for batches of 4: self-attention by sdpa" in capsys.readouterr().err) == (name == "true")
    assert losses["true"] == pytest.approx(losses["false"], abs=1e-5)


def test_both_loops_of_a_bench_compute_alike(
    blocks_win: None, tiny_training: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    used: dict[int, set[tuple[str, str]]] = {}
    original = JascoModule.item_losses

    def watch(self: JascoModule, *args: Any) -> Any:
        used.setdefault(id(self), set()).add(self.model.transformer.implementations)
        return original(self, *args)

    monkeypatch.setattr(JascoModule, "item_losses", watch)
    train_speed(TrainBench(tiny_training("bench", "--model.config.transformer.dropout", "0", "--model.tune", "true"), turns=2, warmup=1))
    assert list(used.values()) == [{("sdpa", "sdpa", "blocks")}] * 2
