"""Recordings to be rated: tones with noise."""

from __future__ import annotations

import torch

from jasco_pl.audio.files import SAMPLE_RATE

NAMES = ("morning-7", "evening-3", "night-12")
SYSTEMS = ("alpha", "beta", "gamma")


def tone(pitch: float, seconds: float, level: float, seed: int) -> torch.Tensor:
    """A tone with noise over the whole band, [1, S]."""
    time = torch.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    noise = torch.randn(time.shape, generator=torch.Generator().manual_seed(seed))
    return (level * (torch.sin(2 * torch.pi * pitch * time) + 0.2 * noise))[None]
