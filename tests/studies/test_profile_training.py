from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch.autograd import DeviceType

from jasco_pl.cli import main
from jasco_pl.studies import kernels
from jasco_pl.studies.bench_training import TrainBench
from jasco_pl.studies.profile_training import DATA, KINDS, OPTIMISER, REST, attention_calls, profile_training, summarised


@pytest.fixture
def arguments(tiny_training: Callable[..., list[str]]) -> list[str]:
    return tiny_training("profile", "--model.config.transformer.dropout", "0", "--data.resident", "true")


def test_the_time_of_a_step_is_told_by_kind(arguments: list[str]) -> None:
    found = profile_training(TrainBench(arguments, warmup=1), steps=2)
    assert (found.precision, found.batch_size, found.mfu) == ("32-true", 4, None)
    assert sum(found.shares.values()) == pytest.approx(found.wall)
    assert {kind for kind, _ in found.shares} == set(KINDS)
    for kind in (kernels.MATRIX, kernels.ATTENTION, kernels.CONVOLUTION, kernels.WEIGHT_NORM, kernels.POINTWISE):
        assert found.of(kind, "forward") > 0, kind
        assert found.of(kind, "backward") > 0, kind
        assert found.of(kind) == pytest.approx(found.of(kind, "forward", "backward")), kind
    for kind in (OPTIMISER, DATA, REST):
        assert found.of(kind) > 0, kind
    assert found.of(OPTIMISER) < found.wall / 2
    own = {which: calls for which, calls in found.attention.items() if which[1] == which[2]}
    assert own == {("flash", 25, 25): 2}  # a self-attention a layer; the text is in memory
    assert sum(found.attention.values()) == 4  # and as many to the text


def event(name: str, start: float, kernels: tuple[tuple[str, float], ...] = (), parent: Any = None, **more: Any) -> SimpleNamespace:
    launched = [SimpleNamespace(name=kernel, duration=microseconds) for kernel, microseconds in kernels]
    told = {"is_user_annotation": False, "is_async": False, "input_shapes": [], "self_cpu_time_total": 1.0, "device_type": DeviceType.CPU}
    return SimpleNamespace(name=name, time_range=SimpleNamespace(start=start), kernels=launched, cpu_parent=parent, **(told | more))


def test_kernels_count_for_the_part_of_the_step_that_launched_them() -> None:
    shadow = event("ProfilerStep*", 0, (("ProfilerStep*", 1e6),), is_user_annotation=True)
    attention = "aten::_scaled_dot_product_efficient_attention"
    heads = [[2, 6, 250, 64], [2, 6, 256, 64]]
    events = [
        event("jasco: forward", 10),
        shadow,
        event("aten::mm", 11, (("nvjet_a", 300.0),), shadow),
        event(attention, 12, (("fmha_cutlassF", 200.0),), shadow, input_shapes=heads),
        event("jasco: backward", 20),
        event("triton_poi_fused_add_0", 21, (("triton_poi_fused_add_0", 50.0),)),
        event("aten::mm", 22, (("nvjet_b", 150.0),)),
        event("jasco: update", 30),
        event("aten::_fused_adam_", 31, (("multi_tensor_apply_kernel", 80.0),)),
        event("jasco: between", 40),
        event("aten::index", 41, (("index_elementwise_kernel", 20.0),)),
        event("nvjet_a", 11.5, device_type=DeviceType.CUDA),
    ]
    shares, calls, longest = summarised(events, wall=0.002, steps=2, cuda=True)
    microseconds = {kind: round(seconds * 1e6) for kind, seconds in shares.items()}
    assert microseconds == {
        (kernels.MATRIX, "forward"): 150,
        (kernels.ATTENTION, "forward"): 100,
        (kernels.POINTWISE, "backward"): 25,
        (kernels.MATRIX, "backward"): 75,
        (OPTIMISER, "update"): 40,
        (DATA, "between"): 10,
        (REST, "between"): 600,
    }
    assert calls == {("efficient", 250, 256): 0.5}
    assert [(name, kind, calls) for name, kind, _, calls in longest[:2]] == [
        ("nvjet_a", kernels.MATRIX, 0.5),
        ("fmha_cutlassF", kernels.ATTENTION, 0.5),
    ]


def test_attention_inside_of_attention_is_counted_once() -> None:
    outer = event("aten::_scaled_dot_product_flash_attention", 0, input_shapes=[[1, 2, 5, 8], [1, 2, 7, 8]])
    inner = event("aten::_scaled_dot_product_attention_math", 1, parent=outer, input_shapes=[[1, 2, 5, 8], [1, 2, 7, 8]])
    assert attention_calls([outer, inner]) == {("flash", 5, 7): 1}


def test_the_command_prints_tables_and_writes_a_trace(arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    options = [option for option in arguments if option.endswith(".yaml") or option == "-c"]
    trace = tmp_path / "new" / "trace.json.gz"
    given = ["--profile", "1", "--warmup", "1", "--trace", str(trace)]
    assert main(["bench", "train", *options, *given, "--", "--data.seconds", "0.5"]) == 0
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    titles = ["kind of kernel", "kernel of attention", "longest"]
    assert [row[0] for row in rows if row[0] in titles] == titles
    assert [row[0] for row in rows[2 : 2 + len(KINDS)]] == list(KINDS)
    assert sum(float(row[-1].rstrip("%")) for row in rows[2 : 2 + len(KINDS)]) == pytest.approx(100, abs=0.5)
    traced = json.loads(gzip.decompress(trace.read_bytes()))
    assert {"jasco: forward", "jasco: backward"} <= {entry.get("name") for entry in traced["traceEvents"]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--profile", "0"], "at least one step and one to warm up are profiled, not 0 and 3"),
        (["--profile", "--trace", "t.json", "--batch-size", "1", "2"], "a trace is of one setting, 2 were asked for"),
        (["--trace", "t.json"], "--trace belongs to --profile"),
        (["--profile", "--trace", "/dev/null/t.json"], "cannot write '/dev/null/t.json'"),
        (["--profile", "--", "--trainer.devices", "2"], "one device is profiled, not 2"),
    ],
)
def test_what_cannot_be_profiled_is_one_sentence(
    arguments: list[str], options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [option for option in arguments if option.endswith(".yaml") or option == "-c"]
    assert main(["bench", "train", *given, *options]) == 2
    assert message in capsys.readouterr().err
