from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from jasco_pl.cli import main
from jasco_pl.generation.jasco import Jasco
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import JascoModel
from jasco_pl.studies import bench_generation as bench
from jasco_pl.studies import random_checkpoint
from jasco_pl.studies.bench_generation import GenerateBench, Lap, Spread, lap, summary
from jasco_pl.studies.random_checkpoint import read_model_config, write_random_checkpoint


@pytest.fixture
def arguments(tiny_training: Callable[..., list[str]]) -> list[str]:
    return tiny_training("bench")


@pytest.fixture
def jasco(arguments: list[str], tmp_path: Path) -> Jasco:
    return Jasco.from_pretrained(write_random_checkpoint(read_model_config(arguments), tmp_path / "made"))


def test_a_configuration_of_fit_becomes_a_checkpoint_that_speaks(arguments: list[str], tmp_path: Path) -> None:
    config = read_model_config([*arguments, "--model.config.transformer.layers", "4", "--data.seconds", "0.8"])
    assert (config.transformer.layers, config.transformer.width, config.seconds) == (4, 32, 0.8)
    assert list(config.controls) == ["chords", "melody", "drums", "mix", "painting"]
    folder = write_random_checkpoint(config, tmp_path / "made", seed=3)
    model = JascoModel.from_pretrained(folder)
    assert model.config == config
    conditions = model.null_conditions(1, 40)
    assert model(torch.randn(1, 40, 128), torch.zeros(1), conditions).abs().mean() > 0.1  # a new one is silent
    again = JascoModel.from_pretrained(write_random_checkpoint(config, tmp_path / "again", seed=3))
    assert torch.equal(model.transformer.embed.weight, again.transformer.embed.weight)
    assert torch.equal(model.transformer.layers[3].feed_in.weight, model.transformer.layers[0].feed_in.weight)


@pytest.mark.parametrize("injection", ["cross_attention", "zero_convolution"])
def test_every_kind_of_network_becomes_one(injection: str, arguments: list[str], tmp_path: Path) -> None:
    changes = ["--model.config.transformer.layers", "6", "--model.config.transformer.injection", injection]
    config = read_model_config([*arguments, *changes])
    assert JascoModel.from_pretrained(write_random_checkpoint(config, tmp_path / "made")).config == config


def test_what_would_have_to_be_fetched_is_random_and_of_its_shape(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: dict[str, dict[str, Any]] = {}

    def small(name: str, kind: Any, **changes: Any) -> None:
        def build(**shape: Any) -> Any:
            sizes[name] = shape
            return kind(**(shape | changes))

        monkeypatch.setattr(random_checkpoint, name, build)

    small("EncodecConfig", random_checkpoint.EncodecConfig, num_filters=2, codebook_size=16)
    small("T5Config", random_checkpoint.T5Config, d_model=32, d_ff=32, num_layers=1, num_heads=2, d_kv=8)
    named = ["--model.config.codec", "facebook/encodec_32khz", "--model.config.text_encoder", "t5-base"]
    jasco = Jasco.from_pretrained(write_random_checkpoint(read_model_config([*arguments, *named]), tmp_path / "made"))
    assert (jasco.codec.sample_rate, jasco.codec.frame_rate, jasco.codec.dim, jasco.text_encoder.dim) == (32000, 50.0, 128, 32)
    assert (sizes["EncodecConfig"]["codebook_size"], sizes["EncodecConfig"]["num_filters"]) == (2048, 64)
    assert (sizes["T5Config"]["d_model"], sizes["T5Config"]["num_layers"], sizes["T5Config"]["d_ff"]) == (768, 12, 3072)


def test_a_turn_is_split_into_what_it_is_spent_on(jasco: Jasco, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=lambda: clock.now, process_time=lambda: clock.now / 2))

    def slow(owner: Any, name: str, seconds: float) -> None:
        original = getattr(owner, name)

        def call(*args: Any, **options: Any) -> Any:
            clock.now += seconds
            return original(*args, **options)

        monkeypatch.setattr(owner, name, call)

    texts: list[str] = []
    encode = type(jasco.text_encoder)._encode
    monkeypatch.setattr(type(jasco.text_encoder), "_encode", lambda self, new: texts.extend(new) or encode(self, new))
    for owner, name, seconds in (
        (Jasco, "read", 0.125),
        (type(jasco.text_encoder), "_encode", 1.0),
        (JascoModel, "velocity", 10.0),
        (type(jasco.codec), "decode_part", 100.0),
        (bench, "save_clip", 1000.0),
    ):
        slow(owner, name, seconds)
    options = GenerateBench("", solver=SolverConfig("euler", steps=3), guidance="all=1.5 text=0.5", seconds=0.6)
    for turn in range(2):  # the second time captions are as new as the first time
        found = lap(jasco, options, 2, turn)
        assert found.stages == {"text": 2.0, "sampling": 30.0, "decoding": 200.0, "writing": 2000.0}
        assert (found.whole, found.computing) == (2232.25, 2232.25 / 2)
        assert (found.evaluations, found.rows, found.music) == (3, 6, pytest.approx(0.6))
    assert len(set(texts)) == 4
    assert "sample" not in vars(jasco)  # left as it was


