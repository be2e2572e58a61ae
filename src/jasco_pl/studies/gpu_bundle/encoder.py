"""The sentence encoder, reduced to the tokens of given texts and to half precision: a quarter of its size."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from jasco_pl.compose.captions import wording
from jasco_pl.network.sentence import KEPT_TOKENS
from jasco_pl.system.files import write_json

EMBEDDING = "embeddings.word_embeddings.weight"


def reduce_encoder(source: str | Path, out: str | Path, texts: Iterable[str]) -> int:
    """Write a BERT-like encoder's folder with the rows of its embedding that some texts need, as float16.

    `TextEncoder` reads it, gives texts of these words their states within what float16 holds, and refuses others: the tokenizer stays
    whole, so that a word that was left out is not split into pieces that are there.

    Args:
        source: folder of the whole encoder: config.json, model.safetensors, tokenizer files.
        out: folder to write.
        texts: between them they have every token that is kept; words may be spread over them in any way.

    Returns: how many tokens are kept.
    """
    source, out = Path(source), Path(out)
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    special = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id}
    kept = sorted(special.union(*(tokenizer(text)["input_ids"] for text in texts)))
    weights = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in load_file(source / "model.safetensors").items()
    }
    name = next(name for name in weights if name.endswith(EMBEDDING))
    weights[name] = weights[name][torch.tensor(kept)].contiguous()
    out.mkdir(parents=True, exist_ok=True)
    save_file(weights, out / "model.safetensors", {"format": "pt"})
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config |= {"vocab_size": len(kept), "pad_token_id": kept.index(tokenizer.pad_token_id), KEPT_TOKENS: kept}
    write_json(out / "config.json", config)
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (source / file).is_file():
            shutil.copyfile(source / file, out / file)
    return len(kept)


def needed_texts(conf: str | Path) -> list[str]:
    """What a training on composed music hands to the encoder: the wording of captions, and the prompts that configurations in `conf` let
    a run listen to."""
    prompts = []
    for file in sorted(Path(conf).glob("*.yaml")):
        trainer = yaml.safe_load(file.read_text(encoding="utf-8")).get("trainer") or {}
        for callback in trainer.get("callbacks", []):
            prompts += [request["text"] for request in callback.get("init_args", {}).get("requests", [])]
    return wording() + prompts
