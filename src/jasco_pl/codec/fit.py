"""Fit the embedded codec to a folder of composed pieces: latent statistics, and residual codebooks by k-means (no gradient)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.files import read_audio
from jasco_pl.codec.base import nearest
from jasco_pl.codec.embedded import BandCodec, BandCodecConfig
from jasco_pl.system.errors import UserError

STEMS = ("mix", "drums", "drumless")  # the codes must describe drums alone as well as whole mixes


@torch.inference_mode()
def fit_band_codec(
    pieces: str | Path, config: BandCodecConfig, max_frames: int = 100_000, max_pieces: int = 96, seed: int = 0
) -> BandCodec:
    """Statistics come from the mixes (what the flow models), codebooks from mixes, drums and drumless mixes together.

    Raises:
        UserError: the folder holds too few pieces.
    """
    paths = sorted(Path(pieces).glob("*.mix.flac"))
    paths = paths[:: -(-len(paths) // max_pieces)] if paths else []
    analysis = BandCodec(config)
    frames: dict[str, list[torch.Tensor]] = {stem: [] for stem in STEMS}
    generator = torch.Generator().manual_seed(seed)
    share = max_frames // max(1, len(paths) * len(STEMS))
    for path in tqdm(paths, desc="codec statistics", unit="piece"):
        for stem in STEMS:
            latents = analysis.encode(read_audio(path.with_name(path.name.replace(".mix.", f".{stem}.")), config.sample_rate)[None])[0]
            frames[stem].append(latents[torch.randperm(len(latents), generator=generator)[: max(share, 1)]])
    if sum(len(part) for parts in frames.values() for part in parts) < 4 * config.codebook_size:
        raise UserError(f"{str(pieces)!r} holds too little audio to fit {config.codebook_size} codebook entries; compose more.")
    mixes = torch.cat(frames["mix"])
    mean, std = mixes.mean(0), mixes.std(0).clamp(min=0.1)
    normalised = (torch.cat([torch.cat(parts) for parts in frames.values()]) - mean) / std
    codebooks = fit_codebooks(normalised, config.codebook_size, config.codebooks, seed)
    return BandCodec(config, mean, std, codebooks)


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
