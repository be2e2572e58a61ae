"""Turn a training checkpoint into a folder for generation: config.json and model.safetensors with the averaged weights.

jasco export runs/mini/checkpoints/last.ckpt -o checkpoints/jasco-mini --dtype float16

Several checkpoints of one model become one with the mean of their weights ("model soup", Wortsman et al. 2022), which helps where they are
stages of one training, or trainings that began at the same weights:

jasco export kept/step=11200.ckpt runs/mini/checkpoints/last.ckpt -o checkpoints/jasco-mini --dtype float16

Of a distillation (conf/distill.yaml) the folder holds the teacher as it was and its student, which `--quality fast` then takes.

A checkpoint of a training with --trainer.strategy fsdp is a folder of shards; it becomes one file all the same, on one process.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from jasco_pl.network.flow.guidance import parse_guidance
from jasco_pl.network.model import JascoModel
from jasco_pl.network.student_file import save_student
from jasco_pl.system.errors import UserError
from jasco_pl.training.checkpoint_io import load_checkpoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Checkpoint, target, number format."""
    parser.add_argument(
        "checkpoint", metavar="CKPT", nargs="+", help="file or folder of shards written by `jasco fit`; the mean of several"
    )
    parser.add_argument("-o", "--out", required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--dtype", choices=("float32", "float16", "bfloat16"), default="float32", help="of the weights (default %(default)s)"
    )
    parser.add_argument("--guidance", metavar="SETS", help='the default guidance of the exported model, e.g. "all=3"')
    parser.add_argument("--live", action="store_true", help="take the live weights, not their average")


def load_mean(paths: Sequence[str], live: bool = False) -> JascoModel:
    """The model with the mean of the weights of several checkpoints; of a single one, that one.

    Raises:
        UserError: as for `load_checkpoint`, or they are not of the same model.
    """
    model, *others = (load_checkpoint(path, live) for path in paths)
    for path, other in zip(paths[1:], others, strict=True):
        if other.config != model.config:
            raise UserError(f"{path!r} is of another model than {paths[0]!r}: only weights of the same configuration have a mean.")
    states = [part.state_dict() for part in (model, *others)]
    means = {
        name: torch.stack([state[name].double() for state in states]).mean(dim=0).to(value.dtype)
        for name, value in states[0].items()
        if value.is_floating_point()
    }
    model.load_state_dict({**states[0], **means})
    return model


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    model = load_mean(args.checkpoint, args.live)
    if args.guidance:
        parse_guidance(args.guidance, model.controls.names)
        model.config.guidance = args.guidance
    model.save_pretrained(args.out, getattr(torch, args.dtype))
    if model.config.student is not None:
        save_student(model, args.out)
    print(f"wrote {args.out}")
    return 0
