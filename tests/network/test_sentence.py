from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from jasco_pl.network.pretrained_text import PretrainedEncoder
from jasco_pl.network.sentence import read_sentence_encoder
from jasco_pl.network.text import MAX_TOKENS, OFFLINE_ENCODER, resolve

TEXTS = [
    "slow piano",
    "Café ÜBER 中文 — don't stop, 100bpm!",
    "a control \x00 sign\tand\nlines",
    "[MASK] of [SEP] and 😀",
    "x" * 300,
    "piano " * 500,
]


@pytest.mark.parametrize("which", ["shipped", "tiny"])
def test_tokens_and_states_are_those_of_transformers(which: str, tiny_text_folder: Path) -> None:
    folder = resolve(OFFLINE_ENCODER) if which == "shipped" else str(tiny_text_folder)
    ours, theirs = read_sentence_encoder(folder, MAX_TOKENS), PretrainedEncoder(folder, MAX_TOKENS)
    assert ours is not None
    assert ours.dim == theirs.dim
    assert ours.tokens(TEXTS) == theirs.tokens(TEXTS)
    for ids in ours.tokens(TEXTS):
        assert ours.spelled(ids) == theirs.spelled(ids)
        torch.testing.assert_close(ours(torch.tensor([ids, ids])), theirs(torch.tensor([ids, ids])), atol=2e-6, rtol=1e-5)


def test_half_precision_in_the_file_is_float32_in_the_network(tiny_text_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_text_folder, tmp_path / "half")
    save_file({name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}, folder / "model.safetensors")
    encoder = read_sentence_encoder(folder, MAX_TOKENS)
    assert encoder is not None
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}


@pytest.mark.parametrize("change", [{"model_type": "roberta"}, {"hidden_act": "relu"}, {"hidden_size": 16}, {"num_hidden_layers": 2}])
def test_another_kind_or_other_sizes_are_left_to_transformers(change: dict[str, object], tiny_text_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_text_folder, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    assert read_sentence_encoder(folder, MAX_TOKENS) is None


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_so_is_what_is_damaged(name: str, damage: str, tiny_text_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_text_folder, tmp_path / "damaged")
    file = folder / name
    content = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    assert read_sentence_encoder(folder, MAX_TOKENS) is None
