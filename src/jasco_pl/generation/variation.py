"""Variations: clips that begin not at noise, but at the latents of a recording, partly noised (SDEdit, Meng et al. 2022, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from jasco_pl.audio.levels import to_loudness
from jasco_pl.controls.base import FrameGrid
from jasco_pl.controls.during import Length
from jasco_pl.controls.inputs import MixInput
from jasco_pl.controls.options import VARIATION, VARY
from jasco_pl.controls.waveforms import read_waveform
from jasco_pl.generation.whole import MISSING, check_reach
from jasco_pl.network.flow.path import Path
from jasco_pl.system.errors import UserError
from jasco_pl.system.seeding import item_noise, stable_hash


@torch.inference_mode()
def read_source(asked: Mapping[str, Any], grid: FrameGrid, notes: list[str]) -> Tensor:
    """The recording that is varied as the model sees it: normalised latents [T, C] on the CPU; otherwise as `hear_source`."""
    codec, frames = grid.codec, grid.frames
    wav = hear_source(asked, codec.sample_rate, codec.hop, grid, notes)
    wav = torch.nn.functional.pad(wav, (0, max(0, frames * codec.hop - wav.shape[-1])))
    return grid.normalize(codec.encode(wav[None].to(codec.latent_mean.device)))[0, :frames].cpu()


def hear_source(asked: Mapping[str, Any], sample_rate: int, hop: int, clip: Length, notes: list[str]) -> Tensor:
    """The same as sound [1, S], at the loudness of training, whatever its own; `notes` takes what was done.

    It is an audio file, or a waveform [1, S] at the codec's rate.

    Raises:
        UserError: it cannot be read, is silent, or ends before the clip.
    """
    wav = read_waveform(asked[VARY.name], sample_rate, VARY.name, (clip.frames + MISSING) * hop, notes)
    check_reach(wav.shape[-1] / sample_rate, clip)
    wav, gain = to_loudness(wav, sample_rate, MixInput.loudness)
    if gain is None:
        raise UserError("the recording to vary is silent: nothing in it is louder than -70 LUFS.")
    notes.append(f"varied from second 0 to {clip.seconds:g} of the recording, by {asked[VARIATION.name]:g} of the way to noise")
    return wav


def begin(sources: Tensor, strength: float, seeds: Sequence[int], path: Path) -> tuple[Tensor, float]:
    """Where the flow begins for normalised latents [B, T, C], and at which of its times.

    The noise is not that of a clip of the same seed: a take that was made of it would lie on the straight way back to itself.
    """
    start = 1.0 - strength
    noise = item_noise([stable_hash("vary", seed) for seed in seeds], *sources.shape[1:]).to(sources)
    return path.point(noise, sources, torch.full((len(sources),), start, device=sources.device)), start
