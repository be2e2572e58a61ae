"""Optimal-transport path and the weighted flow-matching loss (paper, section 2 and equations 1-3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Weighting = Literal["increasing", "uniform", "decreasing"]


class OptimalTransportPath:
    """Straight path z = (1 - (1 - sigma_min) t) z0 + t z1 from noise z0 (t = 0) to data z1 (t = 1), equation 2."""

    def __init__(self, sigma_min: float = 1e-5) -> None:
        self.sigma_min = sigma_min

    def point(self, noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
        """Point of the path, [B, T, C] for t [B]."""
        t = t[:, None, None]
        return (1 - (1 - self.sigma_min) * t) * noise + t * data

    def velocity(self, noise: Tensor, data: Tensor) -> Tensor:
        """What the network learns: z1 - (1 - sigma_min) z0, equation 1."""
        return data - (1 - self.sigma_min) * noise


def skip_coefficient(t: Tensor) -> Tensor:
    """Best linear guess of the velocity from the point alone, v = c(t) z, for independent noise and data of unit variance: [B] -> [B].

    It is the c_skip of EDM (Karras et al. 2022, section 5) for this path: -1 at t = 0, where all of z is noise, 1 at t = 1.
    """
    return (2 * t - 1) / ((1 - t).square() + t.square())


def loss_weight(t: Tensor, weighting: Weighting) -> Tensor:
    """Weight of a sample at flow time t [B]: 1 + t (equation 3), 1, or 2 - t."""
    if weighting == "increasing":
        return 1 + t
    if weighting == "decreasing":
        return 2 - t
    if weighting == "uniform":
        return torch.ones_like(t)
    raise ValueError(f"unknown loss weighting {weighting!r}: increasing, uniform or decreasing.")


def flow_matching_loss(predicted: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Squared error of the velocity of every item, meaned over channels and (unmasked) frames: [B, T, C] -> [B]."""
    error = (predicted.float() - target.float()).square().mean(dim=-1)
    if mask is None:
        return error.mean(dim=1)
    return (error * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
