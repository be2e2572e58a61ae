"""PaSST (Koutini et al. 2022), the classifier behind the paper's KL: 527 AudioSet labels of ten seconds of audio.

Input and network are those of `hear21passt` 0.0.26 in evaluation mode (model `passt_s_swa_p16_128_ap476`), rebuilt, because that package
needs timm and so torchvision. The weights (Apache-2.0) are fetched once or taken from a file.
"""

from __future__ import annotations

import os
from functools import lru_cache

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad, scaled_dot_product_attention

from jasco_pl.metrics.embedders import Classifier, find_file, load_state

URL = "https://github.com/kkoutini/PaSST/releases/download/v0.0.1-audioset/passt-s-f128-p16-s10-ap.476-swa.pt"
SECONDS, LEAST_SECONDS = 10, 0.15
BANDS = 128
_WINDOW, _HOP, _N_FFT = 800, 320, 1024
_HIGHEST = 15000.0
_PRE_EMPHASIS = 0.97


class Passt(Classifier):
    """Label probabilities of parts of ten seconds, as AudioCraft's KL takes them.

    Args:
        weights: the file; by default that of JASCO_PASST, a cached or a fetched one. Only a file of the published name is called `passt`.
        device: where the network runs.

    Raises:
        UserError: there are no weights, or the file does not hold them.
    """

    sample_rate = 32000

    def __init__(self, weights: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        path = find_file("passt", URL, weights)
        self.name = "passt" if path.name == URL.rpartition("/")[2] else f"passt:{path.stem}"
        self.network = PasstNetwork().eval().requires_grad_(False)
        load_state(path, self.network, "PaSST")
        self.network.to(self.device)

    @torch.inference_mode()
    def probabilities(self, wav: Tensor, sample_rate: int) -> Tensor:
        """Softmax over the labels, [B, N, 527], one a part of ten seconds of [B, 1, S] or [1, S]; a rest under 0.15 s is left out."""
        clips = self.prepare(wav, sample_rate, least=LEAST_SECONDS)
        parts = [part for part in clips.split(SECONDS * self.sample_rate, dim=-1) if part.shape[-1] > LEAST_SECONDS * self.sample_rate]
        return torch.stack([self.network(passt_mel(part)).softmax(dim=-1) for part in parts], dim=1)


def passt_mel(clips: Tensor) -> Tensor:
    """Audio [B, S] at 32 kHz -> log-mel [B, 128, T], 100 frames a second."""
    emphasised = conv1d(clips[:, None], torch.tensor([[[-_PRE_EMPHASIS, 1.0]]], device=clips.device))[:, 0]
    window = torch.hann_window(_WINDOW, periodic=False, device=clips.device)
    power = torch.stft(emphasised, _N_FFT, _HOP, _WINDOW, window, center=True, return_complex=True).abs().square()
    return ((_mel_banks().to(clips.device) @ power + 1e-5).log() + 4.5) / 5


@lru_cache(maxsize=1)
def _mel_banks() -> Tensor:
    banks, _ = torchaudio.compliance.kaldi.get_mel_banks(BANDS, _N_FFT, float(Passt.sample_rate), 0.0, _HIGHEST, 100.0, -500.0, 1.0)
    return pad(banks, (0, 1))


class PasstNetwork(nn.Module):
    """A vision transformer over patches of 16 x 16, every 10, with positions of frequency and of time; named as in the published file.

    Log-mel [B, 128, T] -> logits [B, labels].
    """

    def __init__(self, width: int = 768, depth: int = 12, heads: int = 12, labels: int = 527, frames: int = 998) -> None:
        super().__init__()
        rows, columns = (BANDS - 16) // 10 + 1, (frames - 16) // 10 + 1
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, width))
        self.new_pos_embed = nn.Parameter(torch.zeros(1, 2, width))
        self.freq_new_pos_embed = nn.Parameter(torch.zeros(1, width, rows, 1))
        self.time_new_pos_embed = nn.Parameter(torch.zeros(1, width, 1, columns))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, width, 16, stride=10)})
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, labels))
        self.head_dist = nn.Linear(width, labels)  # for distillation; in the file, not used

    def forward(self, mel: Tensor) -> Tensor:
        """[B, 128, T] -> [B, labels]; T up to 1007, and 16 at least."""
        patches = self.patch_embed["proj"](mel[:, None])
        patches = patches + self.time_new_pos_embed[..., : patches.shape[-1]] + self.freq_new_pos_embed
        tokens = (torch.cat([self.cls_token, self.dist_token], dim=1) + self.new_pos_embed).expand(len(mel), -1, -1)
        states = self.norm(self.blocks(torch.cat([tokens, patches.flatten(2).transpose(1, 2)], dim=1)))
        return self.head((states[:, 0] + states[:, 1]) / 2)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, states: Tensor) -> Tensor:
        query, key, value = self.attn["qkv"](self.norm1(states)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        states = states + self.attn["proj"](scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return states + self.mlp["fc2"](nn.functional.gelu(self.mlp["fc1"](self.norm2(states))))
