"""Text encoders of any kind that transformers knows (T5 in the paper). Imported only where one is used: that takes seconds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, T5EncoderModel

from jasco_pl.network.sentence import KEPT_TOKENS
from jasco_pl.system.resources import load_pretrained


class PretrainedEncoder(nn.Module):
    """An encoder by its Hub id or folder, with the methods of `SentenceEncoder`.

    Raises:
        Exception: of any kind; transformers raises whatever a config.json provokes.
    """

    def __init__(self, source: str, max_tokens: int) -> None:
        super().__init__()
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        loader = T5EncoderModel if config.model_type in ("t5", "mt5", "umt5") else AutoModel
        self.tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        self.max_tokens, self.kept = max_tokens, tuple(getattr(config, KEPT_TOKENS, ()))
        self.model: PreTrainedModel = load_pretrained(loader, source).float()  # it may be stored in half precision
        self.dim: int = getattr(self.model.config, "d_model", None) or self.model.config.hidden_size
        self.eval().requires_grad_(False)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokenizer's ids of every text, cut to its length."""
        return self.tokenizer(list(texts), truncation=True, max_length=self.max_tokens)["input_ids"]  # type: ignore[no-any-return]

    def spelled(self, ids: Sequence[int]) -> list[str]:
        """The pieces of text that ids stand for."""
        return [str(self.tokenizer.convert_ids_to_tokens(token)) for token in ids]

    def forward(self, ids: Tensor) -> Tensor:
        """Ids [B, L] of texts of one length -> states [B, L, D]."""
        return self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state  # type: ignore[no-any-return]
