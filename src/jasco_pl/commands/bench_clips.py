"""`jasco bench start` and `jasco bench solvers`: what a clip costs as a whole, and what it gains by evaluations of the network."""

from __future__ import annotations

import argparse
from typing import Any

from jasco_pl.network.flow.config import PER_STEP


def add_arguments(actions: Any) -> None:
    """The two actions, to those of `jasco bench`."""
    start = actions.add_parser("start", help="CPU time of whole commands, from nothing to their files, of several programs in turn")
    start.add_argument(
        "--program",
        nargs="+",
        metavar="JASCO",
        help="paths of jasco, as of another checkout; compared with the first (default: this one)",
    )
    start.add_argument("--repeats", type=int, default=5, metavar="N", help="turns that count (default %(default)s)")
    start.add_argument("--threads", type=int, default=1, metavar="N", help="of PyTorch (default %(default)s)")
    solvers = actions.add_parser(
        "solvers", help="distance to the flow's converged solution by evaluations of the network, as table and plot"
    )
    solvers.add_argument("--checkpoint", metavar="DIR", help="model folder (default: the shipped one)")
    solvers.add_argument("--pieces", default="data/pieces/test", metavar="DIR", help="composed pieces to follow (default %(default)s)")
    solvers.add_argument("--limit", type=int, default=8, metavar="N", help="pieces (default %(default)s)")
    solvers.add_argument("--seconds", type=float, default=4.0, metavar="S", help="length of a clip (default %(default)s)")
    solvers.add_argument("--guidance", nargs="+", metavar="SET=WEIGHT", help="as for jasco generate (default: the model's own)")
    solvers.add_argument(
        "--evaluations", type=int, nargs="+", default=[8, 12, 20], metavar="N", help="of the fixed-step solvers (default 8 12 20)"
    )
    solvers.add_argument("--tolerances", type=float, nargs="+", default=[1e-2], metavar="X", help="of dopri5 (default 0.01)")
    solvers.add_argument(
        "--reference-steps", type=int, default=24, metavar="N", help="of the converged solution, Runge-Kutta 4 (default %(default)s)"
    )
    solvers.add_argument(
        "--fit",
        action="store_true",
        help="instead: the times that equal parts of the velocity's bending lie between, for the model's config.json",
    )
    solvers.add_argument("--image", metavar="FILE", help="PNG of the plot")
    solvers.add_argument(
        "--evaluation", nargs="+", metavar="DIR", help="of `jasco evaluate`, of several --steps or --times: drawn beside the distances"
    )
    solvers.add_argument("--json", default="out/bench-solvers.json", metavar="FILE", help="all figures (default %(default)s)")


def start(args: argparse.Namespace) -> int:
    """Always 0."""
    import statistics
    import sys

    from jasco_pl.metrics.report import aligned_table
    from jasco_pl.studies.bench_start import TORCH, start_costs
    from jasco_pl.system.environment import machine, processor
    from jasco_pl.system.errors import UserError

    if args.repeats < 1 or args.threads < 1:
        raise UserError("--repeats and --threads must be at least 1.")
    programs = args.program or [sys.argv[0]]
    costs = start_costs(programs, args.repeats, args.threads)
    torch_seconds = statistics.median(costs[TORCH, ""])
    table = [["command", "program", "CPU time", f"of {TORCH}", f"of {programs[0]}"]]
    for (what, program), found in costs.items():
        median = statistics.median(found)
        first = statistics.median(costs.get((what, programs[0]), found))
        spread = f"{median:.3g} s ({min(found):.3g} to {max(found):.3g})"
        table.append([what, program or "–", spread, f"{median / torch_seconds:.2f}", f"{median / first:.2f}" if program else "–"])
    print(f"{', '.join(filter(None, [processor(), machine('cpu')]))}, {args.threads} thread(s);")
    print(f"median (least to most) of {args.repeats} turn(s), all in turn:\n")
    print(aligned_table(table), end="")
    return 0


def solvers(args: argparse.Namespace) -> int:
    """Always 0."""
    from tqdm import tqdm

    from jasco_pl.generation.outline import DEFAULT_CHECKPOINT
    from jasco_pl.metrics.report import aligned_table
    from jasco_pl.studies.model_card import read_any_results
    from jasco_pl.studies.solvers import SolverBench, described, draw, fit_times, heard_in, solver_distances
    from jasco_pl.system.errors import UserError
    from jasco_pl.system.files import write_json

    if args.limit < 1 or args.reference_steps < 2 or args.seconds <= 0:
        raise UserError("--limit must be at least 1, --reference-steps at least 2, --seconds positive.")
    step = PER_STEP["midpoint"]
    if wrong := [count for count in args.evaluations if count < step or count % step]:
        raise UserError(f"--evaluations {wrong[0]}: positive multiples of {step} are accepted, so that midpoint can have as many.")
    bench = SolverBench(
        args.checkpoint or DEFAULT_CHECKPOINT,
        args.pieces,
        args.limit,
        args.seconds,
        evaluations=args.evaluations,
        tolerances=args.tolerances,
        reference_steps=args.reference_steps,
        guidance=" ".join(args.guidance) if args.guidance else None,
    )
    if args.fit:
        print(f'"times": {fit_times(bench)}')
        return 0
    heard = None if args.evaluation is None else heard_in([read_any_results(folder) for folder in args.evaluation])
    found = []
    table = [["solver", "evaluations", "relative distance", "least", "most"]]
    for one in solver_distances(bench):
        found.append(one)
        table.append([one.solver, str(one.evaluations), *(f"{value:.3f}" for value in (one.mean, min(one.items), max(one.items)))])
        tqdm.write(f"{one.solver}, {one.evaluations} evaluations: {one.mean:.3f}")
    print(f"\n{bench.checkpoint}, {args.limit} clips of {args.seconds:g} s, fp32; mean, least and most over the clips:\n")
    print(aligned_table(table), end="")
    write_json(args.json, described(bench, found))
    if args.image:
        draw(found, args.image, heard)
        print(f"\nwrote {args.image}")
    print(f"\nwrote {args.json}")
    return 0
