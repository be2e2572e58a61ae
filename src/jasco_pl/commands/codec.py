"""The embedded codec: fit it to composed pieces, measure what survives it.

jasco codec fit --pieces data/pieces/train --out checkpoints/codec-mine
jasco codec report --codec checkpoints/codec-mini --audio data/pieces/test
jasco codec report --codec checkpoints/codec-mini runs/other --audio data/pieces/test --image out/spectra.png
jasco codec masking --codec checkpoints/codec-mini --audio data/pieces/test
jasco codec remake --checkpoint checkpoints/jasco-mini --shards data/shards/train --out data/remade
"""

from __future__ import annotations

import argparse
from pathlib import Path

from jasco_pl.audio.files import audio_files
from jasco_pl.codec import load_codec
from jasco_pl.codec.embedded import BandCodecConfig, fit_band_codec, is_band_codec
from jasco_pl.evaluation.codec_report import codec_report, draw_round_trips, markdown, masking_report, spread_over
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import loads, write_json
from jasco_pl.system.intervals import require


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Subcommands fit, report, masking and remake."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="fit|report|masking|remake")
    fit = actions.add_parser("fit", help="latent statistics and residual codebooks from composed pieces")
    fit.add_argument("--pieces", required=True, metavar="DIR", help="folder that `jasco compose` filled")
    fit.add_argument("--out", required=True, metavar="DIR", help="folder of the codec")
    fit.add_argument("--codebook-size", type=int, default=BandCodecConfig.codebook_size, help="entries a codebook (default %(default)s)")
    fit.add_argument("--codebooks", type=int, default=BandCodecConfig.codebooks, help="levels of quantisation (default %(default)s)")
    fit.add_argument("--seed", type=int, default=0, help="of the k-means (default %(default)s)")
    report = actions.add_parser("report", help="chord IoU, onset F1, mel and pitch distance, hum and clicks of reconstructions; speed")
    shipped = "checkpoints/codec-mini"
    report.add_argument(
        "--codec",
        nargs="+",
        default=[shipped],
        help=f"folder, or a Hub id of EnCodec; several are compared (default: {shipped})",
    )
    report.add_argument("--audio", required=True, help="folder of audio; of composed pieces the mixes are used")
    report.add_argument("--limit", type=int, default=None, help="number of files, spread evenly (default: all)")
    report.add_argument("--seconds", type=float, default=10.0, help="how much of each file, from its start (default: %(default)s)")
    report.add_argument("--json", default=None, help="also write the figures there, codec by codec and clip by clip")
    report.add_argument("--image", metavar="FILE", help="also draw there spectra of three of the files and of their round trips, as PNG")
    masking = actions.add_parser("masking", help="what in/outpainting loses by masking latents in place of the waveform")
    masking.add_argument("--codec", required=True, metavar="CODEC", help="folder or Hub id of the codec")
    masking.add_argument("--audio", required=True, metavar="DIR", help="folder of audio files; of composed pieces the mixes")
    masking.add_argument("--limit", type=int, default=12, help="number of files, spread evenly (default %(default)s)")
    masking.add_argument("--masks", type=int, default=8, help="masks a file (default %(default)s)")
    remake = actions.add_parser("remake", help="latents as a model makes them of recordings, for the vocoder to learn from")
    remake.add_argument("--checkpoint", default="checkpoints/jasco-mini", metavar="DIR", help="the model (default: %(default)s)")
    remake.add_argument("--shards", required=True, metavar="DIR", help="the recordings' shards, which hold latents and conditions")
    remake.add_argument("--out", required=True, metavar="DIR", help="folder of the crops; `--data.remade` of `jasco fit-codec`")
    remake.add_argument("--crops", type=int, default=512, help="crops of the model's length (default %(default)s)")
    remake.add_argument(
        "--earliest", type=float, default=0.6, help="earliest flow time that a recording is noised to (default %(default)s)"
    )
    remake.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the network's evaluations (default %(default)s)")
    remake.add_argument("--seed", type=int, default=0, help="of crops and noise (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    require("[1, inf)", **{f"--{name}": getattr(args, name, None) for name in ("limit", "masks", "crops")})
    return {"fit": _fit, "report": _report, "masking": _masking, "remake": _remake}[args.action](args)


def _fit(args: argparse.Namespace) -> int:
    out = Path(args.out)
    if is_band_codec(out) and loads((out / "config.json").read_bytes()).get("decoder") == "vocoder":
        raise UserError(f"{args.out!r} holds a codec with a trained vocoder, which would be lost: name another folder.")
    codec = fit_band_codec(args.pieces, BandCodecConfig(codebook_size=args.codebook_size, codebooks=args.codebooks), seed=args.seed)
    codec.save_pretrained(args.out)
    print(f"wrote {args.out}")
    return 0


def _report(args: argparse.Namespace) -> int:
    names = [Path(name).name for name in args.codec]
    if len(set(names)) < len(names):
        raise UserError("--codec names two folders of one name: rows of the table would be called the same.")
    codecs = {name: load_codec(where).eval() for name, where in zip(names, args.codec, strict=True)}
    files = audio_files(args.audio)
    if args.image:
        draw_round_trips(args.image, codecs, spread_over(files, min(3, args.limit or 3)), args.seconds)
    reports = {}
    for (name, codec), where in zip(codecs.items(), args.codec, strict=True):
        report = codec_report(codec, files, args.seconds, args.limit)
        report["codec"] = str(where)
        report["parameters"] = sum(parameter.numel() for parameter in codec.parameters())
        if (folder := Path(where)).is_dir():
            report["mib"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
        reports[name] = report
    print(markdown(reports))
    print(f"{report['clips']} clips of {report['seconds']:g} s, {report['threads']} threads; ± is half of the 95 % bootstrap interval")
    for name, report in reports.items():
        size = f", {report['mib']:.2f} MiB on disk" if "mib" in report else ""
        print(f"{name}: {report['parameters'] / 1e6:.2f}M parameters{size}")
    if args.json:
        write_json(args.json, list(reports.values()))
    return 0


def _masking(args: argparse.Namespace) -> int:
    print(masking_report(load_codec(args.codec), spread_over(audio_files(args.audio), args.limit), args.masks), end="")
    return 0


def _remake(args: argparse.Namespace) -> int:
    from jasco_pl.network.model import JascoModel  # here: the others need no model
    from jasco_pl.training.vocoder.remade import remake

    model, half = JascoModel.from_pretrained(args.checkpoint).eval(), args.precision == "bf16"
    remake(model, args.shards, args.out, args.crops, earliest=args.earliest, seed=args.seed, half=half)
    return 0
