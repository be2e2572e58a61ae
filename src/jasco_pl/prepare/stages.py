"""The stages of a preparation: what each adds to a track, and the extractor that it takes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from jasco_pl.audio.long_audio import LongAudio, Samples
from jasco_pl.codec import Codec, load_codec
from jasco_pl.controls.audio import bandpass_long
from jasco_pl.data.build import fingerprint
from jasco_pl.extract import chordino
from jasco_pl.extract.latents import encode
from jasco_pl.extract.salience import Salience
from jasco_pl.notation import harmony
from jasco_pl.prepare.config import PrepareConfig

if TYPE_CHECKING:
    from jasco_pl.extract.separation import Separator

FIELDS: dict[str, tuple[str, ...]] = {
    "codec": ("latents", "codes_mix"),
    "chords": ("chords_heard",),
    "melody": ("melody",),
    "drums": ("codes_drums", "codes_drums_bandpass", "codes_drumless"),
}
"""What every stage adds to a sample."""


class Stages:
    """The extractors of some stages, each loaded when it is first needed and then kept.

    Args:
        config: names codec, weights and device.
    """

    def __init__(self, config: PrepareConfig) -> None:
        self.config = config
        self._run: dict[str, Callable[[LongAudio], dict[str, Tensor]]] = {
            "codec": self._codec,
            "chords": self._chords,
            "melody": self._melody,
            "drums": self._drums,
        }

    @cached_property
    def codec(self) -> Codec:
        """The codec, on the device."""
        return load_codec(self.config.codec).to(self.config.device)

    @cached_property
    def salience(self) -> Salience:
        """The melody's extractor."""
        return Salience(self.config.salience, self.config.device)

    @cached_property
    def separator(self) -> Separator:
        """The drums' extractor."""
        from jasco_pl.extract.separation import Separator  # here: importing Demucs takes a while

        return Separator(self.config.separator, self.config.demucs_repo, self.config.device)

    def fingerprint(self, stage: str) -> str:
        """Changes with whatever a stage's result depends on besides the audio: a set holds results of one alone.

        Raises:
            UserError: the stage's weights or its plugin are not to be had.
        """
        if stage == "chords":
            chordino.require()
            return "chordino"
        if stage == "melody":
            return self.salience.fingerprint
        mark = f"{fingerprint(self.codec.cpu()):08x}"
        return mark if stage == "codec" else f"{self.separator.fingerprint}-{mark}"

    @torch.inference_mode()
    def __call__(self, stage: str, audio: LongAudio) -> dict[str, Tensor]:
        """The fields of a stage, [T, ...] each, T the frames of the codec's latents.

        Raises:
            UserError: the audio or the extractor cannot be used.
        """
        return self._run[stage](audio)

    def frames(self, audio: LongAudio) -> int:
        """Latents of a track."""
        return -(-len(audio.samples(self.codec.sample_rate)) // self.codec.hop)

    def _codec(self, audio: LongAudio) -> dict[str, Tensor]:
        latents, codes = encode(self.codec, audio.samples(self.codec.sample_rate))
        return {"latents": latents.half(), "codes_mix": codes}

    def _chords(self, audio: LongAudio) -> dict[str, Tensor]:
        changes = chordino.chordino_long(audio.samples(chordino.SAMPLE_RATE))
        return {"chords_heard": torch.from_numpy(harmony.changes_to_frames(changes, self.frames(audio), self.codec.frame_rate))}

    def _melody(self, audio: LongAudio) -> dict[str, Tensor]:
        return {"melody": torch.from_numpy(self.salience.of(audio, self.frames(audio)))}

    def _drums(self, audio: LongAudio) -> dict[str, Tensor]:
        drums, drumless = self.separator.separate(audio, self.codec.sample_rate)
        return {
            "codes_drums": self._codes(drums),
            "codes_drums_bandpass": self._codes(bandpass_long(drums)),
            "codes_drumless": self._codes(drumless),
        }

    def _codes(self, samples: Samples) -> Tensor:
        return encode(self.codec, samples)[1]
