"""Measure how a checkpoint follows its conditions, on composed pieces that it has not seen.

  jasco evaluate --pieces data/pieces/test --limit 64
  jasco evaluate --pieces data/pieces/test --checkpoint runs/mine --guidance all=2 --steps 32

Rows: the codec's ceiling, the caption alone, every control alone, all together. Chord IoU compares Chordino on the clip with Chordino on
the reference; onset F1 counts pieces with drums; melody accuracy pieces with a melody. Interrupted runs go on.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path

from jasco_pl.commands.generate import add_sampling_arguments, guidance_text, solver_config
from jasco_pl.errors import UserError
from jasco_pl.evaluation import COLUMNS, Settings, evaluate
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
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("-o", "--out", default="out/eval", metavar="DIR", help="folder of clips, table and JSON (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    if args.limit < 1:
        raise UserError(f"--limit must be at least 1, not {args.limit}.")
    folder = locate(args.checkpoint)
    guidance = guidance_text(args) or read_config(Path(folder)).guidance
    settings = Settings(folder, guidance, solver_config(args), args.seconds, args.seed)
    rows = evaluate(args.pieces, settings, Path(args.out) / settings.key(), args.limit, args.workers)
    about = f"{args.limit} held-out composed pieces of {args.seconds:g} s; means over clips with 95 % bootstrap intervals."
    described = {**asdict(settings), "checkpoint": args.checkpoint, "pieces": args.pieces, "limit": args.limit}
    text = write_report(
        Path(args.out) / "report.md", rows, COLUMNS, title="Evaluation", about=about, settings=described, first="conditions"
    )
    print(text)
    print(f"\nwrote {Path(args.out) / 'report.md'} and report.json; clips in {Path(args.out) / settings.key()}")
    return 0
