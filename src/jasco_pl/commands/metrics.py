"""Examine the metrics themselves.

jasco metrics ceiling data/pieces/test
jasco metrics sensitivity data/pieces/test --embedder musicnn
jasco metrics probe data/pieces/train --clips out/eval

`ceiling` measures composed pieces against their own annotations: what a perfect generator would get. `sensitivity` measures how a distance
between embeddings grows when music is worsened in known ways. `probe` learns style and instruments from composed pieces and asks whether
the clips of an evaluation have those that their prompts name.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from jasco_pl.metrics.embedders import EMBEDDERS, load_embedder
from jasco_pl.metrics.report import aligned_table, write_report
from jasco_pl.system.errors import UserError

CODEC = "checkpoints/codec-mini"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Subcommands ceiling, sensitivity and probe."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ceiling|sensitivity|probe")
    ceiling = actions.add_parser("ceiling", help="what a perfect generator would get")
    ceiling.add_argument("pieces", metavar="DIR", help="folder that `jasco compose` filled")
    ceiling.add_argument("--seconds", type=float, default=10.0, help="length of the stretch of every piece (default %(default)s)")
    ceiling.add_argument("--no-salience", action="store_true", help="leave out deep salience, the slowest part")
    sensitivity = actions.add_parser("sensitivity", help="what a distance between embeddings notices")
    sensitivity.add_argument("pieces", metavar="DIR", help="folder of pieces (*.mix.flac) or of any audio that soundfile reads")
    sensitivity.add_argument("--embedder", default="musicnn", choices=EMBEDDERS, help="what hears the audio (default %(default)s)")
    sensitivity.add_argument("--source", metavar="PATH", help="file or folder of its weights (default: looked for)")
    sensitivity.add_argument("--codec", default=CODEC, metavar="DIR", help="codec for the row of that name (default %(default)s)")
    probe = actions.add_parser("probe", help="whether clips have the style and the instruments that their prompts name")
    probe.add_argument("pieces", metavar="DIR", help="composed pieces to learn from, not those that the clips were made after")
    probe.add_argument("--clips", default="out/eval", metavar="DIR", help="folder of `jasco evaluate` (default %(default)s)")
    probe.add_argument("--codec", default=CODEC, metavar="DIR", help="codec of the clips (default %(default)s)")
    for action, pieces in ((ceiling, 64), (sensitivity, 64), (probe, 600)):
        action.add_argument("--limit", type=int, default=pieces, help="pieces (default %(default)s)")
        action.add_argument("-o", "--out", metavar="FILE", help="write the table there as Markdown, and as JSON beside it")


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    if args.limit < 1:
        raise UserError(f"--limit must be at least 1, not {args.limit}.")
    if not Path(args.pieces).is_dir():
        raise UserError(f"there is no folder {args.pieces!r}.")
    out = args.out or f"out/metrics/{args.action}.md"
    print({"ceiling": _ceiling, "sensitivity": _sensitivity, "probe": _probe}[args.action](args, out))
    print(f"wrote {out}")
    return 0


def _pieces(args: argparse.Namespace, split: str) -> list[Path]:
    """The descriptions of the composed pieces."""
    paths = sorted(Path(args.pieces).glob("*.json"))[: args.limit]
    if not paths:
        raise UserError(
            f"{args.pieces!r} holds no composed pieces (*.json); `jasco compose --split {split} --out {args.pieces}` makes some."
        )
    return paths


def _ceiling(args: argparse.Namespace, out: str) -> str:
    from jasco_pl.extract.salience import Salience
    from jasco_pl.studies.metrics import ceiling_table, measure_piece

    paths = _pieces(args, "test")
    salience, missing = None, "left out by --no-salience"
    if not args.no_salience:
        try:
            salience = Salience()
        except UserError as error:
            missing = str(error)
    figures = [measure_piece(path, args.seconds, salience) for path in tqdm(paths, desc="ceiling", unit="piece")]
    table, data = ceiling_table(figures, missing if salience is None else None)
    title = "Ceiling of the metrics"
    about = f"{args.seconds:g} s of each of {len(paths)} composed pieces against what was composed; mean and 95 % bootstrap interval."
    settings = {"pieces": args.pieces, "limit": args.limit, "seconds": args.seconds}
    return write_report(out, f"# {title}\n\n{about}\n\n{table}", {"title": title, "settings": settings, **data})


def _sensitivity(args: argparse.Namespace, out: str) -> str:
    from jasco_pl.audio.files import AUDIO_SUFFIXES
    from jasco_pl.studies.metrics import degradations, sensitivity
    from jasco_pl.system.resources import locate

    folder = Path(args.pieces)
    paths = sorted(folder.glob("*.mix.flac")) or sorted(path for path in folder.iterdir() if path.suffix.lower() in AUDIO_SUFFIXES)
    embedder = load_embedder(args.embedder, args.source)
    found = list(tqdm(sensitivity(paths[: args.limit], embedder, degradations(locate(args.codec))), desc="sensitivity", unit="row"))
    keys = [key for key in found[0][1] if not key.endswith(("generated", "reference"))]
    counts = [f"{value:g} {key.rpartition(' ')[2]}" for key, value in found[0][1].items() if key not in keys][:2]
    table = [["worsened by", *keys], *([name, *(f"{figures[key]:.2f}" for key in keys)] for name, figures in found)]
    about = f"{' and '.join(counts)} embeddings; clean music against itself is the first row."
    text = f"# Sensitivity of distances\n\n{about}\n\n{aligned_table(table)}"
    return write_report(out, text, {"pieces": args.pieces, "embedder": embedder.name, "rows": dict(found)})


def _probe(args: argparse.Namespace, out: str) -> str:
    from jasco_pl.compose.pieces import read_note
    from jasco_pl.studies.probe import EMBEDDER, FEWEST, Probe, evaluated_clips, piece_features, table
    from jasco_pl.studies.probe_sections import evaluated_sections, section_table
    from jasco_pl.system.resources import locate

    rows = list(evaluated_clips(Path(args.clips)))  # before minutes of work
    paths = _pieces(args, "train")
    embedder, cache = load_embedder(EMBEDDER), Path(out).parent / "probe"
    features, families = piece_features(paths, str(locate(args.codec)), embedder, cache)
    notes = [read_note(path) for path in paths]
    styles = [note["style"] for note in notes]
    probe = Probe(features, styles, families)
    lines, found = table(probe, [note["captions"][0] for note in notes], rows)
    text = (
        f"# What the prompt asks for\n\nProbes on {EMBEDDER}, learnt from {len(paths)} composed pieces through the codec: "
        f"{len(probe.styles)} styles; {len(probe.families)} families of instruments, without the commonest ({', '.join(probe.common)}). "
        "Shares of what prompts name, 95 % intervals, clips that name something in brackets; chance is the mean over shuffled prompts. "
        f"Among each other: embeddings by the mean and spread of their own row.\n\n{lines}"
    )
    data = {"pieces": args.pieces, "clips": args.clips, "families": probe.families, "rows": found}
    if sections := list(evaluated_sections(Path(args.clips), embedder, cache)):
        each = Probe(features, styles, families, most=1 - FEWEST / len(features))
        lines, by_section = section_table(each, sections)
        text += (
            "\n\n## What the text of a section asks for\n\nInstruments in sections of at least three seconds that name them, and in "
            "others of the same clip; all families that at least ten of the pieces have and ten lack. Means over clips, 95 % intervals; "
            f"a text for the whole clip can make no difference between its sections.\n\n{lines}"
        )
        data["sections"] = by_section
    return write_report(out, text, data)
