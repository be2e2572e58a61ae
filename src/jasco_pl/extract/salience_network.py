"""The deep salience network (Bittner, McFee, Salamon, Li, Bello: Deep Salience Representations for F0 Estimation, ISMIR 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

HARMONICS = 6
# (channels, frequency x time kernel) of every convolution; the last one's sigmoid gives the salience.
LAYERS = ((128, (5, 5)), (64, (5, 5)), (64, (3, 3)), (64, (3, 3)), (8, (70, 3)), (1, (1, 1)))
CONTEXT = 7
"""Frames on either side that a frame's salience depends on."""
BELOW = 40
"""Bins below one that its salience depends on."""


class SalienceNetwork(nn.Module):
    """Harmonic CQT [B, 6, F, T] in 0..1 -> salience [B, F, T] in 0..1, with the authors' zero padding at all four edges.

    Batch normalisation stands before every convolution, behind the rectifier of the one before it. 406,253 parameters at inference.
    """

    norms: nn.ModuleList
    convolutions: nn.ModuleList

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList()
        self.convolutions = nn.ModuleList()
        inside = HARMONICS
        for channels, kernel in LAYERS:
            self.norms.append(nn.BatchNorm2d(inside, eps=1e-3))
            self.convolutions.append(nn.Conv2d(inside, channels, kernel))
            inside = channels
        self.eval()

    def forward(self, hcqt: Tensor) -> Tensor:
        x = hcqt
        for norm, convolution, (_, (high, wide)) in zip(self.norms, self.convolutions, LAYERS, strict=True):
            x = functional.relu(x) if norm is not self.norms[0] else x
            # as TensorFlow pads: of an even kernel's rows the extra one goes above
            x = convolution(functional.pad(norm(x), ((wide - 1) // 2, wide // 2, (high - 1) // 2, high // 2)))
        return torch.sigmoid(x[:, 0])
