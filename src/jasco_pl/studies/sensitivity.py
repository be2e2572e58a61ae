"""What a distance by some embedding notices: the same music clean and worsened in known ways, against other stretches of the same pieces.

A distance that is to judge generated music must be small between clean halves and grow with every kind of damage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import scipy.signal
import torch
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.files import SAMPLE_RATE, read_audio
from jasco_pl.codec import load_codec
from jasco_pl.metrics.distances import FrechetDistance, KernelDistance
from jasco_pl.metrics.embedders import Embedder
from jasco_pl.system.errors import UserError
from jasco_pl.system.seeding import stable_hash

SECONDS = 10
CLIPS_OF_PIECE = 4  # every other one is reference
Degradation = Callable[[Tensor, torch.Generator], Tensor]


def add_noise(wav: Tensor, draw: torch.Generator, ratio: float) -> Tensor:
    """White noise `ratio` decibels under the clip's power."""
    return wav + torch.randn(wav.shape, generator=draw) * wav.square().mean().sqrt() * 10 ** (-ratio / 20)


def low_pass(wav: Tensor, draw: torch.Generator, hertz: float) -> Tensor:
    """Nothing above `hertz` (Butterworth, order 8)."""
    sections = scipy.signal.butter(8, hertz, fs=SAMPLE_RATE, output="sos")
    return torch.from_numpy(scipy.signal.sosfilt(sections, wav.double().numpy())).float()


def shuffle(wav: Tensor, draw: torch.Generator, seconds: float) -> Tensor:
    """Pieces of `seconds` in random order: the sound stays, the rhythm goes."""
    parts = wav.split(round(seconds * SAMPLE_RATE), dim=-1)
    return torch.cat([parts[index] for index in torch.randperm(len(parts), generator=draw)], dim=-1)


def through_codec(folder: str) -> Degradation:
    """Encoded and decoded."""
    codec = load_codec(folder)

    @torch.inference_mode()
    def reconstruct(wav: Tensor, draw: torch.Generator) -> Tensor:
        return codec.decode(codec.encode(wav[None]))[0]

    return reconstruct


def degradations(codec: str) -> dict[str, Degradation]:
    """Name -> what is done to a clip [1, S] at 32 kHz; each kind from weak to strong."""
    return {
        "clean": lambda wav, draw: wav,
        **{f"noise {ratio} dB": partial(add_noise, ratio=ratio) for ratio in (20, 10)},
        **{f"low-pass {hertz} Hz": partial(low_pass, hertz=hertz) for hertz in (4000, 1000)},
        **{f"shuffled {part} s": partial(shuffle, seconds=part) for part in (0.5, 0.1)},
        "codec": through_codec(codec),
    }


def sensitivity(paths: Sequence[Path], embedder: Embedder, kinds: dict[str, Degradation]) -> Iterator[tuple[str, dict[str, float]]]:
    """Figures of every degradation against clean clips of the same pieces, as soon as they are known.

    Args:
        paths: pieces of 40 seconds or more, or whatever of them lasts ten.
        embedder: what hears them.
        kinds: see `degradations`.

    Yields:
        A kind's name, and its Frechet distance, KAD and numbers of embeddings by name.

    Raises:
        UserError: no piece holds two clips, or all together hold too few for the embedding's dimension.
    """
    reference, tested = [], []
    for path in paths:
        clips = read_audio(path, SAMPLE_RATE).split(SECONDS * SAMPLE_RATE, dim=-1)[:CLIPS_OF_PIECE]
        whole = [clip for clip in clips if clip.shape[-1] == SECONDS * SAMPLE_RATE]
        pairs = len(whole) // 2
        reference += whole[: 2 * pairs : 2]
        tested += [(f"{path.stem}-{number}", clip) for number, clip in enumerate(whole[1 : 2 * pairs : 2])]
    if not tested:
        raise UserError(f"none of {len(paths)} files holds two clips of {SECONDS} s to compare.")
    windows = embedder(reference[0], SAMPLE_RATE).shape[1]
    if windows * len(tested) <= embedder.dim:  # known before an hour of work
        given = windows * len(tested)
        raise UserError(
            f"{len(paths)} files give {given} embeddings on either side, and FD[{embedder.name}] needs over {embedder.dim}: "
            f"about {len(paths) * embedder.dim // given + 1} such files would do."
        )
    frechet = FrechetDistance(embedder.name, embedder.dim)
    kernel = KernelDistance(embedder.name, embedder.dim)
    clean = [embedder(clip, SAMPLE_RATE) for clip in tqdm(reference, desc="reference", unit="clip", leave=False)]
    for name, degrade in kinds.items():
        for metric in (frechet, kernel):
            metric.reset()
            for embeddings in clean:
                metric.update(embeddings, reference=True)
        for key, clip in tqdm(tested, desc=name, unit="clip", leave=False):
            draw = torch.Generator().manual_seed(stable_hash("sensitivity", key))
            embeddings = embedder(degrade(clip, draw), SAMPLE_RATE)
            frechet.update(embeddings)
            kernel.update(embeddings)
        yield name, {key: float(value) for metric in (frechet, kernel) for key, value in metric.compute().items()}
