"""Publish a checkpoint on the Hub: its model, its codec, its card, in one repository from which `--checkpoint someone/model` loads.

  jasco push checkpoints/mine someone/my-jasco --eval out/eval
  jasco push checkpoints/mine someone/my-jasco --private --dtype float16

The card is the checkpoint's README.md, with its licence; one that has none gets a first card. --eval puts the figures of an evaluation into
what is published (`jasco card` puts them into the folder itself). The repository is made where there is none; a token that may write there
comes from `hf auth login` or HF_TOKEN. The text encoder is only named. Weights can be read by safetensors alone.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from tempfile import TemporaryDirectory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Checkpoint and repository."""
    parser.add_argument("checkpoint", metavar="DIR", help="model folder")
    parser.add_argument("repository", metavar="REPO", help="on the Hub, as someone/model")
    parser.add_argument("--eval", metavar="DIR", help="folder that `jasco evaluate` wrote: its figures go into the card")
    parser.add_argument("--private", action="store_true", help="a repository that is made is private")
    parser.add_argument(
        "--dtype", choices=("float32", "float16", "bfloat16"), default="float32", help="of the model's weights (default %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    import torch

    from jasco_pl.codec import load_codec
    from jasco_pl.interop.hub import checkpoint_folder, publish
    from jasco_pl.interop.saving import CARD, read_card, save_whole
    from jasco_pl.network.model import JascoModel
    from jasco_pl.system.resources import locate

    if args.eval:
        from jasco_pl.studies.model_card import figures_block, read_results, refresh

        figures = figures_block(read_results(args.eval))
    folder = checkpoint_folder(args.checkpoint)
    model = JascoModel.from_pretrained(folder)
    codec = locate(model.config.codec, folder)
    with TemporaryDirectory() as temporary:
        whole = Path(temporary) / args.repository.rpartition("/")[2]
        inside = load_codec(codec) if Path(codec).is_dir() else None  # one of the Hub stays there
        save_whole(model, inside, whole, read_card(folder), getattr(torch, args.dtype), folder)
        if args.eval:
            command = shlex.join(["jasco", "push", args.checkpoint, args.repository, "--eval", args.eval])
            refresh(whole / CARD, {"figures": figures}, command)
        address = publish(whole, args.repository, args.private or None)
    print(f"published {address}")
    return 0
