"""Recordings of a request as waveforms, whichever control is to follow them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from jasco_pl.audio.files import read_audio
from jasco_pl.system.errors import UserError

_BEHIND = 1.0  # second of a file beyond what is used, so that resampling meets no end there


def read_waveform(source: str | Path | Tensor, sample_rate: int, name: str, samples: int, notes: list[str] | None = None) -> Tensor:
    """An audio file, or a waveform [1, S] at that rate -> its beginning, [1, `samples` or fewer] float32 on the CPU.

    `notes` takes what was done to the file on the way.

    Raises:
        UserError: the file cannot be read, or the waveform (of this name) has another shape, is empty or not finite.
    """
    told: list[str] = []
    wav = source if isinstance(source, Tensor) else read_audio(source, sample_rate, samples / sample_rate + _BEHIND, told)
    if notes is not None:
        notes += [f"{name}: {note}" for note in told]
    if wav.ndim != 2 or wav.shape[0] != 1 or not wav.shape[1] or not torch.isfinite(wav).all():
        raise UserError(f"the {name} waveform has shape {list(wav.shape)}, where [1, samples] of finite numbers is accepted.")
    return wav[:, :samples].float().cpu()
