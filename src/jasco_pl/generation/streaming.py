"""Audio of a clip in parts: as its windows are finished, and within some memory.

A part is decoded with what lies a second around it, so that parts laid end to end are what the whole would be; a clip that is made at once
is decoded in the same parts, so that its samples are those of the stream (docs/decisions.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from jasco_pl.generation.painting import Made
from jasco_pl.generation.request import Clip
from jasco_pl.system.errors import UserError

if TYPE_CHECKING:
    from jasco_pl.generation.jasco import Jasco


def parts_of(frames: int, length: int) -> list[slice]:
    """The parts in which a clip is decoded: one, unless it is longer than `length`; then halves of that."""
    step = frames if frames <= length else max(1, length // 2)
    return [slice(first, min(first + step, frames)) for first in range(0, frames, step)]


class AudioStream:
    """Parts [1, S] of a clip's audio, each as soon as it is known; to be gone through once.

    Attributes:
        clip: what was read of the request; with sound and latents once all of it has been handed over.
        sample_rate: Hz.
        samples: of the whole clip.
        first: frames of the first part.
    """

    def __init__(self, jasco: Jasco, clip: Clip, frames: int, windows: Iterator[Made]) -> None:
        if clip.recording is not None:
            raise UserError("what is painted is brought to the level of its recording when all of it is made: it cannot be streamed.")
        if clip.request.loop:
            raise UserError("the end of a loop runs into its beginning, so that all of it is made at once: it cannot be streamed.")
        self.clip, self.sample_rate, self.samples = clip, clip.sample_rate, frames * jasco.codec.hop
        self._jasco, self._windows = jasco, windows
        self._parts = parts_of(frames, jasco.frames(jasco.model.config.seconds))
        self.first = self._parts[0]

    def __iter__(self) -> Iterator[Tensor]:
        heard, around = list[Tensor](), round(self._jasco.codec.frame_rate)
        for made in self._windows:
            total = made.latents.shape[1]
            for part in self._parts[len(heard) :]:
                if made.frames < min(part.stop + around, total):
                    break
                heard.append(self._jasco.decode_part(made.latents, part, made.frames)[0])
                yield heard[-1]
            if made.frames == total:
                audio, latents = torch.cat(heard, dim=1), made.latents[0].cpu()
                self.clip = replace(self.clip, audio=audio, latents=latents, evaluations=made.evaluations)
