"""Write a set of composed pieces: FLAC stems and JSON, resumable, the same bits whatever the number of workers.

jasco compose --out data/pieces/train --split train --hours 6 --workers 2
jasco compose --out data/pieces/train --split train --hours 45 --workers 15 --shards data/shards/train    # encoded meanwhile
"""

from __future__ import annotations

import argparse
import sys

from jasco_pl.compose.edition import EDITIONS
from jasco_pl.compose.pieces import SPLITS, compose_set, plan_set
from jasco_pl.compose.soundfonts import DEFAULT, FONTS
from jasco_pl.system.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `jasco compose`."""
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write the pieces to")
    parser.add_argument("--hours", type=float, default=0.5, help="hours of audio (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the set (default %(default)s); splits never share music")
    parser.add_argument("--split", choices=SPLITS, default="train", help="which split to compose (default %(default)s)")
    parser.add_argument(
        "--soundfont",
        action="append",
        metavar="FILE",
        help=f"an .sf2 or .sf3 file, or one of {', '.join(FONTS)}, which is looked for and fetched if need be (default {DEFAULT});"
        " given several times, each piece of edition 2 gets one of them",
    )
    parser.add_argument(
        "--edition",
        type=int,
        choices=sorted(EDITIONS),
        default=1,
        metavar="N",
        help="1: even pieces, as ever; 2: sections that differ and have captions of their own, levels and tempi that move, drums that"
        " may lie far behind, fuller styles (default %(default)s)",
    )
    parser.add_argument(
        "--arrangement",
        type=int,
        default=0,
        metavar="N",
        help="0: the pieces; 1, 2, ...: the same chords, melodies and drum hits by other bands, under the same names (default %(default)s)",
    )
    parser.add_argument(
        "--bands",
        type=int,
        default=1,
        metavar="N",
        help="each piece by N bands in one set, under names of their own, so that sounds come apart from controls; all count as hours"
        " (default %(default)s)",
    )
    parser.add_argument("--workers", type=int, default=1, help="processes (default %(default)s); the result is the same")
    parser.add_argument(
        "--shards",
        metavar="DIR",
        help="encode the pieces meanwhile into this folder, as `jasco shards build` would when all are there: its index lists the first"
        " shards as soon as they make up --first hours, and more of them from time to time, so that `jasco fit --data.grow true` can train",
    )
    parser.add_argument(
        "--codec", default="checkpoints/codec-mini", metavar="P", help="of --shards: folder or Hub id (default %(default)s)"
    )
    parser.add_argument("--first", type=float, default=1.0, metavar="HOURS", help="of --shards, see there (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Carry out `jasco compose`."""
    which = {"soundfont": args.soundfont, "arrangement": args.arrangement, "edition": args.edition, "bands": args.bands}
    if args.shards:
        from jasco_pl.prepare.together import compose_shards  # here: composing alone needs no network

        if not args.first >= 0:
            raise UserError(f"--first {args.first:g} hours: 0 or more is accepted.")
        planned = plan_set(args.out, args.hours, args.seed, args.split, **which)
        index = compose_shards(planned, args.shards, args.codec, args.workers, args.first)
        pieces = sum(len(shard["samples"]) for shard in index["shards"])
        print(
            f"{pieces} pieces of the {args.split} split are in {args.out}, as {len(index['shards'])} shards in {args.shards}",
            file=sys.stderr,
        )
    else:
        paths = compose_set(args.out, args.hours, args.seed, args.split, workers=args.workers, **which)
        print(f"{len(paths)} pieces of the {args.split} split are in {args.out}", file=sys.stderr)
    return 0
