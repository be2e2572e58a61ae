from __future__ import annotations

import pytest
import torch

from jasco_pl.system import environment
from jasco_pl.system.device import pick_device, pick_dtype, precision_name
from jasco_pl.system.errors import UserError


@pytest.mark.parametrize(("here", "expected"), [(True, "cuda"), (False, "cpu")])
def test_auto_takes_the_gpu_where_there_is_one(here: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: here)
    assert pick_device("auto") == torch.device(expected)
    assert pick_device("cpu") == pick_device(torch.device("cpu")) == torch.device("cpu")


def test_weights_are_bf16_where_that_is_quick_unless_asked_for_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    for able, expected in (([], torch.float32), (["AMX"], torch.bfloat16)):
        monkeypatch.setattr(environment, "half_precision", lambda able=able: able)
        assert (pick_dtype("auto", cuda), pick_dtype("auto", cpu)) == (torch.bfloat16, expected)
    assert (pick_dtype("fp32", cuda), pick_dtype("bf16", cpu)) == (torch.float32, torch.bfloat16)
    assert (precision_name(torch.float32), precision_name(torch.bfloat16)) == ("fp32", "bf16")


@pytest.mark.parametrize("name", ["gpu", "cuda:17", "mps:3", "meta"])
def test_a_device_that_is_not_here_is_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=f"the device '{name}' is (unknown|not here): auto, cpu, cuda, cuda:N and mps are accepted"):
        pick_device(name)


def test_a_precision_that_is_none() -> None:
    with pytest.raises(UserError, match="'fp16' is unknown: auto, fp32, bf16 are accepted"):
        pick_dtype("fp16", torch.device("cpu"))  # type: ignore[arg-type]
