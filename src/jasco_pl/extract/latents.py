"""A codec's latents of audio of any length."""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.long_audio import Samples
from jasco_pl.codec.base import Codec

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
