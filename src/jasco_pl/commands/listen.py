"""Let people listen: build a blind test as a static page, and analyse what its raters answered.

  jasco listen build --systems ours=out/eval/all-controls base=out/eval/no-control \\
      --reference out/eval/results.json --questions quality,text --out out/listen
  jasco listen analyse --key out/listen/key.json results/*.csv

`build` writes DIR/site, the folder to hand out (it works from a disk and from any web server), and DIR/key.json, which stays at home.
`analyse` screens the raters, says who was left out and why, and gives means and differences with 95 % intervals. docs/listening.md tells
how a study is run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from jasco_pl.system.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Subcommands build and analyse."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="build|analyse")
    build = actions.add_parser("build", help="make a blind test as a static page")
    build.add_argument("--systems", nargs="+", required=True, metavar="NAME=DIR", help="folders of recordings; clips go by file stem")
    build.add_argument(
        "--reference", required=True, metavar="PATH", help="folder of the original recordings, or an evaluation's results.json"
    )
    build.add_argument(
        "--questions", default="quality", metavar="LIST", help="of quality, text, and melody or rhythm (default %(default)s)"
    )
    build.add_argument("--captions", metavar="FILE", help="JSON {clip: caption} or CSV clip,caption (default: JSON beside the clips)")
    build.add_argument("--clips", type=int, metavar="N", help="pieces, drawn at random (default: all that every folder holds)")
    build.add_argument("--per-rater", type=int, metavar="N", help="pieces that one rater hears, drawn for each (default: all)")
    build.add_argument("--anchor", action="store_true", help="add a low anchor: the reference through a 3.5 kHz low-pass (MUSHRA)")
    build.add_argument("--seconds", type=float, metavar="S", help="cut every recording there")
    build.add_argument("--title", default="Listening test", help="heading of the page (default %(default)s)")
    build.add_argument("--mp3", action="store_true", help="recordings as mp3 of a constant rate in place of wav: a third of the size")
    build.add_argument("--post", metavar="URL", help="send the results there when a rater is done; without it they are downloaded")
    build.add_argument("--seed", type=int, help="of names, choice and order (default: drawn, and kept in the key)")
    build.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    analyse = actions.add_parser("analyse", help="screen raters, means and differences with 95 %% intervals")
    analyse.add_argument("results", nargs="+", metavar="CSV", help="what the page let its raters download, or sent")
    analyse.add_argument("--key", required=True, metavar="FILE", help="key.json of the test")
    analyse.add_argument("--no-screening", action="store_true", help="count every rater")
    analyse.add_argument("--out", metavar="DIR", help="folder of report.md, .json and .csv (default: `analysis` beside the key)")


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    return _build(args) if args.action == "build" else _analyse(args)


def _build(args: argparse.Namespace) -> int:
    from jasco_pl.studies.listening.build import build, read_captions

    key, notes = build(
        _systems(args.systems),
        args.reference,
        args.out,
        questions=args.questions.split(","),
        captions=None if args.captions is None else read_captions(args.captions),
        clips=args.clips,
        per_rater=args.per_rater,
        anchor=args.anchor,
        seconds=args.seconds,
        post=args.post,
        title=args.title,
        seed=args.seed,
        mp3=args.mp3,
    )
    for note in notes:
        print(f"note: {note}.")
    versions = len(next(iter(key.clips.values())).stimuli)
    print(f"{len(key.clips)} clips in {versions} versions each, questions {', '.join(key.questions)}, version {key.version}.")
    print(f"To hand out: {Path(args.out) / 'site'} (open index.html). To keep: {Path(args.out) / 'key.json'}.")
    return 0


def _systems(given: list[str]) -> dict[str, str]:
    systems: dict[str, str] = {}
    for text in given:
        name, _, folder = text.partition("=")
        if not name or not folder:
            raise UserError(f"--systems {text!r}: NAME=FOLDER is wanted.")
        if name in systems:
            raise UserError(f"--systems names {name!r} twice.")
        systems[name] = folder
    return systems


def _analyse(args: argparse.Namespace) -> int:
    from jasco_pl.studies.listening.analysis import Rules, analyse, write_analysis
    from jasco_pl.studies.listening.study import Key, read_ratings

    key = Key.load(args.key)
    analysis = analyse(read_ratings(args.results, key), key, None if args.no_screening else Rules())
    out = Path(args.out) if args.out else Path(args.key).parent / "analysis"
    print(write_analysis(analysis, key, out))
    print(f"wrote {out / 'report.md'}, report.json and report.csv")
    return 0
