"""The network of musicnn (Pons and Serra 2019): filters shaped like timbre and like tempo, three residual layers, temporal pooling.

Legend: B clips, T = 187 frames of 16 ms, F = 96 mel bands.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad

BANDS = 96
TIMBRAL = (38, 67)  # bands that a filter of 7 frames spans: 0.4 and 0.7 of all
TEMPORAL = (128, 64, 32)  # frames that a filter of one band spans
EMBEDDING = 200
TAGS = 50
_EPSILON = 1e-3


class MusicnnNetwork(nn.Module):
    """Log-mel patches [B, T, F] -> the penultimate layer [B, 200] and the logits of 50 tags [B, 50]."""

    def __init__(self) -> None:
        super().__init__()
        timbral, temporal, middle = 204, 51, 64
        self.input_norm = nn.BatchNorm2d(1, eps=_EPSILON)
        shapes = [(timbral, (7, span)) for span in TIMBRAL] + [(temporal, (span, 1)) for span in TEMPORAL]
        # in time; TensorFlow pads an even number of frames by more after than before
        self.padding = [(0, 0, (frames - 1) // 2, frames // 2) for _, (frames, _) in shapes]
        self.front = nn.ModuleList(nn.Conv2d(1, filters, kernel) for filters, kernel in shapes)
        self.front_norms = nn.ModuleList(nn.BatchNorm2d(filters, eps=_EPSILON) for filters, _ in shapes)
        features = sum(filters for filters, _ in shapes)
        self.middle = nn.ModuleList(nn.Conv1d(width, middle, 7, padding=3) for width in (features, middle, middle))
        self.middle_norms = nn.ModuleList(nn.BatchNorm1d(middle, eps=_EPSILON) for _ in range(3))
        pooled = 2 * (features + 3 * middle)
        self.pool_norm = nn.BatchNorm1d(pooled, eps=_EPSILON)
        self.dense = nn.Linear(pooled, EMBEDDING)
        self.dense_norm = nn.BatchNorm1d(EMBEDDING, eps=_EPSILON)
        self.head = nn.Linear(EMBEDDING, TAGS)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Patches [B, T, F] -> embeddings [B, 200], logits [B, 50]."""
        image = self.input_norm(patches[:, None])
        found = []
        for convolution, norm, padding in zip(self.front, self.front_norms, self.padding, strict=True):
            found.append(norm(convolution(pad(image, padding)).relu()).amax(dim=3))
        layers = [torch.cat(found, dim=1)]
        for convolution, norm in zip(self.middle, self.middle_norms, strict=True):
            heard = norm(convolution(layers[-1]).relu())
            layers.append(heard + layers[-1] if len(layers) > 1 else heard)
        features = torch.cat(layers, dim=1)
        pooled = torch.stack([features.amax(dim=2), features.mean(dim=2)], dim=2).flatten(1)
        embedding = self.dense_norm(self.dense(self.pool_norm(pooled)).relu())
        return embedding, self.head(embedding)


def from_tensorflow(variables: Mapping[str, NDArray[np.float32]]) -> dict[str, Tensor]:
    """The state of `MusicnnNetwork` from the variables of musicnn's checkpoint, which are numbered in the order of their creation.

    Raises:
        KeyError: variables are missing.
    """
    norms = ["input_norm", *(f"front_norms.{n}" for n in range(5)), *(f"middle_norms.{n}" for n in range(3)), "pool_norm", "dense_norm"]
    layers = {"conv2d": [*(f"front.{n}" for n in range(5)), *(f"middle.{n}" for n in range(3))], "dense": ["dense", "head"]}
    state: dict[str, Tensor] = {}

    def take(name: str) -> Tensor:
        return torch.from_numpy(variables[name].copy())

    def numbered(name: str, number: int) -> str:
        return f"{name}_{number}" if number else name

    for number, ours in enumerate(norms):
        theirs = numbered("batch_normalization", number)
        parts = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
        state |= {f"{ours}.{part}": take(f"{theirs}/{name}") for part, name in parts.items()}
        state[f"{ours}.num_batches_tracked"] = torch.tensor(0)
    for kind, names in layers.items():
        for number, ours in enumerate(names):
            theirs = numbered(kind, number)
            kernel = take(f"{theirs}/kernel")
            if kind == "dense":
                weight = kernel.T
            elif ours.startswith("middle"):  # [frames, features, 1, out]
                weight = kernel[:, :, 0].permute(2, 1, 0)
            else:  # [frames, bands, 1, out]
                weight = kernel.permute(3, 2, 0, 1)
            state |= {f"{ours}.weight": weight.contiguous(), f"{ours}.bias": take(f"{theirs}/bias")}
    return state
