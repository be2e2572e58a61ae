"""A codec's latents of audio of any length, and its first-codebook codes."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.long_audio import LongAudio, Samples
from jasco_pl.codec.base import Codec
from jasco_pl.extract.stage import Field, Piece, Stage

WINDOW_SECONDS = 60.0


def encode(codec: Codec, samples: Samples, window_seconds: float = WINDOW_SECONDS, progress: bool = False) -> tuple[Tensor, Tensor]:
    """Encode window by window, each with the codec's `context` on either side; memory is that of one window, and the result's.

    Args:
        codec: runs where its weights are.
        samples: at the codec's rate.
        window_seconds: how much is encoded at once.
        progress: show a bar where there is more than one window.

    Returns:
        Latents float32 [T, dim] and first-codebook codes int16 [T] on the CPU, T = ceil(S / hop). They are those of the whole up to
        rounding where the codec's context is exact, and nearly so where it is not.
    """
    if samples.rate != codec.sample_rate:
        raise ValueError(f"the codec hears {codec.sample_rate} samples a second, not {samples.rate}")
    hop, device = codec.hop, codec.latent_mean.device
    frames = -(-len(samples) // hop)
    latents, codes = torch.empty(frames, codec.dim), torch.empty(frames, dtype=torch.int16)
    length = max(1, round(window_seconds * codec.frame_rate))
    with (
        torch.inference_mode(),
        tqdm(total=-(-frames // length), desc="latents", unit="window", disable=not progress or frames <= length) as bar,
    ):
        for number, (window, before, own) in enumerate(samples.windows(length * hop, codec.context * hop)):
            kept = slice(before // hop, before // hop + -(-own // hop))
            heard = codec.encode(torch.from_numpy(window)[None, None].to(device))[:, kept]
            place = slice(number * length, number * length + heard.shape[1])
            latents[place], codes[place] = heard[0].cpu(), codec.codes(heard)[0].short().cpu()
            bar.update()
    return latents, codes


def clip_codes(codec: Codec, wav: Tensor) -> tuple[Tensor, Tensor]:
    """Latents [T, dim] and first-codebook codes int16 [T] of one clip [1, S], encoded at once."""
    latents = codec.encode(wav[None])
    return latents[0], codec.codes(latents)[0].to(torch.int16)


def fingerprint(codec: Codec) -> int:
    """Changes with whatever the latents' statistics and the codes depend on."""
    values = torch.cat([part.detach().cpu().flatten() for part in (codec.latent_mean, codec.latent_std, codec.codebook)])
    return zlib.crc32(values.numpy().tobytes())


class Latents(Stage):
    """The codec's latents of the mix, not normalised, which every sample has, and the codes of the mix."""

    name = "codec"
    fields = (Field("latents", torch.float16, 0.0), Field("codes_mix", torch.int16, -1))

    def fingerprint(self) -> str:
        return f"{fingerprint(self.codec):08x}"

    def of_recording(self, audio: LongAudio) -> dict[str, Tensor]:
        latents, codes = encode(self.codec, audio.samples(self.codec.sample_rate))
        return {"latents": latents.half(), "codes_mix": codes}

    def of_piece(self, piece: Piece) -> dict[str, Tensor]:
        latents, codes = clip_codes(self.codec, piece.stems["mix"])
        return {"latents": latents.half(), "codes_mix": codes}
