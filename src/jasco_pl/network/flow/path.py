"""What the network regresses between noise (t = 0) and data (t = 1): optimal-transport flow matching, the paper's choice (section 2 and
equations 1-3), and v-diffusion, to which the paper compares it (section 6, figure 2).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor

Weighting = Literal["increasing", "uniform", "decreasing"]
Objective = Literal["flow_matching", "v_diffusion"]


class Path(ABC):
    """How noise becomes data, and what the network says about it on the way.

    Attributes:
        sampler: the solver that belongs to it (`jasco_pl.network.flow.solver.Method`).
        speed: dz/dt is the network's output times this, so that any solver can follow either path.
    """

    sampler: Literal["midpoint", "ddim"]
    speed: float

    @abstractmethod
    def point(self, noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
        """Point of the path, [B, T, C] for t [B]."""

    @abstractmethod
    def target(self, noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
        """What the network learns to say there, [B, T, C]."""


class OptimalTransportPath(Path):
    """Straight path z = (1 - (1 - sigma_min) t) z0 + t z1 from noise z0 to data z1, equation 2."""

    sampler = "midpoint"
    speed = 1.0

    def __init__(self, sigma_min: float = 1e-5) -> None:
        self.sigma_min = sigma_min

    def point(self, noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
        t = t[:, None, None]
        return (1 - (1 - self.sigma_min) * t) * noise + t * data

    def target(self, noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
        """The velocity z1 - (1 - sigma_min) z0, equation 1; the same all along the path."""
        return data - (1 - self.sigma_min) * noise


class VariancePreservingPath(Path):
    """Quarter circle z = sin(a) z1 + cos(a) z0 with a = t pi/2, for v-diffusion (Salimans and Ho 2022).

    The schedule is that of Mousai (the paper's [4]): noise level linear in time, alpha = cos, sigma = sin of the angle. Theirs runs from
    data to noise and is told v = alpha z0 - sigma z1; ours runs to the data, so that v changes its sign and points where the sample goes.
    """

    sampler = "ddim"
    speed = math.pi / 2

    @staticmethod
    def levels(t: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of data and of noise at t, both of t's shape; their squares add up to one."""
        angle = t * (math.pi / 2)
        return torch.sin(angle), torch.cos(angle)

    def point(self, noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
        signal, sigma = self.levels(t[:, None, None])
        return signal * data + sigma * noise

    def target(self, noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
        """v = sigma z1 - alpha z0: the path's derivative by the angle."""
        signal, sigma = self.levels(t[:, None, None])
        return sigma * data - signal * noise


def make_path(objective: Objective, sigma_min: float = 1e-5) -> Path:
    """The path that belongs to an objective; `sigma_min` is that of flow matching."""
    return VariancePreservingPath() if objective == "v_diffusion" else OptimalTransportPath(sigma_min)


def skip_coefficient(t: Tensor) -> Tensor:
    """Best linear guess of the velocity from the point alone, v = c(t) z, for independent noise and data of unit variance: [B] -> [B].

    It is the c_skip of EDM (Karras et al. 2022, section 5) for the optimal-transport path: -1 at t = 0, where all of z is noise, 1 at
    t = 1. On the variance-preserving path it is zero everywhere.
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
