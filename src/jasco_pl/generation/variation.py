"""Variations: clips that begin not at noise, but at the latents of a recording, partly noised (SDEdit, Meng et al. 2022, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from jasco_pl.audio.levels import to_loudness
from jasco_pl.controls.audio import read_waveform
from jasco_pl.controls.base import FrameGrid
from jasco_pl.controls.inputs import MixInput
from jasco_pl.controls.options import VARIATION, VARY
from jasco_pl.generation.whole import MISSING, check_reach
from jasco_pl.network.flow.path import Path
from jasco_pl.system.errors import UserError
from jasco_pl.system.seeding import item_noise, stable_hash


@torch.inference_mode()
def read_source(asked: Mapping[str, Any], grid: FrameGrid, notes: list[str]) -> Tensor:
    """The recording that is varied as the model sees it: normalised latents [T, C] on the CPU.

    It is an audio file, or a waveform [1, S] at the codec's rate, and is heard at the loudness of training, whatever its own.

    Raises:
        UserError: it cannot be read, is silent, or ends before the clip.
    """
    codec, frames = grid.codec, grid.frames
    wav = read_waveform(asked[VARY.name], codec.sample_rate, VARY.name, (frames + MISSING) * codec.hop, notes)
    check_reach(wav.shape[-1] / codec.sample_rate, grid)
    wav, gain = to_loudness(wav, codec.sample_rate, MixInput.loudness)
    if gain is None:
        raise UserError("the recording to vary is silent: nothing in it is louder than -70 LUFS.")
    wav = torch.nn.functional.pad(wav, (0, max(0, frames * codec.hop - wav.shape[-1])))
    latents = grid.normalize(codec.encode(wav[None].to(codec.latent_mean.device)))[0, :frames].cpu()
    notes.append(f"varied from second 0 to {grid.seconds:g} of the recording, by {asked[VARIATION.name]:g} of the way to noise")
    return latents


def begin(sources: Tensor, strength: float, seeds: Sequence[int], path: Path) -> tuple[Tensor, float]:
    """Where the flow begins for normalised latents [B, T, C], and at which of its times.

    The noise is not that of a clip of the same seed: a take that was made of it would lie on the straight way back to itself.
    """
    start = 1.0 - strength
    noise = item_noise([stable_hash("vary", seed) for seed in seeds], *sources.shape[1:]).to(sources)
    return path.point(noise, sources, torch.full((len(sources),), start, device=sources.device)), start
