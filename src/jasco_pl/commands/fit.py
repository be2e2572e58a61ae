"""`jasco fit`, `validate`, `test`: the model; `jasco fit-codec`: the vocoder of the embedded codec. Both by Lightning's command line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

import jsonargparse
from lightning.pytorch.cli import LightningArgumentParser

from jasco_pl.system.errors import UserError
from jasco_pl.training.cli import CheckedCLI, quiet, run, working_in


def main(command: str, arguments: Sequence[str]) -> int:
    """Train (or go on), validate or test; returns 0.

    Raises:
        UserError: the configuration, the codec or the data cannot be used.
    """
    if command == "fit-codec":
        fit_codec(arguments)
        return 0
    if not {"-h", "--help"}.isdisjoint(arguments):  # parsing the sources takes a while: only where it is read
        jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
    run(command, arguments)
    return 0


class CodecCLI(CheckedCLI):
    """Every default of the configuration can be overridden: `jasco fit-codec -c conf/codec_mini.yaml --model.lr 5e-4`."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Where the run continues and what it leaves."""
        parser.add_argument(
            "--ckpt_path", type=str | None, default="last", help="checkpoint to go on from; 'last' is the run's own, null none"
        )
        parser.add_argument("--export", type=str | None, default=None, help="folder to write the codec to when the training is done")


def fit_codec(arguments: Sequence[str]) -> None:
    """Train the vocoder (or go on, or only export where `max_steps` are done already)."""
    from jasco_pl.training.vocoder.crops import AudioDataModule  # here: a model needs none of it
    from jasco_pl.training.vocoder.module import CodecModule

    quiet()
    warnings.filterwarnings("ignore", message=".*manual optimization and every_n_train_steps.*")  # weights after the step are what we want
    cli = CodecCLI(
        CodecModule,
        AudioDataModule,
        run=False,
        auto_configure_optimizers=False,
        args=list(arguments),
        save_config_kwargs={"overwrite": True},
        parser_kwargs={"prog": "jasco fit-codec", "description": "Train the embedded codec's vocoder from a YAML configuration."},
    )
    if cli.trainer.world_size > 1:
        raise UserError(f"`jasco fit-codec` trains on one device, {cli.trainer.world_size} were asked for: set --trainer.devices 1.")
    with working_in(cli.trainer):
        cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=cli.config.ckpt_path)
    if cli.config.export:
        cli.model.export(cli.config.export)
        print(f"wrote {cli.config.export}", file=sys.stderr)
