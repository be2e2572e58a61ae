"""Write the figures of a model card, from what an evaluation and a training left behind.

  jasco card checkpoints/jasco-mini --eval out/eval --training runs/mini     its README.md
  jasco card README.md --eval out/eval                                       any other Markdown file
  jasco card checkpoints/codec-mini --codec-report out/codec.json            a codec's, from `jasco codec report --json`

What lies between the comments `<!-- figures: -->` and `<!-- end -->` is made anew from results.json, what lies between `<!-- training: -->`
and `<!-- end -->` from the run's TensorBoard files and last checkpoint. All else is prose and stays. A folder that has no card gets one.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from jasco_pl.system.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Card and sources."""
    parser.add_argument("card", metavar="CHECKPOINT", help="folder whose README.md is the card, or a Markdown file")
    parser.add_argument("--eval", metavar="DIR", help="folder that `jasco evaluate` wrote")
    parser.add_argument("--font-eval", metavar="DIR", help="another, of music rendered with a SoundFont that training had not")
    parser.add_argument("--codec-report", metavar="FILE", help="what `jasco codec report --json` wrote; instead of --eval")
    parser.add_argument("--training", metavar="RUN", help="folder of the run, as runs/mini")


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    from jasco_pl.interop.saving import first_card
    from jasco_pl.studies.model_card import codec_block, figures_block, read_results, refresh, training_block
    from jasco_pl.training.history import read_history

    if not (args.eval or args.training or args.codec_report) or (args.font_eval and not args.eval) or (args.eval and args.codec_report):
        raise UserError("give --eval, with it --font-eval, or --codec-report, or --training: otherwise there is nothing to write.")
    parts = {}
    if args.eval:
        parts["figures"] = figures_block(read_results(args.eval), read_results(args.font_eval) if args.font_eval else None)
    if args.codec_report:
        parts["figures"] = codec_block(args.codec_report)
    if args.training:
        parts["training"] = training_block(read_history(args.training))
    card = Path(args.card) / "README.md" if Path(args.card).is_dir() else Path(args.card)
    if Path(args.card).is_dir() and not card.exists():
        first_card(card.parent)
    given = {"--eval": args.eval, "--font-eval": args.font_eval, "--codec-report": args.codec_report, "--training": args.training}
    command = shlex.join(["jasco", "card", args.card, *(word for name, value in given.items() if value for word in (name, value))])
    refresh(card, parts, command)
    print("\n\n".join(parts.values()))
    print(f"wrote {' and '.join(parts)} into {card}")
    return 0
