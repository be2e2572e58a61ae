"""How a decoded sound is compared with the recording, and how losses of any scale get their share of the gradient."""

from __future__ import annotations

import torch
import torchaudio
from torch import Tensor, nn

from jasco_pl.metrics.reconstruction import FLOOR, SCALES


class MelDistance(nn.Module):
    """The multi-scale mel distance of `metrics.reconstruction`, smooth at its floor, for a batch."""

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.mels = nn.ModuleList(
            torchaudio.transforms.MelSpectrogram(sample_rate, n_fft, hop_length=n_fft // 4, n_mels=n_mels, power=1.0)
            for n_fft, n_mels in SCALES
        )

    def forward(self, output: Tensor, wav: Tensor) -> Tensor:
        """Two of [B, S] -> a scalar in natural logarithms."""
        distances = [((mel(output) + FLOOR).log() - (mel(wav) + FLOOR).log()).abs().mean() for mel in self.mels]
        return torch.stack(distances).mean()


class LossBalancer:
    """Rescales the gradient of every loss to its share of a fixed norm, so that a weight means the same whatever a loss's scale.

    Args:
        weights: share of every loss by name; they need not add up to one.
        decay: of the average norm that a gradient is divided by.
        total_norm: norm of the sum if all gradients pointed the same way.
    """

    def __init__(self, weights: dict[str, float], decay: float = 0.99, total_norm: float = 1.0) -> None:
        self.weights, self.decay, self.total_norm = weights, decay, total_norm
        self.norms: dict[str, tuple[float, float]] = {}  # decayed sum of norms, decayed count

    def gradient(self, losses: dict[str, Tensor], output: Tensor) -> Tensor:
        """Balanced gradient of the losses (scalars that depend on `output`) with respect to `output`, of its shape."""
        weights = {name: self.weights[name] for name in losses}
        balanced = torch.zeros_like(output)
        for name, loss in losses.items():
            (gradient,) = torch.autograd.grad(loss, output, retain_graph=True)
            norm = float(gradient.norm())
            total, count = self.norms.get(name, (0.0, 0.0))
            total, count = self.decay * total + norm, self.decay * count + 1
            self.norms[name] = total, count
            share = weights[name] / sum(weights.values())
            balanced += gradient * (self.total_norm * share * count / max(total, 1e-12))
        return balanced

    def state_dict(self) -> dict[str, tuple[float, float]]:
        """The average norms."""
        return dict(self.norms)

    def load_state_dict(self, state: dict[str, tuple[float, float]]) -> None:
        """Go on from stored norms."""
        self.norms = {name: (float(total), float(count)) for name, (total, count) in state.items()}
