"""Text encoders of BERT's kind (Devlin et al. 2018) without transformers, whose import takes longer than a short clip takes to make."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from jasco_pl.system.files import loads
from jasco_pl.system.undrawn import Undrawn

KIND = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
"""What a config.json must say, where it says anything of it."""
POOLER = "pooler."  # of the whole text's one vector, which nothing here uses
KEPT_TOKENS = "kept_tokens"
"""In the config.json of an encoder that was reduced: the tokenizer's ids whose rows are left of its embedding, in the rows' order."""
ABSENT = ("embeddings.position_ids",)  # a constant that older versions stored


class _Layer(nn.Module):
    """Self-attention and feed-forward, each normed after its residual; parameters by the names of the published weights."""

    def __init__(self, width: int, heads: int, inner: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention = nn.ModuleDict(
            {
                "self": nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")}),
                "output": nn.ModuleDict({"dense": nn.Linear(width, width), "LayerNorm": nn.LayerNorm(width, eps)}),
            }
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = nn.ModuleDict({"dense": nn.Linear(inner, width), "LayerNorm": nn.LayerNorm(width, eps)})

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] -> the same."""
        projections: Any = self.attention["self"]
        query, key, value = (projections[name](x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for name in ("query", "key", "value"))
        mixed = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = _added(self.attention["output"], mixed, x)
        return _added(self.output, functional.gelu(self.intermediate["dense"](x)), x)


def _added(parts: Any, new: Tensor, x: Tensor) -> Tensor:
    return parts["LayerNorm"](parts["dense"](new) + x)  # type: ignore[no-any-return]


class SentenceEncoder(nn.Module):
    """Token ids -> the states of the last layer, as transformers' BertModel gives them, and the tokenizer that belongs to it.

    Args:
        config: of its config.json.
        tokenizer: without padding, and cutting as it shall.

    Raises:
        KeyError, TypeError, ValueError: the config lacks something, or it is of another kind.
    """

    def __init__(self, config: dict[str, Any], tokenizer: Tokenizer) -> None:
        super().__init__()
        width, eps = config["hidden_size"], config["layer_norm_eps"]
        self.dim: int = width
        self.kept: tuple[int, ...] = tuple(config.get(KEPT_TOKENS, ()))
        self.tokenizer = tokenizer
        tables = {"word": "vocab_size", "position": "max_position_embeddings", "token_type": "type_vocab_size"}
        self.embeddings = nn.ModuleDict({f"{table}_embeddings": nn.Embedding(config[size], width) for table, size in tables.items()})
        self.embeddings["LayerNorm"] = nn.LayerNorm(width, eps)
        layers = (
            _Layer(width, config["num_attention_heads"], config["intermediate_size"], eps) for _ in range(config["num_hidden_layers"])
        )
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokenizer's ids of every text, cut to its length."""
        return [one.ids for one in self.tokenizer.encode_batch(list(texts))]

    def spelled(self, ids: Sequence[int]) -> list[str]:
        """The pieces of text that ids stand for."""
        return [str(self.tokenizer.id_to_token(token)) for token in ids]

    def forward(self, ids: Tensor) -> Tensor:
        """Ids [B, L] of texts of one length -> states [B, L, D]."""
        tables: Any = self.embeddings
        places = torch.arange(ids.shape[1], device=ids.device)
        x = tables["word_embeddings"](ids) + tables["token_type_embeddings"].weight[0]
        x = tables["LayerNorm"](x + tables["position_embeddings"](places))
        stack: Any = self.encoder["layer"]
        for layer in stack:
            x = layer(x)
        return x


def read_sentence_encoder(folder: str | Path, max_tokens: int) -> SentenceEncoder | None:
    """The encoder in a folder that transformers would take for a BertModel, its weights mapped from the file where they are float32.

    None where it is another kind, or something in it is not as it should be: transformers then says what.
    """
    folder = Path(folder)
    try:
        config = loads((folder / "config.json").read_bytes())
        if any(config.get(key, value) != value for key, value in KIND.items()) or "model_type" not in config:
            return None
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_tokens)
        with Undrawn():
            encoder = SentenceEncoder(config, tokenizer)
        weights = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items() if not name.startswith(POOLER)}
        encoder.load_state_dict({name: tensor for name, tensor in weights.items() if name not in ABSENT}, assign=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError):
        return None
    except Exception as error:  # tokenizers raises this very class
        if type(error) is not Exception:
            raise
        return None
    return encoder.eval().requires_grad_(False)
