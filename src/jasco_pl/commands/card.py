"""Write the figures of a model card, from what an evaluation and a training left behind.

  jasco card checkpoints/jasco-mini --eval out/eval --training runs/mini     its README.md
  jasco card README.md --eval out/eval                                       any other Markdown file

What lies between the comments `<!-- figures: -->` and `<!-- end -->` is made anew from results.json, what lies between `<!-- training: -->`
and `<!-- end -->` from the run's TensorBoard files and last checkpoint. All else is prose and stays.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from jasco_pl.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Card and sources."""
    parser.add_argument("card", metavar="CHECKPOINT", help="folder whose README.md is the card, or a Markdown file")
    parser.add_argument("--eval", metavar="DIR", help="folder that `jasco evaluate` wrote")
    parser.add_argument("--font-eval", metavar="DIR", help="another, of the same music rendered with a SoundFont that training had not")
    parser.add_argument("--training", metavar="RUN", help="folder of the run, as runs/mini")


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    from jasco_pl.model_card import figures_block, read_results, refresh, training_block
    from jasco_pl.training.history import read_history

    if not (args.eval or args.training) or (args.font_eval and not args.eval):
        raise UserError("nothing to write: give --eval, and with it --font-eval, or --training.")
    parts = {}
    if args.eval:
        parts["figures"] = figures_block(read_results(args.eval), read_results(args.font_eval) if args.font_eval else None)
    if args.training:
        parts["training"] = training_block(read_history(args.training))
    card = Path(args.card) / "README.md" if Path(args.card).is_dir() else Path(args.card)
    given = {"--eval": args.eval, "--font-eval": args.font_eval, "--training": args.training}
    command = shlex.join(["jasco", "card", args.card, *(word for name, value in given.items() if value for word in (name, value))])
    refresh(card, parts, command)
    print("\n\n".join(parts.values()))
    print(f"wrote {' and '.join(parts)} into {card}")
    return 0
