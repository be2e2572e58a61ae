"""How far masking latents is from encoding a masked waveform (paper, section 3.1: in- and outpainting).

Training masks pre-extracted latents: kept frames are those of the whole recording, masked ones the codec's silence. The paper silences the
waveform and encodes that. The two differ where the encoder's reach crosses an edge of the mask; this says by how much.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.files import audio_files, read_audio
from jasco_pl.codec import Codec, load_codec
from jasco_pl.controls.painting import masked_segment
from jasco_pl.system.errors import UserError
from jasco_pl.system.seeding import generator

REACH = 5  # frames on either side of an edge that are listed one by one


def distances(wav: Tensor, codec: Codec, first: int, last: int) -> tuple[Tensor, Tensor]:
    """Distance a frame between latents masked in [first, last) and the latents of the waveform masked there.

    Args:
        wav: [1, S].
        codec: encodes it.
        first, last: masked frames.

    Returns:
        Root mean square over channels in units of the latents' standard deviation, [T]; and the same between the whole recording and
        silence, [T], as a scale for it.
    """
    masked = codec.padded(wav).clone()
    masked[:, first * codec.hop : last * codec.hop] = 0
    whole, paper = codec.encode(wav[None])[0], codec.encode(masked[None])[0]
    ours = whole.clone()
    ours[first:last] = codec.silence
    off, scale = (((a - b) / codec.latent_std).square().mean(dim=-1).sqrt() for a, b in ((ours, paper), (whole, codec.silence)))
    return off, scale


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Codec, audio, number of files."""
    parser.add_argument("--codec", required=True, metavar="CODEC", help="folder or Hub id of the codec")
    parser.add_argument("--audio", required=True, metavar="DIR", help="folder of audio files; of composed pieces the mixes")
    parser.add_argument("--limit", type=int, default=12, help="number of files (default %(default)s)")
    parser.add_argument("--masks", type=int, default=8, help="masks a file (default %(default)s)")


@torch.inference_mode()
def run(args: argparse.Namespace) -> int:
    """Print a table of distances by place."""
    codec = load_codec(args.codec)
    files = audio_files(args.audio)[: args.limit]
    places: dict[str, list[Tensor]] = {}
    for path in tqdm(files, desc="masking", unit="file"):
        wav = read_audio(path, codec.sample_rate, max_seconds=10.0)
        frames = codec.padded(wav).shape[-1] // codec.hop
        if frames < 4 * REACH:
            raise UserError(f"{str(path)!r} is too short: at least {4 * REACH / codec.frame_rate:g} seconds are wanted.")
        for number in range(args.masks):
            first, last = masked_segment(frames, generator("masking", path.name, number))
            off, scale = distances(wav, codec, first, last)
            places.setdefault("whole recording against silence (scale)", []).append(scale)
            kept = torch.cat([off[: max(first - REACH, 0)], off[last + REACH :]])
            places.setdefault(f"kept, further than {REACH} frames from an edge", []).append(kept)
            places.setdefault(f"masked, further than {REACH} frames from an edge", []).append(off[first + REACH : last - REACH])
            for step in range(1, REACH + 1):
                near = [off[first - step : first - step + 1] if first >= step else off[:0], off[last + step - 1 : last + step]]
                places.setdefault(f"kept, frame {step} from an edge", []).append(torch.cat(near))
                inner = [off[first + step - 1 : first + step], off[last - step : last - step + 1] if last < frames else off[:0]]
                places.setdefault(f"masked, frame {step} from an edge", []).append(torch.cat(inner))
    print("| where | mean | 95th percentile |\n|---|---|---|")
    for name, parts in places.items():
        values = torch.cat(parts)
        print(f"| {name} | {values.mean():.3f} | {values.quantile(0.95):.3f} |")
    return 0
