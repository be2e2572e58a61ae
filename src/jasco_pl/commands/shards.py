"""Prepared data: build shards from composed pieces, verify every byte of them, say what they hold, see and hear one sample, put sets
together, divide them, bring them into an object store.

jasco shards build --pieces data/pieces/train --out data/shards/train --workers 2
jasco shards verify data/shards/train
jasco shards info s3://bucket/shards/train
jasco shards show data/shards/train train-1-000004 --stems
jasco shards merge data/music data/shards/train --out data/all
jasco shards split data/music --valid 0.05 --test 0.05 --out data/divided
jasco shards push data/divided/train s3://bucket/music/train
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile

from jasco_pl.data.remote import CacheOptions
from jasco_pl.data.shards import ShardReader
from jasco_pl.system.errors import UserError

_DIR = "folder or URL (s3://, gs://, hf://, file://)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Subcommands build, verify, info, show, merge, split, push."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="build|verify|info|show|merge|split|push")
    build = actions.add_parser("build", help="encode composed pieces into shards; goes on where it was interrupted")
    build.add_argument("--pieces", required=True, metavar="DIR", help="folder that `jasco compose` filled")
    build.add_argument("--out", required=True, metavar="DIR", help="folder of the shards")
    build.add_argument("--codec", default="checkpoints/codec-mini", metavar="P", help="codec folder or Hub id (default %(default)s)")
    build.add_argument("--workers", type=int, default=1, help="processes (default %(default)s); the result is the same")
    build.add_argument("--pieces-per-shard", type=int, default=24, help="pieces in one file (default %(default)s)")

    verify = actions.add_parser("verify", help="read every field and compare its checksum")
    verify.add_argument("folder", metavar="DIR", help=_DIR)

    info = actions.add_parser("info", help="say what the shards hold")
    info.add_argument("folder", metavar="DIR", help=_DIR)
    read = "samples whose chords and melody are looked at, or `all` (default: 400 of a folder, none of a URL)"
    info.add_argument("--read", type=_count, metavar="N", help=read)
    info.add_argument("--json", action="store_true", help="print JSON")

    show = actions.add_parser("show", help="draw one sample and write its sound")
    show.add_argument("folder", metavar="DIR", help=_DIR)
    show.add_argument("id", nargs="?", metavar="ID", help="of the sample, or the beginning of it (default: the first)")
    show.add_argument("--random", action="store_true", help="take any sample")
    show.add_argument("--seed", type=int, help="of that choice")
    show.add_argument("--start", type=float, default=0.0, metavar="S", help="second to begin at (default %(default)g)")
    show.add_argument("--seconds", type=float, default=30.0, metavar="S", help="how long (default %(default)g)")
    show.add_argument("--stems", action="store_true", help="write the parts too, decoded from their codes: all that a model hears of them")
    show.add_argument("--codec", metavar="P", help="codec folder or Hub id, if it is not where it was when the set was made")
    show.add_argument("--format", choices=("flac", "wav"), default="flac", help="of the sound (default %(default)s)")
    show.add_argument("-o", "--out", default="out/show", metavar="DIR", help="where the files go (default %(default)s)")

    merge = actions.add_parser("merge", help="put sets of one codec into one; goes on where it was interrupted")
    merge.add_argument("folders", nargs="+", metavar="DIR", help=_DIR)
    merge.add_argument("--skip-duplicates", action="store_true", help="of samples with the same id take the first, instead of refusing")

    split = actions.add_parser("split", help="divide a set into train, valid and test that share no recording")
    split.add_argument("folder", metavar="DIR", help=_DIR)
    split.add_argument("--valid", type=float, default=0.05, metavar="P", help="share of the recordings (default %(default)g)")
    split.add_argument("--test", type=float, default=0.0, metavar="P", help="share of the recordings (default %(default)g)")
    split.add_argument("--seed", type=int, default=0, help="another one, another division (default %(default)s)")
    for action in (merge, split):
        action.add_argument("--out", required=True, metavar="DIR", help="folder of the result; it may be a former one, to grow")
        action.add_argument("--copy", action="store_true", help="copy shards instead of hard-linking them")

    push = actions.add_parser("push", help="upload a set; goes on where it was interrupted")
    push.add_argument("folder", metavar="DIR", help="folder of the set")
    push.add_argument("url", metavar="URL", help="folder in the store: s3://, gs://, hf://, file://")
    push.add_argument("--verify", action="store_true", help="read every shard back and compare it")
    push.add_argument("--connections", type=int, default=4, metavar="N", help="shards sent at a time (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """0, or 1 if `verify` found damage."""
    actions = {"build": _build, "verify": _verify, "info": _info, "show": _show, "merge": _merge, "split": _split, "push": _push}
    return actions[args.action](args)


def _count(text: str) -> int:
    if text == "all":
        return 2**62
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of samples nor `all`")
    return int(text)


def _build(args: argparse.Namespace) -> int:
    from jasco_pl.prepare.composed import build_shards

    index = build_shards(args.pieces, args.out, args.codec, args.workers, args.pieces_per_shard)
    print(f"{sum(len(shard['samples']) for shard in index['shards'])} samples in {len(index['shards'])} shards: {args.out}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    damaged, sealed, sound = 0, True, True
    with tempfile.TemporaryDirectory() as anew:  # what the store holds is to be verified, not what was fetched some time ago
        reader = ShardReader(args.folder, check=False, cache=CacheOptions(anew, prefetch=0))
        with tqdm(total=len(reader), desc="verify", unit="sample") as bar:
            try:
                sealed = reader.verify_index()
            except UserError as wrong:
                sound = False
                bar.write(str(wrong), file=sys.stderr)
            for samples, error in reader.verify():
                if error is not None:
                    damaged += samples
                    bar.write(str(error))
                bar.update(samples)
            sides = list(reader.verify_sides())
            for damage in sides:
                bar.write(str(damage), file=sys.stderr)
    told = [f"{len(reader) - damaged} of {len(reader)} samples are sound"]
    told += [] if sound else ["the index is not"]
    told += [f"{len(sides)} of the files beside shards are not"] if sides else []
    print(f"{', '.join(told)}.")
    if not sealed:
        print(
            "note: index.json is of a version that gave it no checksum: captions and codec are not verified; "
            "preparing the set again, or `jasco shards merge`, gives it one"
        )
    return 1 if damaged or not sound or sides else 0


def _info(args: argparse.Namespace) -> int:
    from jasco_pl.data.summary import READ, as_text, summarize

    reader = ShardReader(args.folder, cache=CacheOptions(prefetch=0))
    default = 0 if reader.remote else READ
    summary = summarize(reader, default if args.read is None else args.read)
    print(json.dumps(summary, indent=1, ensure_ascii=False) if args.json else as_text(summary))
    return 0


def _show(args: argparse.Namespace) -> int:
    from jasco_pl.codec import load_codec
    from jasco_pl.data import show
    from jasco_pl.data.summary import fingerprints
    from jasco_pl.extract.latents import fingerprint

    if args.random and args.id is not None:
        raise UserError(f"either the id {args.id!r} or --random, not both.")
    if args.seed is not None and not args.random:
        raise UserError("--seed belongs to --random.")
    reader = ShardReader(args.folder, cache=CacheOptions(prefetch=0))
    position = show.draw_position(reader, args.seed) if args.random else 0 if args.id is None else show.find(reader, args.id)
    codec = load_codec(args.codec or reader.codec["name"], args.folder)
    made_by = fingerprints(reader)
    excerpt = show.decode(reader.read(position), codec, args.start, args.seconds, args.stems)
    print(show.describe(excerpt, codec.frame_rate))
    for path in show.write(args.out, excerpt, codec, f".{args.format}", args.stems):
        print(path)
    if made_by and made_by != [f"{fingerprint(codec):08x}"]:
        name = args.codec or reader.codec["name"]
        print(f"note: the codec {name} is not the one that made the set, or was fitted anew since: judge nothing by the sound")
    return 0


def _merge(args: argparse.Namespace) -> int:
    from jasco_pl.data.split import merge
    from jasco_pl.data.summary import field_counts

    merge(args.folders, args.out, args.copy, args.skip_duplicates)
    reader = ShardReader(args.out)
    left_out = sum(len(ShardReader(folder, check=False)) for folder in args.folders) - len(reader)
    print(f"{len(reader)} samples in {len(reader.shards)} shards: {args.out}" + (f"; {left_out} duplicates left out" if left_out else ""))
    for field, count in field_counts(reader).items():
        if count < len(reader):
            print(f"note: {count} of them have the field {field}")
    return 0


def _split(args: argparse.Namespace) -> int:
    from jasco_pl.data.split import recording, split

    for name, reader in split(args.folder, args.out, args.valid, args.test, args.seed, args.copy).items():
        recordings = len(set(map(recording, reader.ids)))
        print(f"{name:6}{len(reader):8} samples of {recordings} recordings, {reader.hours:.2f} h: {reader.location}")
    return 0


def _push(args: argparse.Namespace) -> int:
    from jasco_pl.data.push import push

    done = push(args.folder, args.url, args.verify, args.connections)
    print(f"{done.sent} shards sent ({done.bytes / 1e6:.1f} MB), {done.kept} were there: {args.url}")
    return 0