def test_figures_of_the_turns_that_count() -> None:
    def laps(*seconds: float) -> list[Lap]:
        return [Lap(value, value / 4, {"text": value / 10}, 20, 6, 10.0, round(value)) for value in seconds]

    speed = summary("bf16", 2, laps(9.0, 2.0, 1.0, 4.0), laps(50.0, 4.0, 4.0, 4.0), [3.0, 1.0, 2.0], 1)
    assert (speed.first, speed.latency, speed.load) == (9.0, Spread(2.0, 1.0, 4.0), Spread(2.0, 1.0, 3.0))
    assert speed.ratio == speed.computing_ratio == Spread(2.0, 1.0, 4.0)  # round by round
    assert speed.stages == {"text": pytest.approx((0.2, 0.1, 0.4))}
    assert (speed.real_time, speed.rows, speed.evaluations) == (10.0, 6, 20)
    assert speed.memory == 9  # of all turns: a CUDA graph allocates in the first


def test_the_command_prints_a_table_and_writes_json(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Here:
        """The pool's process is this one: a new one would take seconds to import."""

        def __init__(self, count: int, context: Any, initializer: Callable[..., None], given: tuple[Any, ...]) -> None:
            assert (count, initializer, given) == (1, bench._begin, (1,))
            self.loaded: list[Jasco] = []

        def __enter__(self) -> Here:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def submit(self, task: Callable[..., Any], *args: Any) -> Any:
            monkeypatch.setattr(bench, "_loaded", self.loaded)
            result = task(*args)
            return SimpleNamespace(result=lambda: result)

    monkeypatch.setattr(bench, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(bench, "STARTS", 1)
    monkeypatch.setattr(bench.subprocess, "run", lambda command, check: None)
    configs = [option for option in arguments if option.endswith(".yaml") or option == "-c"]
    given = ["--precision", "fp32", "bf16", "auto", "--batch-size", "1", "2", "--repeats", "2", "--steps", "2", "--threads", "1"]
    path = tmp_path / "bench.json"
    assert main(["bench", "generate", *configs, *given, "--device", "cpu", "--json", str(path), "--", "--data.seconds", "0.5"]) == 0
    out = capsys.readouterr().out
    assert "1 threads" in out
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines() if line.startswith("|")]
    assert rows[0][:4] == ["precision", "batch", "rows", "evaluations"]
    assert [row[:4] for row in rows[2:]] == [
        ["fp32", "1", "2", "4"],
        ["bf16", "1", "2", "4"],
        ["fp32", "2", "4", "4"],
        ["bf16", "2", "4", "4"],
    ]
    assert all(re.fullmatch(r"[\d.]+ s \([\d.]+ to [\d.]+\)", row[4]) for row in rows[2:])
    assert rows[2][6] == "1 (1 to 1)"
    written = json.loads(path.read_text())
    assert [(speed["precision"], speed["batch_size"]) for speed in written["speeds"]] == [
        ("fp32", 1), ("bf16", 1), ("fp32", 2), ("bf16", 2),
    ]  # fmt: skip
    assert written["model"].endswith("--data.seconds 0.5")
    assert "PyTorch" in written["hardware"]
    assert set(written["speeds"][0]["stages"]) == {"text", "sampling", "decoding", "writing"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--repeats", "0"], "at least one turn that counts"),
        (["--precision", "fp8"], "the precision 'fp8' is unknown: auto, fp32, bf16 are accepted"),
        (["--device", "cuda:99"], "'cuda:99' is not here"),
        (["--checkpoint", "there", "-c", "conf/mini.yaml"], "a checkpoint is measured or a configuration"),
        (["--solver", "rk4"], "solver 'rk4' is unknown"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "generate", *options]) == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.slow
def test_every_precision_has_a_process_of_its_own(jasco: Jasco, tmp_path: Path) -> None:
    options = GenerateBench(
        str(tmp_path / "made" / "model"), "cpu", batch_sizes=(1,), solver=SolverConfig("euler", steps=2), repeats=1, threads=1
    )
    exact, half = bench.generate_speeds(options)
    assert (exact.precision, half.precision) == ("fp32", "bf16")
    assert exact.latency.median >= sum(spread.median for spread in exact.stages.values()) > 0
    assert exact.memory is None or exact.memory > 2**26
