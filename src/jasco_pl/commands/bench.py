"""How fast this machine is at it.

jasco bench data data/shards/train
jasco bench data data/shards/train s3://bucket/shards/train --workers 0 2 4
jasco bench data --simulate 4000000 --workers 0 4 8
jasco bench train -c conf/mini.yaml --compile off on --precision 32-true bf16-mixed
jasco bench train -c conf/paper.yaml -c conf/fsdp.yaml --batch-size 32 64 -- --data.seconds 10 --model.checkpointing true
jasco bench train -c conf/mini.yaml --profile 10 --trace out/trace.json.gz
jasco bench generate --precision fp32 bf16
jasco bench generate -c conf/paper.yaml --batch-size 1 8
jasco bench start --program .venv/bin/jasco ../before/.venv/bin/jasco
jasco bench solvers --pieces data/pieces/test --image out/solvers.png
jasco bench salience --threads 2
"""

from __future__ import annotations

import argparse
import itertools
from typing import TYPE_CHECKING

from jasco_pl.commands import bench_clips

if TYPE_CHECKING:
    from jasco_pl.studies.bench_training import TrainBench

PLACES = {None: "as configured", False: "loader", True: "memory"}
"""data.resident -> what --data calls it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Subcommands data, train, generate, start, solvers, salience."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="data|train|generate|start|solvers|salience")
    data = actions.add_parser("data", help="samples/s, MB/s and data wait of folders and URLs, cold and warm, as a Markdown table")
    data.add_argument("shards", nargs="*", default=["data/shards/train"], metavar="SHARDS", help="folders or URLs (default %(default)s)")
    data.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="loader processes (default 0 1 2)")
    data.add_argument("--batch-size", type=int, default=16, metavar="N", help="samples a batch (default %(default)s)")
    data.add_argument("--batches", type=int, default=50, metavar="N", help="batches a figure, at most an epoch (default %(default)s)")
    data.add_argument("--seconds", type=float, default=10.0, metavar="S", help="length of a crop (default %(default)s)")
    data.add_argument("--step", type=float, default=0.05, metavar="S", help="seconds of the step that waits for data (default %(default)s)")
    data.add_argument("--prefetch-shards", type=int, default=4, metavar="N", help="of URLs, fetched ahead (default %(default)s)")
    data.add_argument("--shuffle-shards", type=int, metavar="N", help="shuffled together (default: folders all, URLs 8)")
    data.add_argument(
        "--simulate", type=int, metavar="N", help="measure the index of N samples that are nowhere: time and memory to use it"
    )
    train = actions.add_parser("train", help="step time, samples/s, MFU, memory, and what the framework costs against a plain loop")
    train.add_argument("-c", "--config", action="append", metavar="FILE", help="as for jasco fit, may be repeated (default conf/mini.yaml)")
    train.add_argument("--compile", nargs="+", choices=("off", "on"), default=["off"], help="layers compiled or not (default off)")
    train.add_argument("--data", nargs="+", choices=("loader", "memory"), help="data.resident false, true (default: the configuration's)")
    train.add_argument("--precision", nargs="+", metavar="P", help="32-true, bf16-mixed (default: the configuration's)")
    train.add_argument("--batch-size", type=int, nargs="+", metavar="N", help="samples a step (default: the configuration's)")
    train.add_argument("--turns", type=int, default=20, metavar="N", help="of either loop, that count (default %(default)s)")
    train.add_argument("--steps", type=int, default=1, metavar="N", help="of a turn; 10 on a GPU (default %(default)s)")
    train.add_argument("--warmup", type=int, default=3, metavar="N", help="turns before those that count (default %(default)s)")
    train.add_argument(
        "--profile",
        type=int,
        nargs="?",
        const=5,
        metavar="N",
        help="instead: where the time of a step goes, by kind of kernel, over N steps (5) after --warmup; which attention kernels run",
    )
    train.add_argument("--trace", metavar="FILE", help="of --profile, for Chrome's tracing page or Perfetto: .json or .json.gz")
    train.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="behind --, as for jasco fit: -- --data.seconds 5")
    generate = actions.add_parser("generate", help="latency of a clip by stages, x real time, memory; precisions side by side")
    generate.add_argument("--checkpoint", metavar="DIR", help="model folder (default: the shipped one)")
    generate.add_argument(
        "-c", "--config", action="append", metavar="FILE", help="random weights of this configuration of jasco fit instead, may be repeated"
    )
    generate.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default %(default)s)")
    generate.add_argument(
        "--precision", nargs="+", default=["fp32", "bf16"], metavar="P", help="the first is compared with (default fp32 bf16)"
    )
    generate.add_argument("--batch-size", type=int, nargs="+", default=[1, 8], metavar="N", help="clips at once (default 1 8)")
    generate.add_argument("--seconds", type=float, metavar="S", help="length of a clip (default: the model's)")
    generate.add_argument("--guidance", nargs="+", metavar="SET=WEIGHT", help="as for jasco generate (default: the model's own)")
    generate.add_argument("--solver", metavar="NAME", help="as for jasco generate (default auto)")
    generate.add_argument("--steps", type=int, metavar="N", help="of a fixed-step solver (default: as `jasco generate`)")
    generate.add_argument("--tolerance", type=float, metavar="X", help="of dopri5 (default 1e-5)")
    generate.add_argument("--repeats", type=int, default=5, metavar="N", help="turns that count (default %(default)s)")
    generate.add_argument("--warmup", type=int, default=1, metavar="N", help="turns before them (default %(default)s)")
    generate.add_argument("--threads", type=int, metavar="N", help="of PyTorch (default: its own choice)")
    generate.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise, and of random weights (default %(default)s)")
    generate.add_argument("--json", default="out/bench-generate.json", metavar="FILE", help="all figures (default %(default)s)")
    generate.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="of the configuration, behind --, as for jasco fit")
    bench_clips.add_arguments(actions)
    salience = actions.add_parser("salience", help="the multi-pitch network against a straightforward one: wall and CPU time, difference")
    salience.add_argument("--threads", type=int, metavar="N", help="threads of PyTorch (default: one a core)")
    salience.add_argument("--frames", type=int, default=512, metavar="N", help="frames seen at once, 86 a second (default %(default)s)")
    salience.add_argument("--turns", type=int, default=5, metavar="N", help="of either network, the best counts (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    return {
        "data": _data,
        "train": _train,
        "generate": _generate,
        "start": bench_clips.start,
        "solvers": bench_clips.solvers,
        "salience": _salience,
    }[args.action](args)


def _data(args: argparse.Namespace) -> int:
    if args.simulate is not None:
        return _simulate(args)
    from jasco_pl.metrics.report import aligned_table
    from jasco_pl.studies.bench import DataBench, data_speeds
    from jasco_pl.system.environment import machine

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


def _simulate(args: argparse.Namespace) -> int:
    from jasco_pl.data.datamodule import REMOTE_WINDOW
    from jasco_pl.metrics.report import aligned_table
    from jasco_pl.studies.bench_index import index_costs
    from jasco_pl.system.environment import machine

    window = REMOTE_WINDOW if args.shuffle_shards is None else args.shuffle_shards
    table = [["index", "file", "opened", "order", "resumed", "peak", *(f"own memory, {number} workers" for number in args.workers)]]
    for cost in index_costs(args.simulate, args.workers, args.batch_size, window):
        times = [f"{seconds:.2f} s" for seconds in (cost.open, cost.order, cost.resume)]
        sizes = [f"{size / 1e6:.0f} MB" for size in (cost.bytes, cost.peak, *cost.memory.values())]
        table.append([cost.form, sizes[0], *times, *sizes[1:]])
    print(f"{machine()}; {args.simulate} samples, windows of {window} shards, batches of {args.batch_size}:\n")
    print(aligned_table(table), end="")
    return 0


def _train(args: argparse.Namespace) -> int:
    if args.profile is not None:
        return _profile(args)
    import lightning
    import torch

    from jasco_pl.metrics.report import aligned_table
    from jasco_pl.studies.bench_training import train_speed
    from jasco_pl.system.environment import machine
    from jasco_pl.system.errors import UserError

    if args.trace:
        raise UserError("--trace belongs to --profile.")
    arguments, benches = _benches(args)
    title = ["data", "compiled", "precision", "batch", "step", "plain loop", "price (95 %)", "CPU time", "in CPU time"]
    table = [[*title, "samples/s", "speed", "peak memory", "data wait"]]
    for bench in benches:
        speed = train_speed(bench)
        table.append(
            [
                PLACES[bench.resident],
                "on" if bench.compiled else "off",
                speed.precision,
                str(speed.batch_size),
                f"{speed.step * 1000:.1f} ms",
                f"{speed.plain * 1000:.1f} ms",
                _share(speed.price),
                f"{speed.computing * 1000:.1f} ms" if speed.computing is not None else "–",
                _share(speed.computing_price),
                f"{speed.samples_per_second:.2f}",
                f"{speed.flops / 1e9:.1f} GFLOP/s" + (f", MFU {speed.mfu:.1%}" if speed.mfu is not None else ""),
                f"{speed.memory / 2**30:.2f} GiB" if speed.memory is not None else "unknown",
                f"{speed.wait:.1%}",
            ]
        )
    print(f"{machine()}, Lightning {lightning.__version__}, {torch.get_num_threads()} threads; `{' '.join(arguments)}`,")
    print(f"{args.turns} turns of {args.steps} step(s) of either loop:\n")
    print(aligned_table(table), end="")
    return 0


def _benches(args: argparse.Namespace) -> tuple[list[str], list[TrainBench]]:
    """What `jasco fit` is given, and every setting that was asked for."""
    from jasco_pl.studies.bench_training import TrainBench

    arguments = [word for name in args.config or ["conf/mini.yaml"] for word in ("-c", name)] + args.overrides
    places = {place: resident for resident, place in PLACES.items()}
    settings = itertools.product(args.data or [PLACES[None]], args.precision or [None], args.batch_size or [None], args.compile)
    counts = (args.turns, args.steps, args.warmup)
    return arguments, [
        TrainBench(arguments, compiled == "on", precision, batch_size, *counts, places[place])
        for place, precision, batch_size, compiled in settings
    ]


def _profile(args: argparse.Namespace) -> int:
    from pathlib import Path

    import torch

    from jasco_pl.metrics.report import aligned_table
    from jasco_pl.studies import profile_training as profiling
    from jasco_pl.system.environment import machine
    from jasco_pl.system.errors import UserError

    arguments, benches = _benches(args)
    if args.trace and len(benches) > 1:
        raise UserError(f"a trace is of one setting, {len(benches)} were asked for.")
    print(f"{machine()}, {torch.get_num_threads()} threads; `{' '.join(arguments)}`, {args.profile} steps each:")
    for bench in benches:
        found = profiling.profile_training(bench, args.profile, Path(args.trace) if args.trace else None)
        compiled = "compiled" if bench.compiled else "not compiled"
        speed = f"{found.flops / found.wall / 1e9:.1f} GFLOP/s" + (f", MFU {found.mfu:.1%}" if found.mfu is not None else "")
        print(
            f"\ndata {PLACES[bench.resident]}, layers {compiled}, {found.precision}, batch {found.batch_size}: "
            f"{found.wall * 1000:.1f} ms a step, {speed}\n"
        )
        table = [["kind of kernel", "forward", "backward", "together", "share"]]
        for kind in profiling.KINDS:
            halves = [found.of(kind, phase) for phase in (profiling.FORWARD, profiling.BACKWARD)]
            whole = found.of(kind)
            table.append([kind, *(_ms(half) if half else "–" for half in halves), _ms(whole), f"{whole / found.wall:.1%}"])
        print(aligned_table(table))
        table = [["kernel of attention", "queries", "keys", "calls a step"]]
        for (which, queries, keys), calls in sorted(found.attention.items()):
            table.append([which, *(str(length) if length else "–" for length in (queries, keys)), f"{calls:g}"])
        print(aligned_table(table))
        table = [["longest", "kind", "a step", "calls"]]
        table += [[name[:80], kind, _ms(seconds), f"{calls:g}"] for name, kind, seconds, calls in found.longest]
        print(aligned_table(table), end="")
    return 0


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _generate(args: argparse.Namespace) -> int:
    import tempfile
    from dataclasses import asdict
    from pathlib import Path

    import torch
    import transformers

    from jasco_pl import __version__
    from jasco_pl.generation.jasco import DEFAULT_CHECKPOINT
    from jasco_pl.metrics.report import aligned_table
    from jasco_pl.network.flow.solver import SolverConfig
    from jasco_pl.studies.bench_generation import GenerateBench, generate_speeds, start_seconds
    from jasco_pl.studies.random_checkpoint import read_model_config, write_random_checkpoint
    from jasco_pl.system.device import pick_device
    from jasco_pl.system.environment import machine, processor
    from jasco_pl.system.errors import UserError
    from jasco_pl.system.files import write_json

    if args.checkpoint and (args.config or args.overrides):
        raise UserError("a checkpoint is measured or a configuration: leave out --checkpoint, or -c and what stands behind --.")
    given = {"method": args.solver, "steps": args.steps, "tolerance": args.tolerance}
    solver = SolverConfig(**{name: value for name, value in given.items() if value is not None})
    device = pick_device(args.device)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        checkpoint, what = args.checkpoint or DEFAULT_CHECKPOINT, args.checkpoint or DEFAULT_CHECKPOINT
        if args.config or args.overrides:
            arguments = [word for name in args.config or [] for word in ("-c", name)] + args.overrides
            what = f"random weights of {' '.join(arguments)}"
            checkpoint = str(write_random_checkpoint(read_model_config(arguments), Path(folder), args.seed))
        guidance = " ".join(args.guidance) if args.guidance else None
        bench = GenerateBench(
            checkpoint,
            str(device),
            args.precision,
            args.batch_size,
            args.seconds,
            guidance,
            solver,
            args.repeats,
            args.warmup,
            args.threads,
            args.seed,
        )
        speeds, start = generate_speeds(bench), start_seconds()
    hardware = ", ".join(filter(None, [processor(), machine(device)]))
    versions = f"transformers {transformers.__version__}, jasco-pl {__version__}"
    threads = args.threads or torch.get_num_threads()
    title = ["precision", "batch", "rows", "evaluations", "latency", "x real time", "x as fast", "in CPU time"]
    table = [[*title, "text", "sampling", "decoding", "writing", "first turn", "loading", "peak memory"]]
    for speed in speeds:
        table.append(
            [
                speed.precision,
                str(speed.batch_size),
                str(speed.rows),
                str(speed.evaluations),
                _spread(speed.latency, " s"),
                f"{speed.real_time:.3g}",
                _spread(speed.ratio),
                _spread(speed.computing_ratio) if device.type == "cpu" else "–",
                *(f"{found.median:.3g} s" for found in speed.stages.values()),
                f"{speed.first:.3g} s",
                f"{speed.load.median:.3g} s",
                f"{speed.memory / 2**30:.2f} GiB" if speed.memory is not None else "unknown",
            ]
        )
    print(f"{hardware}, {versions}, {threads} threads, seed {args.seed}; {what},")
    print(f"median (least to most) of {args.repeats} turn(s); start of the program {_spread(start, ' s')}:\n")
    print(aligned_table(table), end="")
    described = {"hardware": hardware, "versions": versions, "threads": threads, "device": str(device), "model": what}
    write_json(args.json, {**described, "bench": asdict(bench), "start": start._asdict(), "speeds": [asdict(speed) for speed in speeds]})
    print(f"\nwrote {args.json}")
    return 0


def _salience(args: argparse.Namespace) -> int:
    import torch

    from jasco_pl.extract import salience_network as hcqt
    from jasco_pl.studies.bench import salience_speeds
    from jasco_pl.system.environment import machine

    if args.threads:
        torch.set_num_threads(args.threads)
    found = salience_speeds(args.frames, args.turns)
    music = args.frames * hcqt.HOP / hcqt.SAMPLE_RATE
    print(f"{machine()}; {args.frames} frames ({music:.1f} s of music), {torch.get_num_threads()} threads, best of {args.turns}")
    for name in ("straightforward", "quick"):
        wall, cpu = found[f"{name} wall"], found[f"{name} cpu"]
        print(f"{name:15}  {wall:.2f} s wall, {cpu:.2f} s CPU, {music / wall:.1f} x real time")
    print(f"ratio            {found['ratio wall']:.2f} wall, {found['ratio cpu']:.2f} CPU")
    print(f"largest difference of salience {found['difference']:.1e}")
    return 0


def _spread(found: tuple[float, float, float], unit: str = "") -> str:
    return f"{found[0]:.3g}{unit} ({found[1]:.3g} to {found[2]:.3g})"


def _share(price: tuple[float, float, float] | None) -> str:
    return "–" if price is None else f"{price[0]:+.1%} ({price[1]:+.1%} to {price[2]:+.1%})"
