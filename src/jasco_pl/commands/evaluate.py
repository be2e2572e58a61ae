"""Measure how checkpoints follow their conditions, and how near to the reference they sound, on music that they have not seen.

  jasco evaluate                                                     the shipped checkpoint on 64 composed pieces
  jasco evaluate --checkpoint runs/mine --rows none chords all --steps 32
  jasco evaluate --checkpoint checkpoints/a --checkpoint checkpoints/b --guidance all=2 --guidance all=3 --steps 10 --steps 32
  jasco evaluate --guidance-grid
  jasco evaluate --shards s3://bucket/musiccaps --limit 200
  jasco evaluate --rows ceiling all --audio other-system=clips/theirs
  jasco evaluate --clips out/

With --audio, clips of another system (or of anybody) are a row beside ours: a file a piece, named by its id, of the stretch that the
references in OUT play, or of the whole piece.

Rows: the codec's ceiling, the caption alone, every control alone, all together, crossed (chords of a piece, drums of another and the melody
of a third, transposed), in- and outpainting alone and with all controls (painting+all), beside which the same controls are measured in the
same seconds of clips that are made whole (middle), and texts by section of composed pieces that have some (form); for every checkpoint,
guidance, solver and number of steps that is named (an option may be given several times). Chord IoU compares Chordino on the clip with
Chordino on the reference; onset F1 counts clips with drums; melody accuracy clips with a melody. FAD, KL and CLAP of rows that give audio
are measured with the audio of another piece, as in the paper. Figures whose weights are not here say so. Interrupted runs go on.

With --clips: nothing is made; clips that `jasco generate` wrote are measured against their JSON: chords as they were read, melody, drums
and the rest as they were asked for; of a song that `jasco edit` wrote, in the stretch that was made anew.

With --guidance-grid: all controls together under the paper's eight combinations of guidance weights, one row each. The best is the one with
the highest mean of chord IoU, onset F1, melody accuracy, beat F1 and correlation of dynamics, as far as the model has these controls; how
good it sounds, and how well it matches the text, is not in that rule.
"""

from __future__ import annotations

import argparse
import itertools
import os
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch

