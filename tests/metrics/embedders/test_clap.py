from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from jasco_pl.metrics.distances import clap_score
from jasco_pl.metrics.embedders import load_embedder
from jasco_pl.metrics.embedders.clap import Clap
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

    clips, texts = clap.clips(wav, 32000), clap.text(["a calm piano", "drums"])
    assert clips.shape == texts.shape == (2, 512)
    assert torch.allclose(clap.text(["drums"]), texts[1:], atol=1e-5)
    assert clap.name == "clap:clap-tiny"
    assert torch.allclose(clap_score(clips, texts).float(), (clips * texts).sum(-1), atol=1e-6)


def test_missing_or_other_models_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JASCO_CLAP", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"laion/larger_clap_music.*HF_HOME.*JASCO_CLAP"):
        load_embedder("clap")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="model type 'bert', not 'clap'"):
        load_embedder("clap", str(tmp_path))
