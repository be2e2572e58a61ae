"""Audio controls: the first codebook's vectors, blurred in time and squeezed through a bottleneck (paper, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from jasco_pl.audio.levels import to_loudness
from jasco_pl.audio.long_audio import bandpass
from jasco_pl.controls import options
from jasco_pl.controls.adherence import ONSETS
from jasco_pl.controls.base import Control, FrameGrid, Reading
from jasco_pl.controls.inputs import AudioInput, DrumlessInput, DrumsInput, MixInput
from jasco_pl.controls.waveforms import read_waveform


def blur(vectors: Tensor, window: int) -> Tensor:
    """Mean over non-overlapping windows of time, then broadcast back: [B, T, C] -> [B, T, C].

    The last window, if it is not full, is filled by reflection, as the released code does.
    """
    frames = vectors.shape[1]
    if spare := -frames % window:
        mirrored = frames - 2 - torch.arange(spare, device=vectors.device)
        mirrored = mirrored.clamp(min=0)  # a clip shorter than that repeats its first frame
        vectors = torch.cat([vectors, vectors[:, mirrored]], dim=1)
    pooled = functional.avg_pool1d(vectors.transpose(1, 2), window)
    return pooled.repeat_interleave(window, dim=2).transpose(1, 2)[:, :frames]


class AudioControl(Control):
    """First-codebook entry of every frame (-1 = none) -> its vector -> blur -> linear bottleneck.

    The codebook belongs to the codec; the model keeps a copy, so that its checkpoint is complete.

    Args:
        codebook_size: entries of the codec's first codebook.
        codebook_dim: dimension of its vectors.
        dim: output dimension (paper: 2 for drums, 1 for general audio).
        window: blur window in frames (paper: 3 for drums, 5 for general audio).

    Attributes:
        input: how loud recordings are made before the codec hears them.
    """

    input: ClassVar[type[AudioInput]] = MixInput

    dtype = torch.long
    null = -1
    adherence = ONSETS
    codebook: Tensor

    def __init__(self, codebook_size: int, codebook_dim: int, dim: int, window: int) -> None:
        super().__init__()
        self.channels, self.window = dim, window
        self.register_buffer("codebook", torch.zeros(codebook_size, codebook_dim))
        self.projection = nn.Linear(codebook_dim, dim)

    @classmethod
    def check(cls, asked: Mapping[str, Any]) -> None:
        cls.input.check(asked)

    @classmethod
    def sizes(cls, latent_dim: int, codebook_size: int) -> dict[str, int]:
        return {"codebook_size": codebook_size, "codebook_dim": latent_dim}

    def take_codec(self, codebook: Tensor | None, silence: Tensor | None) -> None:
        if codebook is not None:
            self.codebook.copy_(codebook)

    @staticmethod
    def filtered(wav: Tensor, sample_rate: int) -> Tensor:
        """What is done to a waveform [1, S] before the codec sees it: nothing, unless a control says otherwise."""
        return wav

    @classmethod
    def waveform(cls, asked: Mapping[str, Any], sample_rate: int, length: int) -> tuple[Tensor, list[str]]:
        """The audio of a request, [1, length] at that rate, in the time in which a clip follows it; and what a person is told of that.

        A loop is fitted to the tempo where that is asked for, and what is shorter than the clip is repeated.
        """
        name, notes = cls.option.name, list[str]()
        most = round(cls.input.most_seconds(asked, length / sample_rate) * sample_rate)
        wav = read_waveform(asked[name], sample_rate, name, most, notes)
        wav, fitted = cls.input.at_tempo(wav, sample_rate, asked, length / sample_rate)
        wav, notes = wav[:, :length], [*notes, *(f"{name}: {note}" for note in fitted)]
        if wav.shape[-1] < length:
            notes.append(f"{name}: {wav.shape[-1] / sample_rate:.2f} s of audio were repeated to fill the clip")
            wav = wav.repeat(1, -(-length // wav.shape[-1]))[:, :length]
        return wav, notes

    @torch.inference_mode()
    def read(self, asked: Mapping[str, Any], grid: FrameGrid) -> Reading:
        """An audio file, or a waveform [1, S] at the codec's rate, as loud as may be (`FrameGrid.levels`); a shorter one is repeated."""
        codec = grid.codec
        wav, notes = self.waveform(asked, codec.sample_rate, grid.frames * codec.hop)
        if grid.levels:
            wav, gain = to_loudness(wav, codec.sample_rate, self.input.loudness)
            notes += self.input.level_notes(gain)
        wav = self.filtered(wav, codec.sample_rate)
        codes = codec.codes(codec.encode(wav[None].to(codec.latent_mean.device)))
        return Reading(codes[0, : grid.frames].cpu().numpy(), notes)

    def forward(self, raw: Tensor) -> Tensor:
        vectors = self.codebook[raw.clamp(min=0)] * (raw >= 0)[..., None]
        return self.projection(blur(vectors, self.window))


class Drums(AudioControl):
    """The drum stem: window 3, dimension 2."""

    name = "drums"
    field = "codes_drums"
    option, details, heeds = options.DRUMS, DrumsInput.details, DrumsInput.heeds
    input = DrumsInput

    def __init__(self, codebook_size: int, codebook_dim: int, dim: int = 2, window: int = 3) -> None:
        super().__init__(codebook_size, codebook_dim, dim, window)


class BandpassedDrums(Drums):
    """The drum stem between 200 and 800 Hz, which says less of the rest of the mix (section 5: the multi-condition models)."""

    name = "drums_bandpass"
    field = "codes_drums_bandpass"

    @staticmethod
    def filtered(wav: Tensor, sample_rate: int) -> Tensor:
        return bandpass(wav, sample_rate)


class Mix(AudioControl):
    """General audio, the whole mix: window 5, dimension 1."""

    name = "mix"
    field = "codes_mix"
    option = options.MIX

    def __init__(self, codebook_size: int, codebook_dim: int, dim: int = 1, window: int = 5) -> None:
        super().__init__(codebook_size, codebook_dim, dim, window)


class Drumless(Mix):
    """The mix without its drums ("no drm" in table 2), so that a user may give other drums beside it."""

    name = "drumless"
    field = "codes_drumless"
    option = options.DRUMLESS
    input = DrumlessInput
