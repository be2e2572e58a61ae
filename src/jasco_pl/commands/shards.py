"""Prepared data: build shards from composed pieces, verify every byte of them, say what they hold.

jasco shards build --pieces data/pieces/train --out data/shards/train --workers 2
jasco shards verify data/shards/train
jasco shards info s3://bucket/shards/train
"""

from __future__ import annotations

import argparse
import tempfile

from jasco_pl.data.remote import CacheOptions
from jasco_pl.data.shards import ShardReader


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Subcommands build, verify, info."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="build|verify|info")
    build = actions.add_parser("build", help="encode composed pieces into shards; goes on where it was interrupted")
    build.add_argument("--pieces", required=True, metavar="DIR", help="folder that `jasco compose` filled")
    build.add_argument("--out", required=True, metavar="DIR", help="folder of the shards")
    build.add_argument("--codec", default="checkpoints/codec-mini", metavar="P", help="codec folder or Hub id (default %(default)s)")
    build.add_argument("--workers", type=int, default=1, help="processes (default %(default)s); the result is the same")
    build.add_argument("--pieces-per-shard", type=int, default=24, help="pieces in one file (default %(default)s)")
    for name, text in (("verify", "read every field and compare its checksum"), ("info", "say what the shards hold")):
        actions.add_parser(name, help=text).add_argument("folder", metavar="DIR", help="folder or URL (s3://, gs://, hf://, file://)")


def run(args: argparse.Namespace) -> int:
    """0, or 1 if `verify` found damage."""
    if args.action == "build":
        from jasco_pl.data.build import build_shards

        index = build_shards(args.pieces, args.out, args.codec, args.workers, args.pieces_per_shard)
        print(f"{sum(len(shard['samples']) for shard in index['shards'])} samples in {len(index['shards'])} shards: {args.out}")
        return 0
    if args.action == "verify":
        with tempfile.TemporaryDirectory() as anew:  # what the store holds is to be verified, not what was fetched some time ago
            return _verify(ShardReader(args.folder, check=False, cache=CacheOptions(anew, prefetch=0)))
    reader = ShardReader(args.folder)
    frames = sum(entry["frames"] for entry in reader.entries)
    print(f"samples   {len(reader)}")
    print(f"shards    {len(set(reader.files))}")
    print(f"length    {frames / float(reader.codec['frame_rate']) / 3600:.2f} h")
    print(f"codec     {reader.codec['name']} ({reader.codec['dim']} channels at {reader.codec['frame_rate']:g} Hz)")
    print(f"fields    {', '.join(reader.entries[0]['crc32'])}")
    print(f"captions  {sum(len(entry['captions']) for entry in reader.entries)}")
    return 0


def _verify(reader: ShardReader) -> int:
    from tqdm import tqdm

    damaged = 0
    with tqdm(total=len(reader), desc="verify", unit="sample") as bar:
        for samples, error in reader.verify():
            if error is not None:
                damaged += samples
                bar.write(str(error))
            bar.update(samples)
    print(f"{len(reader) - damaged} of {len(reader)} samples are sound.")
    return 1 if damaged else 0
