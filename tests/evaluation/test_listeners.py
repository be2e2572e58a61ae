from __future__ import annotations

import os
import time
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from huggingface_hub import constants

from jasco_pl.evaluation import pretrained as listeners
from jasco_pl.evaluation.pretrained import Listeners, find_listeners, reachable
from jasco_pl.system.errors import UserError


class Network:
    name = "musicnn:mine"

    def analyse(self, wav: torch.Tensor, sample_rate: int) -> tuple[torch.Tensor, torch.Tensor]:
        assert wav.shape[-1] >= 3 * sample_rate
        return torch.ones(1, 2, 200), torch.zeros(1, 2, 50)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Only musicnn is here; (name, whether its loader was told that it is offline) of every attempt."""
    found: list[tuple[str, bool]] = []

    def load(name: str, source: Any = None, device: str = "cpu") -> Network:
        found.append((name, constants.HF_HUB_OFFLINE and os.environ.get("HF_HUB_OFFLINE") == "1"))
        if name != "musicnn":
            raise UserError(f"the weights of {name} cannot be fetched (HF_HUB_OFFLINE is set).")
        return Network()

    monkeypatch.setattr(listeners, "LISTENERS", dict.fromkeys(listeners.LISTENERS, load))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("JASCO_SALIENCE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    listeners._load.cache_clear()
    yield found
    listeners._load.cache_clear()


def test_what_is_missing_is_tried_once_and_says_why(tried: list, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(listeners, "reachable", lambda host: "huggingface" in host)
    found = find_listeners()
    assert tried == [("musicnn", True), ("vggish", True), ("passt", True), ("clap", False)]
    assert found.names == {"musicnn": "musicnn:mine"}
    assert found.missing["vggish"] == "the weights of vggish cannot be fetched (github.com does not answer)."
    assert "deep salience are not here" in found.missing["salience"]
    assert not constants.HF_HUB_OFFLINE
    assert "HF_HUB_OFFLINE" not in os.environ
    assert found.marks == ["musicnn:mine"]
    with pytest.raises(UserError, match="there is no file"):
        find_listeners(str(tmp_path / "absent.h5"))


def test_a_clip_too_short_for_a_network_is_left_out(tried: list) -> None:
    found = Listeners({"musicnn": "musicnn:mine"})
    assert found.hear(torch.zeros(1, 2 * 32000), 32000, "") == {}
    heard = found.hear(torch.zeros(1, 3 * 32000), 32000, "")
    assert heard["musicnn"].shape == (2, 200)
    assert heard["musicnn labels"] == pytest.approx(1 / 50)


def test_a_host_that_never_answers_costs_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(listeners.urllib.request, "getproxies", dict)
    monkeypatch.setattr(listeners.socket, "create_connection", lambda *args, **options: time.sleep(9) or nullcontext())
    monkeypatch.setattr(listeners, "_WAIT", 0.1)
    started = time.monotonic()
    assert not reachable("nowhere.invalid")
    assert time.monotonic() - started < 5
    monkeypatch.setattr(listeners.urllib.request, "getproxies", lambda: {"https": "http://proxy"})
    assert reachable("nowhere.invalid")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not reachable("nowhere.invalid")
