"""VGGish (Hershey et al. 2017), the embedding of FAD as first defined (Kilgour et al. 2019, google-research/frechet_audio_distance).

Input and network are the official ones: loudness normalised a clip, windows of a second every half second, the first 96 frames of a log
magnitude mel spectrogram each, and the 128 values before the last activation (tensorflow/models, research/audioset/vggish). The weights are
the official checkpoint as harritaylor/torchvggish converted it (Apache-2.0, 288 MB); they are fetched once or taken from a file.
"""

from __future__ import annotations

import os
from functools import lru_cache

import numpy as np
import torch
from pooch import file_hash
from torch import Tensor, nn

from jasco_pl.metrics.embedders import Embedder, find_file, load_state

URL = "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth"
SHA256 = "10086976"  # how it begins, by PyTorch's convention for names
WINDOW, STEP = 16000, 8000
BANDS, FRAMES = 64, 96
_FRAME, _HOP, _N_FFT = 400, 160, 512
_LOWEST, _HIGHEST, _OFFSET = 125.0, 7500.0, 0.01
_LOUDEST_GAIN = 10.0  # 20 dB


class VggishNetwork(nn.Module):
    """Log-mel patches [B, 96, 64] -> embeddings [B, 128]; the parts are named as in torchvggish's file."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 1
        for stage in ((64,), (128,), (256, 256), (512, 512)):
            for channels in stage:
                layers += [nn.Conv2d(width, channels, 3, padding=1), nn.ReLU()]
                width = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 6 * 4, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, Vggish.dim)
        )

    def forward(self, patches: Tensor) -> Tensor:
        """[B, 96, 64] -> [B, 128]."""
        return self.embeddings(self.features(patches[:, None]).permute(0, 2, 3, 1).flatten(1))  # channels last, as in TensorFlow


class Vggish(Embedder):
    """Embeddings (128-d) of windows of 0.975 s, every half second.

    Args:
        weights: the file; by default that of JASCO_VGGISH, a cached or a fetched one. Only the published file is called `vggish`.
        device: where the network runs.

    Raises:
        UserError: there are no weights, or the file does not hold them.
    """

    dim = 128
    sample_rate = 16000

    def __init__(self, weights: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        path = find_file("vggish", URL, weights, SHA256)
        self.name = "vggish" if file_hash(str(path)).startswith(SHA256) else f"vggish:{path.stem}"
        self.network = VggishNetwork().eval().requires_grad_(False)
        load_state(path, self.network, "VGGish")
        self.network.to(self.device)

    @torch.inference_mode()
    def __call__(self, wav: Tensor, sample_rate: int) -> Tensor:
        """Embeddings [B, N, 128] of [B, 1, S] or [1, S] of at least a second."""
        patches = vggish_patches(self.prepare(wav, sample_rate, least=1.0))
        return self.network(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])


def vggish_patches(clips: Tensor) -> Tensor:
    """Audio [B, S] at 16 kHz -> what the network sees, [B, N, 96, 64].

    A clip is divided by its largest sample (of positive sign, as in the official code), but by no less than 0.1.
    """
    exact = clips.double()  # as the official code computes; single precision shows where the logarithm is steep
    normalised = exact / exact.amax(dim=-1, keepdim=True).clamp_min(1 / _LOUDEST_GAIN)
    windows = normalised.unfold(-1, WINDOW, STEP)
    frames = windows.unfold(-1, _FRAME, _HOP)[..., :FRAMES, :]
    window = torch.hann_window(_FRAME, periodic=True, dtype=torch.float64, device=clips.device)
    magnitudes = torch.fft.rfft(frames * window, _N_FFT).abs()
    return (magnitudes @ mel_matrix().to(clips.device) + _OFFSET).log().float()


@lru_cache(maxsize=1)
def mel_matrix() -> Tensor:
    """Triangles [257, 64] (float64) on the HTK mel scale, linear in mel rather than in hertz; the constant component counts nowhere."""

    def mel(hertz: np.ndarray | float) -> np.ndarray:
        return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

    bins = mel(np.linspace(0, Vggish.sample_rate / 2, _N_FFT // 2 + 1))[:, None]
    edges = np.linspace(mel(_LOWEST), mel(_HIGHEST), BANDS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    weights[0] = 0.0
    return torch.from_numpy(weights)
