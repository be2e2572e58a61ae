from __future__ import annotations

import pytest
import torch

from jasco_pl.codec.base import nearest
from jasco_pl.codec.embedded import fit_codebooks


def clusters(count: int = 1200) -> torch.Tensor:
    """Frames about eight centres, none of them at zero."""
    draw = torch.Generator().manual_seed(0)
    centres = 5 * torch.randn(8, 6, generator=draw)
    return centres[torch.randint(0, 8, (count,), generator=draw)] + 0.3 * torch.randn(count, 6, generator=draw)


def test_nearest_is_the_nearest() -> None:
    draw = torch.Generator().manual_seed(1)
    vectors, book = torch.randn(3, 40, 6, generator=draw), 2 * torch.randn(30, 6, generator=draw)
    assert torch.equal(nearest(vectors, book), torch.cdist(vectors, book[None].expand(3, -1, -1)).argmin(-1))


def test_every_level_leaves_less_over() -> None:
    frames = clusters()
    books = fit_codebooks(frames, 16, 3)
    assert books.shape == (3, 16, 6)
    assert books.dtype == torch.float32
    rest, left = frames, [float(frames.square().mean())]
    for book in books:
        rest = rest - book[nearest(rest, book)]
        left.append(float(rest.square().mean()))
    assert left == sorted(left, reverse=True)
    assert left[1] < 0.05 * left[0]  # the centres are found
    assert left[2] < 0.8 * left[1]
    assert left[3] < 0.9 * left[2]


def test_the_same_seed_gives_the_same_codebooks() -> None:
    frames = clusters(400)
    untouched = frames.clone()
    assert torch.equal(fit_codebooks(frames, 8, 2, seed=3), fit_codebooks(frames, 8, 2, seed=3))
    assert not torch.equal(fit_codebooks(frames, 8, 2, seed=3), fit_codebooks(frames, 8, 2, seed=4))
    assert torch.equal(frames, untouched)


def test_too_few_frames() -> None:
    with pytest.raises(ValueError, match="7 frames cannot fit 8 codebook entries"):
        fit_codebooks(torch.randn(7, 4), 8, 1)
