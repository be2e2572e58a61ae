"""Repeat the paper's experiments at one small budget, and write each beside the paper's figure: does the direction agree?

  jasco reproduce                                    all fifteen trainings with one seed, into runs/paper
  jasco reproduce --seeds 0 1 2 --workers 4          three trainings of each, four at a time, a thread each
  jasco reproduce --only chords text_only --steps 800 --out runs/longer
  jasco reproduce --report-only                      the page from what is there, while trainings go on or after they were stopped

Every experiment is `jasco fit -c conf/reproduction.yaml -c conf/ablation/NAME.yaml` with the same steps, data and seeds, exported in half
precision and measured on the same held-out pieces by `jasco evaluate`'s own code: tables 1, 2, 4 and 5 and figure 2. Interrupted runs go
on: a training from its last checkpoint, finished models and clips are kept. Another budget (steps, data, configuration) trains anew.

What the page says of a finding comes from the interval of the difference between two models on the same clips: it agrees, it is contrary,
or it is undecided. So small a budget shows directions, not levels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from jasco_pl.evaluation.pretrained import find_listeners
from jasco_pl.studies.paper.engine import Budget, jobs_of, run_jobs
from jasco_pl.studies.paper.plan import EXPERIMENTS, chosen
from jasco_pl.studies.paper.report import draw, write_page
from jasco_pl.studies.paper.results import gather, write_figures
from jasco_pl.system.environment import machine
from jasco_pl.system.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Budget, music, how, output."""
    budget = parser.add_argument_group("budget; what is changed here trains anew")
    budget.add_argument("--steps", type=int, default=300, help="optimiser steps of every training (default %(default)s)")
    budget.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="SEED", help="a training of each by seed (default 0)")
    budget.add_argument("--only", nargs="+", metavar="NAME", help=f"some of the experiments: {', '.join(EXPERIMENTS)}")
    budget.add_argument("--conf", default="conf", metavar="DIR", help="configuration files (default %(default)s)")
    music = parser.add_argument_group("music")
    music.add_argument("--train", default="data/shards/train", metavar="DIR", help="shards to train on (default %(default)s)")
    music.add_argument("--valid", default="data/shards/valid", metavar="DIR", help="shards that `jasco fit` asks for (default %(default)s)")
    music.add_argument("--pieces", default="data/pieces/test", metavar="DIR", help="composed pieces to measure on (default %(default)s)")
    music.add_argument("--clips", type=int, default=42, help="of ten seconds, a piece each (default %(default)s)")
    how = parser.add_argument_group("how")
    how.add_argument("--guidance", default="all=3", metavar="SETS", help="of every model (default %(default)s)")
    how.add_argument("--evaluations", type=int, default=12, help="passes through the network a clip and branch (default %(default)s)")
    how.add_argument("--salience", metavar="FILE", help="weights of deep salience, 7 CPU seconds a clip (default: left out)")
    how.add_argument("--workers", type=int, default=1, help="experiments at a time, a thread each (default %(default)s)")
    how.add_argument("--report-only", action="store_true", help="train and measure nothing, write the page from what is there")
    where = parser.add_argument_group("output")
    where.add_argument("-o", "--out", default="runs/paper", metavar="DIR", help="models, clips, CSV and JSON (default %(default)s)")
    where.add_argument("--report", default="docs/reproduction.md", metavar="FILE", help="the page (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    for name in ("steps", "clips", "workers", "evaluations"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name} must be at least 1, not {getattr(args, name)}.")
    budget = Budget(
        steps=args.steps,
        clips=args.clips,
        out=Path(args.out),
        train=Path(args.train),
        valid=Path(args.valid),
        pieces=Path(args.pieces),
        conf=Path(args.conf),
        evaluations=args.evaluations,
        guidance=args.guidance,
        listeners=find_listeners(args.salience or "none"),
    )
    seeds = list(dict.fromkeys(args.seeds))
    if not args.report_only:
        run_jobs(jobs_of(chosen(args.only), seeds, budget), args.workers)
    found = gather(budget, seeds, machine("cpu"))
    page = Path(args.report)
    picture = page.parent / "images" / f"{page.stem}.png"
    draw(found, picture)
    write_figures(found)
    write_page(found, page, picture, command_of(args, seeds))
    print(f"wrote {page} and {picture}, and reproduction.csv and .json to {budget.out}")
    return 0


def command_of(args: argparse.Namespace, seeds: list[int]) -> str:
    """What repeats the figures: the options that they depend on, where they are not the defaults."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parts = ["jasco reproduce"]
    for name in ("steps", "clips", "guidance", "evaluations"):
        if getattr(args, name) != parser.get_default(name):
            parts.append(f"--{name} {getattr(args, name)}")
    return " ".join([*parts, *(["--seeds", *map(str, seeds)] if seeds != parser.get_default("seeds") else [])])
