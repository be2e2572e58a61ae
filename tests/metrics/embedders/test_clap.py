from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import laion_file
import pytest
import torch

from jasco_pl.metrics.distances import clap_score
from jasco_pl.metrics.embedders import load_embedder
from jasco_pl.metrics.embedders.clap import Clap
from jasco_pl.metrics.embedders.laion import read_laion
from jasco_pl.system.errors import UserError


@pytest.fixture(scope="module")
def tiny_clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random CLAP of 8 channels in the layout of the published one: config, safetensors, feature extractor, tokenizer."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, RobertaTokenizerFast

    folder = tmp_path_factory.mktemp("checkpoints") / "clap-tiny"
    folder.mkdir()
    words = ["<s>", "<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz", "Ġ", "<mask>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = RobertaTokenizerFast(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    tokenizer.save_pretrained(folder)
    ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(folder)
    text = {"vocab_size": len(words), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    audio = {
        "hidden_size": 64,
        "patch_embeds_hidden_size": 8,
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 1, 2, 2],
        "enable_fusion": False,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=512)).save_pretrained(folder)
    return folder


def test_windows_clips_and_texts(tiny_clap: Path) -> None:
    clap = load_embedder("clap", str(tiny_clap))
    assert isinstance(clap, Clap)
    assert clap.name == "clap:clap-tiny"
    draw = torch.Generator().manual_seed(0)
    wav = torch.randn(2, 1, 2 * 32000 + 100, generator=draw) * 0.1
    windows = clap(wav, 32000)
    assert windows.shape == (2, 3, 512)  # a third second has begun
    assert torch.allclose(windows.norm(dim=-1), torch.ones(2, 3), atol=1e-5)
    assert torch.allclose(clap(wav[1], 32000), windows[1:], atol=1e-5)  # neighbours do not matter

    long = torch.randn(1, 1, 12 * clap.sample_rate, generator=draw) * 0.1
    parts = [clap.clips(part, clap.sample_rate) for part in long.split(10 * clap.sample_rate, dim=-1)]
    by_length = torch.nn.functional.normalize(10 * parts[0] + 2 * parts[1], dim=-1)
    assert torch.allclose(clap.clips(long, clap.sample_rate), by_length, atol=1e-4)

    clips, texts = clap.clips(wav, 32000), clap.text(["a calm piano", "drums"])
    assert clips.shape == texts.shape == (2, 512)
    assert torch.allclose(clap.text(["drums"]), texts[1:], atol=1e-5)
    assert clap.name == "clap:clap-tiny"
    assert torch.allclose(clap_score(clips, texts).float(), (clips * texts).sum(-1), atol=1e-6)


@pytest.fixture(scope="module")
def laion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LAION's layout, with a tokenizer of letters beside it."""
    from transformers import RobertaTokenizerFast

    folder = tmp_path_factory.mktemp("laion")
    words = ["<s>", "<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz", "Ġ", "<mask>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    RobertaTokenizerFast(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt")).save_pretrained(folder)
    return laion_file.write(folder / "music_audioset_epoch_15_esc_90.14.pt")


def test_laions_file_gives_laions_embeddings(laion: Path) -> None:
    """The numbers are those of `laion_clap` 1.1.7 (get_audio_embedding, get_text_embedding) for the same weights."""
    clap = load_embedder("clap", str(laion))
    assert isinstance(clap, Clap)
    assert clap.name == "clap:music_audioset_epoch_15_esc_90.14"
    t = torch.arange(480000) / 48000
    sweep = 0.2 * torch.sin(2 * torch.pi * 1000 * t * t / 10)
    found = clap.clips(torch.stack([0.3 * torch.sin(2 * torch.pi * 220 * t) * torch.cos(3 * t), sweep])[:, None], 48000)
    expected = [
        [-0.003101, 0.062269, 0.010985, 0.01904, -0.040729, -0.039796],
        [0.011975, 0.051204, 0.004503, 0.029972, -0.037221, -0.054582],
    ]
    torch.testing.assert_close(found[:, :6], torch.tensor(expected), atol=2e-6, rtol=0)
    assert found.abs().sum(1).tolist() == pytest.approx([18.245443, 18.309263], abs=1e-4)
    ids = torch.tensor([[0, 5, 9, 17, 30, 2]])
    text = clap.model.get_text_features(ids, torch.ones_like(ids)).pooler_output
    torch.testing.assert_close(
        text[0, :6], torch.tensor([-0.113956, -0.032019, -0.017607, -0.001619, -0.011819, -0.073532]), atol=2e-6, rtol=0
    )
    assert clap.text(["abc", "drums and bass"]).shape == (2, 512)


def test_numbers_that_old_numpy_wrote_are_read_and_nothing_else(laion: Path, tmp_path: Path) -> None:
    laion_file.write(tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "old.pt").read_bytes()
    assert b"cnumpy._core.multiarray\nscalar\n" in content
    (tmp_path / "old.pt").write_bytes(content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    model, filters = read_laion(tmp_path / "old.pt")
    assert filters.shape == (513, 64)
    assert torch.equal(model.state_dict()["logit_scale_a"], laion_file.number("logit_scale_a", ()))
    torch.save({"state_dict": laion_file.state(), "extra": Path("anything")}, tmp_path / "hostile.pt")
    with pytest.raises(UserError, match=r"hostile.pt' asks for the pickled class pathlib.PosixPath"):
        read_laion(tmp_path / "hostile.pt")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("module.audio_branch.norm.bias"), "1 of its weights are missing or left over"),
        (lambda state: state.update({"module.audio_branch.mel_conv2d.weight": torch.zeros(3)}), "left over.*mel_conv2d"),
        (lambda state: state.pop("module.audio_branch.logmel_extractor.melW"), "melW"),
        (lambda state: state.update({"module.audio_branch.norm.bias": torch.zeros(3)}), "size mismatch"),
        (lambda state: state.clear(), "melW"),
    ],
)
def test_other_weights_are_one_sentence(change: Any, said: str, tmp_path: Path) -> None:
    state = laion_file.state()
    change(state)
    torch.save({"state_dict": state}, tmp_path / "other.pt")
    with pytest.raises(UserError, match=f"other.pt' does not hold LAION's CLAP without fusion: .*{said}"):
        read_laion(tmp_path / "other.pt")


def test_a_file_without_its_tokenizer_says_where_it_may_lie(tmp_path: Path) -> None:
    path = laion_file.write(tmp_path / "mine.pt")
    with pytest.raises(UserError, match=r"tokenizer of CLAP's texts 'roberta-base' is not available: .* may lie beside .*mine.pt"):
        load_embedder("clap", str(path))


def test_missing_or_other_models_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JASCO_CLAP", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=r"weights of clap are not here .*music_audioset_epoch_15_esc_90.14.pt.*JASCO_CLAP"):
        load_embedder("clap")
    with pytest.raises(UserError, match=r"laion/larger_clap_music.*HF_HOME.*JASCO_CLAP"):
        load_embedder("clap", "laion/larger_clap_music")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="model type 'bert', not 'clap'"):
        load_embedder("clap", str(tmp_path))
    with pytest.raises(UserError, match=r"there is no file .*none\.pt"):
        load_embedder("clap", str(tmp_path / "none.pt"))
