from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import requests
import safetensors.torch
import torch

from jasco_pl.extract import salience_network as module
from jasco_pl.extract.salience_network import SalienceNetwork
from jasco_pl.system.errors import UserError


@pytest.fixture(autouse=True)
def _nothing_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(module.VARIABLE, raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE")


def same(one: SalienceNetwork, other: SalienceNetwork) -> bool:
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_the_authors_layout_loads_and_converts(authors_file: Path, random_salience_network: SalienceNetwork, tmp_path: Path) -> None:
    assert same(module.load_network(authors_file), random_salience_network)
    module.convert(authors_file, tmp_path / "weights.safetensors")
    assert same(module.load_network(tmp_path / "weights.safetensors"), random_salience_network)


def test_the_order_of_places(authors_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.find_weights(fetch=False) is None
    places = [
        tmp_path / "cache" / "jasco_pl" / "salience" / "multif0.h5",
        tmp_path / "cache" / "jasco_pl" / "salience" / "multif0.safetensors",
    ]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"")
        assert module.find_weights(fetch=False) == place
    monkeypatch.setenv(module.VARIABLE, str(authors_file))
    assert module.find_weights() == authors_file
    assert module.find_weights(places[0]) == places[0]


def test_files_that_are_not_there_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"no file '.*none\.h5' with the weights"):
        module.find_weights(tmp_path / "none.h5")
    monkeypatch.setenv(module.VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match=r"\(from JASCO_SALIENCE\)"):
        module.find_weights()


def test_wrong_files_are_one_sentence(authors_file: Path, random_salience_network: SalienceNetwork, tmp_path: Path) -> None:
    import h5py

    state = random_salience_network.state_dict()
    state["convolutions.1.weight"] = state["convolutions.1.weight"][:, :, :3].contiguous()
    safetensors.torch.save_file(state, tmp_path / "shape.safetensors")
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    whole = authors_file.read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.h5").write_text("weights")
    (tmp_path / "text.safetensors").write_text("weights")
    (tmp_path / "lacks.h5").write_bytes(whole)
    with h5py.File(tmp_path / "lacks.h5", "a") as file:
        del file["squishy"]
    for name in ("shape.safetensors", "other.safetensors", "cut.h5", "text.h5", "text.safetensors", "lacks.h5"):
        with pytest.raises(UserError, match=rf"{name}' does not hold the weights of deep salience: ") as error:
            module.load_network(tmp_path / name)
        assert "\n" not in str(error.value)


def test_fetching_checks_converts_and_is_done_once(
    published: Any, authors_file: Path, random_salience_network: SalienceNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = authors_file.read_bytes()
    (published.folder / "multif0.h5").write_bytes(content)
    monkeypatch.setattr(module, "URL", f"{published.url}/multif0.h5")
    with pytest.raises(UserError, match=f"its sha256 is {hashlib.sha256(content).hexdigest()}, expected was {module.SHA256}"):
        module.load_network()
    assert not list(module.cached().parent.iterdir())
    monkeypatch.setattr(module, "SHA256", hashlib.sha256(content).hexdigest())
    assert same(module.load_network(), random_salience_network)
    assert same(module.load_network(), random_salience_network)
    assert published.asked == ["/multif0.h5"] * 2
    assert [file.name for file in module.cached().parent.iterdir()] == ["multif0.safetensors"]


def test_without_a_network_the_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        try:
            raise OSError(-2, "Name or service not known")
        except OSError as error:
            raise requests.ConnectionError("Max retries exceeded") from error

    monkeypatch.setattr(requests, "get", no_network)
    with pytest.raises(UserError) as error:
        module.load_network()
    text = str(error.value)
    assert "Name or service not known" in text
    assert module.URL in text
    assert str(module.cached().with_suffix(".h5")) in text
    assert "\n" not in text
