"""What every codec here offers: waveform <-> latents <-> first-codebook codes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional


class Codec(nn.Module, ABC):
    """Waveforms [B, 1, S] at `sample_rate` <-> latents [B, T, dim] at `frame_rate`, T = ceil(S / hop), S and T at least 1, float32.

    Attributes:
        sample_rate: Hz.
        hop: samples a latent frame.
        dim: channels of the latents.
        context: latent frames on either side of one that its value depends on, for encoding long audio in windows;
            exact for convolutions and Fourier transforms, a fair number where a recurrent network remembers for ever.
        latent_mean, latent_std: statistics of the latents, [dim]; the flow model works on (latents - mean) / std.
    """

    sample_rate: int
    hop: int
    dim: int
    context: int
    latent_mean: Tensor
    latent_std: Tensor

    @property
    def frame_rate(self) -> float:
        """Latent frames a second."""
        return self.sample_rate / self.hop

    @property
    @abstractmethod
    def codebook(self) -> Tensor:
        """Vectors of the first codebook in the latents' space, [codebook_size, dim]."""

    @abstractmethod
    def encode(self, wav: Tensor) -> Tensor:
        """[B, 1, S] -> continuous latents before quantisation, [B, T, dim]."""

    @abstractmethod
    def decode(self, latents: Tensor, around: int = 0) -> Tensor:
        """[B, T, dim] -> [B, 1, T * hop]; the latents need not be quantised.

        So many frames `around` a loop, at either end, are those that come before its beginning and behind its end: where a codec has to
        choose phases, what lies between them is a loop too. They are fewer than T / 2.
        """

    def decode_part(self, latents: Tensor, first: int, last: int, end: int | None = None) -> Tensor:
        """What `decode` would give for frames [first, last) of a clip, as far as a second around them tells: [B, 1, (last - first) * hop].

        Args:
            latents: of the whole clip, [B, T, dim].
            first, last: the part.
            end: frames that are known; those after it are not looked at. None is all.
        """
        around = round(self.frame_rate)
        begin, end = max(0, first - around), min(latents.shape[1] if end is None else end, last + around)
        wav = self._decode_from(latents[:, begin:end], begin)
        return wav[..., (first - begin) * self.hop : (last - begin) * self.hop]

    def _decode_from(self, latents: Tensor, first: int) -> Tensor:
        """`decode` for frames that are those from `first` on of a clip."""
        return self.decode(latents)

    @abstractmethod
    def codes(self, latents: Tensor) -> Tensor:
        """First-codebook entry of every frame, [B, T, dim] -> long [B, T]."""

    @property
    def normalized_codebook(self) -> Tensor:
        """The first codebook as the flow model sees latents."""
        return (self.codebook - self.latent_mean) / self.latent_std

    @property
    @torch.no_grad()
    def silence(self) -> Tensor:
        """The latent frame of digital silence, [dim]: the middle of two seconds, away from what the ends do."""
        nothing = torch.zeros(1, 1, 2 * self.sample_rate, device=self.latent_mean.device)
        latents = self.encode(nothing)[0]
        return latents[len(latents) // 2].clone()

    @property
    def normalized_silence(self) -> Tensor:
        """The same as the flow model sees latents."""
        return (self.silence - self.latent_mean) / self.latent_std

    def padded(self, wav: Tensor) -> Tensor:
        """Zeros at the end, up to a whole number of frames."""
        return functional.pad(wav, (0, -wav.shape[-1] % self.hop))

    @abstractmethod
    def save_pretrained(self, folder: str | Path) -> None:
        """Write config and safetensors weights."""


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Index of the nearest row of codebook [K, C] for vectors [..., C]."""
    scores = vectors @ codebook.t() - 0.5 * codebook.square().sum(1)
    return torch.argmax(scores, dim=-1)