from jasco_pl.evaluation.engine import evaluate, grid_of
from jasco_pl.evaluation.own_clips import evaluate_clips
from jasco_pl.evaluation.pretrained import find_listeners
from jasco_pl.evaluation.references import ComposedPieces, PreparedSet
from jasco_pl.evaluation.report import write_results
from jasco_pl.evaluation.settings import Finished, Settings
from jasco_pl.generation.outline import DEFAULT_CHECKPOINT
from jasco_pl.interop.hub import checkpoint_folder
from jasco_pl.network.flow.config import Method, SolverConfig, Times
from jasco_pl.network.flow.guidance import parse_guidance
from jasco_pl.network.flow.path import make_path
from jasco_pl.network.model import read_config
from jasco_pl.network.student_file import read_student
from jasco_pl.system.device import Precision, pick_device, pick_dtype, precision_name
from jasco_pl.system.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Music, matrix, output."""
    what = parser.add_argument_group("music")
    what.add_argument("--pieces", default="data/pieces/test", metavar="DIR", help="composed pieces (default %(default)s)")
    what.add_argument("--shards", metavar="DIR", help="a prepared set instead, folder or URL; compared with the codec's reconstructions")
    what.add_argument("--clips", metavar="DIR", help="clips of your own, WAV and JSON as `jasco generate` writes them; none is made")
    what.add_argument("--limit", type=int, default=64, help="pieces (default %(default)s)")
    what.add_argument("--seconds", type=float, default=10.0, help="length of a clip (default %(default)s)")
    what.add_argument("--seed", type=int, default=0, help="of the clips' noise (default %(default)s)")
    matrix = parser.add_argument_group("matrix; what is given several times makes rows of each")
    matrix.add_argument(
        "--rows",
        nargs="+",
        metavar="SET",
        help="ceiling, none, form, all, crossed, painting+all, middle, a control, or several joined by + (default: all there are)",
    )
    matrix.add_argument(
        "--audio", action="append", default=[], metavar="NAME=DIR", help="a row of finished audio, a file a piece named by its id"
    )
    matrix.add_argument("--checkpoint", action="append", metavar="DIR", help=f"model folder (default: the shipped {DEFAULT_CHECKPOINT})")
    matrix.add_argument(
        "--guidance", action="append", nargs="+", metavar="SET=WEIGHT", help="as for `jasco generate` (default: the checkpoint's own)"
    )
    matrix.add_argument("--guidance-grid", action="store_true", help="the paper's eight combinations of guidance weights instead")
    matrix.add_argument("--solver", action="append", choices=get_args(Method), help="default auto: midpoint, or ddim for v-diffusion")
    default = SolverConfig()
    matrix.add_argument("--steps", action="append", type=int, help="steps of the fixed-step solvers (default: as `jasco generate`)")
    matrix.add_argument("--times", action="append", choices=get_args(Times), help=f"where they lie (default {default.times})")
    matrix.add_argument("--tolerance", type=float, default=default.tolerance, help="of dopri5 (default %(default)s)")
    matrix.add_argument("--student", action="store_true", help="also each checkpoint's student, in its own steps, under each guidance")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--salience", metavar="FILE", help="weights of deep salience, 7 CPU seconds a clip (default: where they may lie; none)"
    )
    how.add_argument(
        "--allow-few", action="store_true", help="Frechet distances of fewer embeddings than dimensions, which are mostly bias"
    )
    how.add_argument("--device", default="cpu", help="auto, cpu, cuda, mps (default %(default)s)")
    how.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="fp32",
        help="of the network's weights; auto is that of `jasco generate` (default %(default)s: figures compare across machines)",
    )
    how.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    how.add_argument(
        "-o", "--out", metavar="DIR", help="folder of clips, tables and the page (default out/eval; out/guidance-grid for a grid)"
    )


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    if args.limit < 1:
        raise UserError(f"--limit must be at least 1, not {args.limit}.")
    if args.guidance_grid and (args.guidance or args.rows or args.audio):
        raise UserError("--guidance-grid tries guidances of its own in one row each: leave --guidance, --rows and --audio out.")
    if args.clips is not None:
        if args.shards or args.rows or args.audio or args.checkpoint or args.guidance_grid:
            raise UserError("--clips measures clips that are there: leave --shards, --rows, --audio, --checkpoint and --guidance-grid out.")
        out = args.out or "out/clips"
        print(evaluate_clips(args.clips, out))
        print(f"wrote report.md, clips.csv and results.json to {out}")
        return 0
    device = pick_device(args.device)
    matrix = settings_of(args, device)
    if args.guidance_grid:
        matrix = grid_of(matrix)
    out = args.out or ("out/guidance-grid" if args.guidance_grid else "out/eval")
    source = PreparedSet(args.shards) if args.shards else ComposedPieces(args.pieces)
    results = evaluate(
        source,
        matrix,
        out,
        rows=["all"] if args.guidance_grid else args.rows,
        finished=[Finished.parse(text) for text in args.audio],
        limit=args.limit,
        workers=args.workers,
        listeners=find_listeners(args.salience, str(device)),
        allow_few=args.allow_few,
    )
    title = "Guidance grid" if args.guidance_grid else "Evaluation"
    print(write_results(results, out, title=title, grid=args.guidance_grid))
    print(f"wrote report.md, report.csv, clips.csv, results.json, index.html and the clips to {out}")
    return 0


def settings_of(args: argparse.Namespace, device: torch.device) -> list[Settings]:
    """Every checkpoint under every guidance, solver and number of steps."""
    found: dict[Settings, None] = {}
    precision = precision_name(pick_dtype(args.precision, device))
    for checkpoint in args.checkpoint or [DEFAULT_CHECKPOINT]:
        folder = checkpoint_folder(checkpoint)
        config = read_config(Path(folder))
        guidances = [" ".join(parts) for parts in args.guidance or []] or [config.guidance]
        solvers = [
            SolverConfig(method, steps, args.tolerance, times)
            for method, steps, times in itertools.product(
                args.solver or ["auto"], args.steps or [SolverConfig().steps], args.times or [SolverConfig().times]
            )
        ]
        for guidance, solver in itertools.product(guidances, solvers):
            resolved = solver.resolved(make_path(config.objective), config.times is not None)
            if resolved.method == "dopri5":  # which has no steps
                resolved = SolverConfig("dopri5", 10, args.tolerance, "uniform")
            found[Settings(folder, guidance, resolved, args.seconds, args.seed, precision)] = None
        for guidance in guidances if args.student else []:
            found[Settings(folder, guidance, student_solver(folder, guidance), args.seconds, args.seed, precision)] = None
    return list(found)


def student_solver(folder: str, guidance: str) -> SolverConfig:
    """How the student of a checkpoint is sampled.

    Raises:
        UserError: it has none, or one that does not know the guidance.
    """
    student, config = read_student(folder), read_config(Path(folder))
    if student.knows(parse_guidance(guidance, config.controls), config.controls) is None:
        raise UserError(f"--student: the student in {folder!r} knows {student}, not {guidance!r}.")
    return replace(student.solver, student=True)
