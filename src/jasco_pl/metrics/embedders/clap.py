"""LAION-CLAP (Wu et al. 2023) through transformers: embeddings of audio and of text in one space.

The default is the checkpoint of the paper, of AudioCraft and of fadtk, `music_audioset_epoch_15_esc_90.14.pt`, in LAION's own layout
(`embedders.laion`). `laion/larger_clap_music`, which the Hub holds in transformers' layout, is another one (its authors do not know how the
two differ, LAION-AI/CLAP issue 172): figures of the two do not compare. So every figure says whose it is: `clap:larger_clap_music`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import normalize, pad
from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel, PretrainedConfig

from jasco_pl.metrics.embedders import Embedder, find_file
from jasco_pl.metrics.embedders.laion import URL, read_laion
from jasco_pl.system.resources import load_pretrained, unavailable

VARIABLE = "JASCO_CLAP"
TOKENIZER = "roberta-base"  # of LAION's own checkpoints, which do not carry it
FILE_SUFFIXES = (".pt", ".pth", ".ckpt")
SECONDS = 10
_TOKENS = 77


class Clap(Embedder):
    """Embeddings (512-d, of length 1) of windows of ten seconds, one every second, as in fadtk; of whole clips; of texts.

    Args:
        source: a file of LAION's (its tokenizer beside it, or RoBERTa's from the Hub), or a Hub id or folder in transformers' layout; by
            default that of JASCO_CLAP, else the paper's file from the caches or the Hub (2.35 GB).
        device: where the network runs.
        batch: windows that are embedded together.

    Raises:
        UserError: neither the Hub nor its cache nor a folder holds it, or what they hold is damaged or no CLAP.
    """

    dim = 512
    model: ClapModel
    sample_rate = 48000

    def __init__(self, source: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu", batch: int = 8) -> None:
        self.device, self.batch = torch.device(device), batch
        named = os.fspath(source or os.environ.get(VARIABLE) or "")
        if not named or named.endswith(FILE_SUFFIXES):
            self._read_file(find_file("clap", URL, named or None))
        else:
            self._read_folder(named)
        self.model.eval().requires_grad_(False).to(self.device)

    def _read_file(self, path: Path) -> None:
        """LAION's own layout: mel filters are those of the file, the tokenizer lies beside it or is that of RoBERTa."""
        self.name = f"clap:{path.stem}"
        self.model, filters = read_laion(path)
        self.features = ClapFeatureExtractor(truncation="rand_trunc")
        self.features.mel_filters_slaney = filters
        beside = any((path.parent / name).is_file() for name in ("tokenizer.json", "vocab.json"))
        source = str(path.parent) if beside else TOKENIZER
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        except (OSError, ValueError) as error:
            remedy = f"its files (tokenizer.json, or vocab.json and merges.txt) may lie beside {str(path)!r}"
            raise unavailable("tokenizer of CLAP's texts", source, error, remedy) from error

    def _read_folder(self, name: str) -> None:
        self.name = f"clap:{Path(name).name}"
        try:
            kind = PretrainedConfig.get_config_dict(name)[0].get("model_type")
            if kind != "clap":  # transformers would go on with random weights
                raise ValueError(f"its config.json is of model type {kind!r}, not 'clap'")
            self.features = ClapFeatureExtractor.from_pretrained(name)
            self.tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
            self.model = load_pretrained(ClapModel, name)
        except (OSError, ValueError, SafetensorError) as error:
            remedy = f"{VARIABLE} may name a file of LAION's or a folder in transformers' layout"
            raise unavailable("CLAP model", name, error, remedy) from error

    def __call__(self, wav: Tensor, sample_rate: int) -> Tensor:
        """Embeddings [B, N, 512] of [B, 1, S] or [1, S], one a second that has begun; beyond the end lie zeros."""
        clips = self.prepare(wav, sample_rate)
        return self._windows(clips, step=self.sample_rate)

    def clips(self, wav: Tensor, sample_rate: int) -> Tensor:
        """One embedding [B, 512] a clip [B, 1, S] or [1, S], of length 1: the mean of its parts of ten seconds or less, by length."""
        clips = self.prepare(wav, sample_rate)
        parts = clips.split(SECONDS * self.sample_rate, dim=-1)
        return normalize(torch.stack([self._embed(part) * part.shape[-1] for part in parts]).sum(dim=0), dim=-1)

    @torch.inference_mode()
    def text(self, texts: Sequence[str]) -> Tensor:
        """Embeddings [B, 512], of length 1; texts beyond 77 tokens are cut."""
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=_TOKENS, return_tensors="pt").to(self.device)
        return self.model.get_text_features(tokens["input_ids"], tokens["attention_mask"]).pooler_output

    def _windows(self, clips: Tensor, step: int) -> Tensor:
        length = SECONDS * self.sample_rate
        starts = range(0, clips.shape[-1], step)
        padded = pad(clips, (0, starts[-1] + length - clips.shape[-1]))
        return torch.stack([self._embed(padded[:, start : start + length]) for start in starts], dim=1)

    @torch.inference_mode()
    def _embed(self, clips: Tensor) -> Tensor:
        """[B, S] of up to ten seconds -> [B, 512]; shorter ones are repeated, as the extractor's settings say."""
        found = []
        for part in clips.split(self.batch):
            features = self.features(list(part.cpu().numpy()), sampling_rate=self.sample_rate, return_tensors="pt")["input_features"]
            # The extractor of a fusing model calls a clip drawn at random longer than it is; none is.
            longer = torch.zeros(len(part), 1, dtype=torch.bool, device=self.device)
            found.append(self.model.get_audio_features(features.to(self.device, torch.float32), is_longer=longer).pooler_output)
        return torch.cat(found)
