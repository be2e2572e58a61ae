"""Residual vector quantisation fitted by k-means (no gradient): the codes of the embedded codec."""

from __future__ import annotations

import torch
from torch import Tensor

from jasco_pl.codec.base import nearest


def fit_codebooks(frames: Tensor, size: int, levels: int, seed: int = 0) -> Tensor:
    """Fit codebooks to frames [N, C], each level to what the former leaves over -> [levels, size, C].

    Raises:
        ValueError: fewer frames than entries.
    """
    if len(frames) < size:
        raise ValueError(f"{len(frames)} frames cannot fit {size} codebook entries.")
    from sklearn.cluster import MiniBatchKMeans  # here: it takes seconds to import, in every process that only reads codes

    residual = frames.clone()
    books = []
    for level in range(levels):
        means = MiniBatchKMeans(size, init="random", batch_size=4096, max_iter=8, n_init=1, random_state=seed + level)
        means.fit(residual.numpy())
        book = torch.as_tensor(means.cluster_centers_, dtype=torch.float32)
        books.append(book)
        residual = residual - book[nearest(residual, book)]
    return torch.stack(books)


def quantize(frames: Tensor, codebooks: Tensor) -> tuple[Tensor, Tensor]:
    """frames [..., C] through codebooks [levels, K, C] -> codes [..., levels] and their sum of vectors [..., C]."""
    total = torch.zeros_like(frames)
    codes = []
    for book in codebooks:
        code = nearest(frames - total, book)
        total = total + book[code]
        codes.append(code)
    return torch.stack(codes, dim=-1), total
