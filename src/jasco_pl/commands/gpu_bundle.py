"""A short time on a GPU machine that has PyTorch and no network: one folder goes there, results come back in pieces.

jasco gpu-bundle build --out out/gpu-bundle --python 3.12
sh out/gpu-bundle/run.sh train results 12        # there: compose, build shards, train until 12 minutes are over; also decoder, bench
jasco gpu-bundle join results -o out/joined
jasco generate --checkpoint out/joined/train/jasco-mini --chords "C | G | Am | F" --bpm 96 -o out/
"""

from __future__ import annotations

import argparse
import os


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Subcommands build, run, join."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="build|run|join")
    build = actions.add_parser("build", help="make the folder: wheels, SoundFont, text encoder, Chordino, codec, code; at most 60 MiB")
    build.add_argument("--out", default="out/gpu-bundle", metavar="DIR", help="the folder (default %(default)s)")
    build.add_argument("--python", metavar="VERSION", help="of the machine's Python, such as 3.12 (default: this one's)")
    build.add_argument("--soundfont", metavar="FILE", help=".sf2 or .sf3 file (default: as for jasco compose)")
    sizes = (
        "Sizes are variables: HOURS (train 45, decoder 2, bench 0.2) and VALID_HOURS (0.1) of music, WORKERS (one a core), BATCH, TURNS "
        "and STEPS of tables (theirs, 10, 10), ARGS (appended to the commands that train)."
    )
    run = actions.add_parser("run", help="what run.sh in that folder starts", description=f"Run a job from a bundle. {sizes}")
    run.add_argument("job", metavar="JOB", help="train, decoder or bench")
    run.add_argument("out", metavar="OUT", help="folder for its results, in pieces of 15 MiB")
    run.add_argument("--minutes", type=float, default=12.0, metavar="M", help="that it may take (default %(default)g)")
    join = actions.add_parser("join", help="check the pieces and put results together again")
    join.add_argument("folder", metavar="DIR", help="the pieces, of one job or several")
    join.add_argument("-o", "--out", required=True, metavar="DIR", help="gets a folder a job")


def run(args: argparse.Namespace) -> int:
    """0, or 1 where a job failed."""
    return {"build": _build, "run": _run, "join": _join}[args.action](args)


def _build(args: argparse.Namespace) -> int:
    from jasco_pl.studies.gpu_bundle.build import build

    size = build(args.out, args.python, args.soundfont)
    print(f"wrote {args.out}: {size / 2**20:.1f} MiB")
    return 0


def _run(args: argparse.Namespace) -> int:
    from jasco_pl.studies.gpu_bundle.jobs import start

    return start(args.job, args.out, args.minutes, os.environ)


def _join(args: argparse.Namespace) -> int:
    from jasco_pl.studies.gpu_bundle.pieces import join

    for folder in join(args.folder, args.out):
        print(f"wrote {folder}")
    return 0
