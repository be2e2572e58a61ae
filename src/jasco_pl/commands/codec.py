"""The embedded codec: fit it to composed pieces, measure what survives it.

jasco codec fit --pieces data/pieces/train --out checkpoints/codec-mini
jasco codec report --codec checkpoints/codec-mini --audio data/pieces/test
jasco codec masking --codec checkpoints/codec-mini --audio data/pieces/test
"""

from __future__ import annotations

import argparse

from jasco_pl.codec.embedded import BandCodecConfig
from jasco_pl.studies import codec_masking as masking
from jasco_pl.studies import codec_report as report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Subcommands fit, report and masking."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="fit|report|masking")
    fit = actions.add_parser("fit", help="latent statistics and residual codebooks from composed pieces")
    fit.add_argument("--pieces", required=True, metavar="DIR", help="folder that `jasco compose` filled")
    fit.add_argument("--out", required=True, metavar="DIR", help="folder of the codec")
    fit.add_argument("--codebook-size", type=int, default=BandCodecConfig.codebook_size, help="entries a codebook (default %(default)s)")
    fit.add_argument("--codebooks", type=int, default=BandCodecConfig.codebooks, help="levels of quantisation (default %(default)s)")
    fit.add_argument("--seed", type=int, default=0, help="of the k-means (default %(default)s)")
    report.add_arguments(actions.add_parser("report", help="chord IoU, onset F1, mel distance, hum and clicks of reconstructions; speed"))
    masking.add_arguments(actions.add_parser("masking", help="what in/outpainting loses by masking latents in place of the waveform"))


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    if args.action != "fit":
        return {"report": report, "masking": masking}[args.action].run(args)
    from jasco_pl.codec.fit import fit_band_codec

    codec = fit_band_codec(args.pieces, BandCodecConfig(codebook_size=args.codebook_size, codebooks=args.codebooks), seed=args.seed)
    codec.save_pretrained(args.out)
    print(f"wrote {args.out}")
    return 0
