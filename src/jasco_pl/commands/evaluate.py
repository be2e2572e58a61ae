"""Measure how a checkpoint follows its conditions, on composed pieces that it has not seen.

  jasco evaluate --pieces data/pieces/test --limit 64
  jasco evaluate --pieces data/pieces/test --checkpoint runs/mine --guidance all=2 --steps 32
  jasco evaluate --pieces data/pieces/test --guidance-grid

Rows: the codec's ceiling, the caption alone, every control alone, all together. Chord IoU compares Chordino on the clip with Chordino on
the reference; onset F1 counts pieces with drums; melody accuracy pieces with a melody. Interrupted runs go on.

With --guidance-grid: all controls together under the paper's eight combinations of guidance weights, one row each. The best is the one with
the highest mean of chord IoU, onset F1 and melody accuracy; how good it sounds, and how well it matches the text, is not in that rule.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path

from jasco_pl.commands.generate import add_sampling_arguments, guidance_text, solver_config
from jasco_pl.errors import UserError
from jasco_pl.evaluation import COLUMNS, FOLLOWING, Settings, best_of, evaluate, evaluate_grid
from jasco_pl.flow.path import make_path
from jasco_pl.generate import DEFAULT_CHECKPOINT
from jasco_pl.metrics.report import write_report
from jasco_pl.model import read_config
from jasco_pl.resources import locate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Pieces, checkpoint, sampling, output."""
    parser.add_argument("--pieces", default="data/pieces/test", metavar="DIR", help="composed pieces (default %(default)s)")
    parser.add_argument("--checkpoint", default=DEFAULT_CHECKPOINT, metavar="DIR", help="model folder (default: the shipped %(default)s)")
    parser.add_argument("--limit", type=int, default=64, help="pieces (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a clip (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the clips' noise (default %(default)s)")
    add_sampling_arguments(parser)
    parser.add_argument("--guidance-grid", action="store_true", help="compare the paper's eight combinations of guidance weights")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("-o", "--out", default="out/eval", metavar="DIR", help="folder of clips, table and JSON (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    if args.limit < 1:
        raise UserError(f"--limit must be at least 1, not {args.limit}.")
    folder = locate(args.checkpoint)
    if args.guidance_grid and args.guidance:
        raise UserError("--guidance-grid tries guidances of its own: leave --guidance out.")
    config = read_config(Path(folder))
    solver = solver_config(args).resolved(make_path(config.objective))
    settings = Settings(folder, guidance_text(args) or config.guidance, solver, args.seconds, args.seed)
    name, title, first = ("guidance_grid", "Guidance grid", "guidance") if args.guidance_grid else ("report", "Evaluation", "conditions")
    compute = evaluate_grid if args.guidance_grid else evaluate
    rows = compute(args.pieces, settings, args.out, limit=args.limit, workers=args.workers)
    about = f"{args.limit} held-out composed pieces of {args.seconds:g} s; means over clips with 95 % bootstrap intervals."
    described = {**asdict(settings), "checkpoint": args.checkpoint, "pieces": args.pieces, "limit": args.limit}
    if args.guidance_grid:
        described = {**described, "guidance": best_of(rows).name}
        about += f"\n\nBest: `{best_of(rows).name}`, by the highest mean of {', '.join(FOLLOWING)}."
    path = Path(args.out) / f"{name}.md"
    print(write_report(path, rows, COLUMNS, title=title, about=about, settings=described, first=first))
    print(f"\nwrote {path} and {name}.json; clips in {args.out}")
    return 0
