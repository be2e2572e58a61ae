"""Loops: clips whose end runs into their beginning, in their latents, in their sound, and to the sample.

The clip is a circle. Every evaluation of the network sees it through windows that lie around it and overlap, one with the joint in its
middle, and takes the mean of what they say where they do, weighted towards their middles (MultiDiffusion, Bar-Tal et al. 2023): nowhere in
the flow is there an end, whatever the solver. A clip that is longer than the model has learnt only needs more of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jasco_pl.generation.painting import FADE, splice
from jasco_pl.network.flow.solver import Field
from jasco_pl.notation.stretches import runs

OVERLAP = 1.0  # seconds that neighbouring windows share (docs/editing.md)
_AROUND = 1.0  # seconds decoded on either side, of which the codec's edges are no part any more


def plan_circle(frames: int, longest: int, overlap: int) -> tuple[list[int], int]:
    """Windows around a circle of frames: where they begin, and how long all of them are. The joint lies in the middle of the first.

    Args:
        frames: of the clip.
        longest: window that the model has learnt.
        overlap: of neighbours at least; of a clip that is shorter, all of it.
    """
    overlap = min(overlap, frames, longest // 2)
    count = -(-frames // (longest - overlap))
    width = -(-frames // count) + overlap
    return [(round(number * frames / count) - width // 2) % frames for number in range(count)], width


def circular(windows: Sequence[tuple[int, Field]], frames: int, width: int) -> Field:
    """One field over a circle of frames out of those that hold for windows of it.

    Args:
        windows: the first frame of each, and its field.
        frames: around.
        width: frames of each window.
    """
    place = torch.arange(width) + 0.5
    share = width - max(1, frames // len(windows))
    weight = (torch.minimum(place, place.flip(0)) / max(1, share)).clamp(max=1.0)
    placed = [((torch.arange(width) + first) % frames, field) for first, field in windows]
    total = torch.zeros(frames)
    for index, _ in placed:
        total.index_add_(0, index, weight)

    def around(z: Tensor, t: Tensor) -> Tensor:
        shares = weight[None, :, None].to(z)
        out = torch.zeros_like(z)
        for index, field in placed:
            there = index.to(z.device)
            out.index_add_(1, there, field(z[:, there], t) * shares)
        return out / total[None, :, None].to(z)

    return around


def decode_circle(decode: Callable[[Tensor, int], Tensor], latents: Tensor, hop: int, sample_rate: int) -> Tensor:
    """Sound [1, T * hop] of latents [T, C] whose end runs into its beginning.

    They are decoded with what lies around them. A codec that remembers more than that may go on behind the end a little otherwise than the
    clip begins; so the sound begins as it goes on there, and fades over to itself in `FADE` seconds, by the gain at which its power stays.
    """
    frames = len(latents)
    around = -(-round(_AROUND * sample_rate) // hop)
    audio = decode(latents[torch.arange(-around, frames + around) % frames][None], around)[0]
    first, last = around * hop, (around + frames) * hop
    body = audio[:, first:last].clone()
    length = min(round(FADE * sample_rate), body.shape[-1])
    behind, own = audio[:, last : last + length], body[:, :length]
    alike = float((behind * own).sum() / (behind.norm() * own.norm()).clamp(min=1e-9))
    rising = ((torch.arange(length) + 0.5) / length)[None]
    power = rising.square() + (1 - rising).square() + 2 * max(0.0, alike) * rising * (1 - rising)
    body[:, :length] = torch.lerp(behind, own, rising) / power.sqrt()
    return body


def splice_circle(made: Tensor, recording: Tensor, kept: NDArray[np.bool_], hop: int, sample_rate: int) -> Tensor:
    """`splice` for a loop: what is made fades into the recording over the joint too."""
    first, last = max(runs(~kept), key=lambda run: run[1] - run[0])
    offset = (first + last) // 2  # in the middle of what is made, where there is nothing to fade
    laid = torch.zeros_like(made)
    laid[:, : recording.shape[-1]] = recording[:, : made.shape[-1]]
    turned = [sound.roll(-offset * hop, dims=-1) for sound in (made, laid)]
    return splice(turned[0], turned[1], np.roll(kept, -offset), hop, sample_rate).roll(offset * hop, dims=-1)


def fit_circle(audio: Tensor, samples: int) -> Tensor:
    """A loop [1, S] in exactly so many samples: resampled by its Fourier series, which is periodic as the loop is.

    Frames of the codec do not add up to bars of any tempo; what is missing is less than one of them.
    """
    if audio.shape[-1] == samples:
        return audio
    series = torch.fft.rfft(audio.double(), dim=-1)[:, : samples // 2 + 1]
    return (torch.fft.irfft(series, n=samples, dim=-1) * (samples / audio.shape[-1])).to(audio)
