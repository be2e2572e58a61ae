"""How fast this machine is at it.

jasco bench data data/shards/train
jasco bench data data/shards/train s3://bucket/shards/train --workers 0 2 4
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Subcommand data."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="data")
    data = actions.add_parser("data", help="samples/s, MB/s and data wait of folders and URLs, cold and warm, as a Markdown table")
    data.add_argument("shards", nargs="*", default=["data/shards/train"], metavar="SHARDS", help="folders or URLs (default %(default)s)")
    data.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="loader processes (default 0 1 2)")
    data.add_argument("--batch-size", type=int, default=16, metavar="N", help="samples a batch (default %(default)s)")
    data.add_argument("--batches", type=int, default=50, metavar="N", help="batches a figure, at most an epoch (default %(default)s)")
    data.add_argument("--seconds", type=float, default=10.0, metavar="S", help="length of a crop (default %(default)s)")
    data.add_argument("--step", type=float, default=0.05, metavar="S", help="seconds of the step that waits for data (default %(default)s)")
    data.add_argument("--prefetch-shards", type=int, default=4, metavar="N", help="of URLs, fetched ahead (default %(default)s)")
    data.add_argument("--shuffle-shards", type=int, metavar="N", help="shuffled together (default: folders all, URLs 8)")


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    return _data(args)


def machine() -> str:
    """One line: what ran this."""
    import os
    import platform

    import torch

    return f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, PyTorch {torch.__version__}"


def _data(args: argparse.Namespace) -> int:
    from jasco_pl.data.throughput import DataBench, data_speeds
    from jasco_pl.metrics.report import aligned_table

    title = f"data wait, {args.step * 1000:g} ms a step"
    table = [["shards", "cache", "workers", "samples/s", "MB/s", title, "first batch"]]
    for location in args.shards:
        bench = DataBench(location, args.batch_size, args.seconds, args.batches, args.step, args.prefetch_shards, args.shuffle_shards)
        for speed in data_speeds(bench, args.workers):
            table.append(
                [
                    location,
                    "cold" if speed.cold else "warm",
                    str(speed.workers),
                    f"{speed.samples_per_second:.0f}",
                    f"{speed.megabytes_per_second:.0f}",
                    f"{speed.wait:.0%}",
                    f"{speed.first_batch:.2f} s",
                ]
            )
    print(f"{machine()}; batches of {args.batch_size}, {args.batches} a figure:\n")
    print(aligned_table(table), end="")
    return 0
