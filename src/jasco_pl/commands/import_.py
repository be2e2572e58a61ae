"""Bring Meta's released JASCO checkpoints into this project's layout, or compare our numbers with audiocraft's.

  jasco import facebook/jasco-chords-drums-melody-400M -o checkpoints/jasco-400M
  jasco import ~/downloads/jasco-chords-drums-1B -o checkpoints/jasco-1B --dtype float16
  jasco generate --checkpoint checkpoints/jasco-400M --text "strings" --chords "C | Am" -o out/
  jasco import --verify FILE.pt

SOURCE is a Hub id, or a folder with audiocraft's state_dict.bin and compression_state_dict.bin. Written are config.json,
model.safetensors, the EnCodec that lies inside the checkpoint, and a model card with the licence, CC-BY-NC 4.0: no commercial use.
Every tensor of the checkpoint must be used; one that is missing, left over, or of another shape is an error that names it. Nothing that
is pickled in the files is executed.

`jasco generate --checkpoint facebook/jasco-...` does the same on the fly and keeps what it made (~/.cache/jasco_pl/released).

--verify takes a file of that form which also holds an `anchor`, inputs and audiocraft's results for them, and prints the largest absolute
difference from ours; above 1e-4 the command fails with 1. docs/released-checkpoints.md has the form, and what differs by default.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from jasco_pl.system.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Source and target, or a file to compare with."""
    parser.add_argument("source", metavar="SOURCE", nargs="?", help="Hub id, or folder with the files of a release")
    parser.add_argument("-o", "--out", metavar="DIR", help="folder to write; one with something else in it is left alone")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit on the Hub (default: main)")
    parser.add_argument(
        "--dtype", choices=("float32", "float16", "bfloat16"), default="float32", help="of the model's weights (default %(default)s)"
    )
    parser.add_argument("--verify", metavar="FILE", help="compare with the results in a file; writes nothing")


def run(args: argparse.Namespace) -> int:
    """0, or 1 where --verify found a difference above its bound."""
    if args.verify is not None:
        if args.source or args.out:
            raise UserError("--verify takes its own file and writes nothing: leave SOURCE and -o out.")
        return _verify(args.verify)
    if not args.source or not args.out:
        raise UserError("name a SOURCE (a Hub id or a folder) and a folder to write with -o DIR, or a FILE to compare with by --verify.")
    return _import(args)


def _import(args: argparse.Namespace) -> int:
    import torch

    from jasco_pl.interop.convert import RECORD, convert
    from jasco_pl.interop.hub import fetch, is_hub_id
    from jasco_pl.interop.released import read_released
    from jasco_pl.system.files import atomic_folder, replaceable

    if not replaceable(args.out, RECORD):
        raise UserError(f"{args.out!r} holds something that `jasco import` did not write: name a folder that is empty or not there.")
    source, name = Path(args.source), Path(args.source).name
    from_hub = not source.exists() and is_hub_id(args.source)
    if from_hub:
        source, name = fetch(args.source, args.revision), args.source
    released = read_released(source)
    with atomic_folder(args.out) as fresh:
        converted = convert(released, fresh, name, getattr(torch, args.dtype), from_hub)
    net, config = converted.config.transformer, converted.config
    controls = ", ".join(config.controls) or "none"
    print(f"{converted.parameters:,} parameters: {net.layers} layers, width {net.width}, {net.heads} heads; controls: {controls}")
    print("tensors: " + ", ".join(f"{count} to {part}" for part, count in converted.parts.items()))
    print(f"codec: {converted.codec}; text encoder: {config.text_encoder}; guidance: {config.guidance}")
    print("licence of these weights: CC-BY-NC 4.0, no commercial use")
    print(f"wrote {args.out}")
    return 0


def _verify(file: str) -> int:
    from jasco_pl.commands.generate import progress_bar
    from jasco_pl.interop.released import read_released
    from jasco_pl.interop.verify import BOUND, verify

    found = verify(read_released(file), progress_bar)
    width = max(map(len, found))
    for name, difference in found.items():
        print(f"{name:<{width}}  {difference:.2e}{'' if difference <= BOUND else '  too large'}")
    wrong = [name for name, difference in found.items() if not difference <= BOUND]  # NaN is wrong, too
    print(f"largest absolute differences; {'all' if not wrong else f'{len(found) - len(wrong)} of {len(found)}'} within {BOUND:g}")
    return 1 if wrong else 0
