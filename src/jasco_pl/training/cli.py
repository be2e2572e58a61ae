"""Lightning's command line over our module and data module."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.fabric.plugins import CheckpointIO, ClusterEnvironment
from lightning.fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from jasco_pl.controls import stored_fields
from jasco_pl.data.datamodule import ShardDataModule
from jasco_pl.data.remote import CacheOptions
from jasco_pl.data.shards import ShardReader
from jasco_pl.system.configurations import check_arguments
from jasco_pl.system.errors import UserError
from jasco_pl.system.intervals import require
from jasco_pl.system.locks import alone
from jasco_pl.training.checkpoint_io import AtomicCheckpointIO
from jasco_pl.training.controls_of_data import Fed, controls_of, less
from jasco_pl.training.guard import GradientGuard, Heartbeat, StopSignals, lost_contact
from jasco_pl.training.history import SessionRecord
from jasco_pl.training.launch import is_task
from jasco_pl.training.module import JascoModule
from jasco_pl.training.progress import StepBar
from jasco_pl.training.sharded import ShardedStrategy

# What Lightning says without there being anything to do about it.
NOISE = (
    r".*does not have many workers.*",  # the loader is far from being the bottleneck
    r".*LeafSpec.*",  # Lightning's own use of a deprecated name
    r".*args parameter is intended to run from within Python.*",  # it is
    r".*there is no last checkpoint available.*",  # the first start of a run that the same command resumes
    r".*Checkpoint directory .* exists and is not empty.*",  # every later start
    r".*is smaller than the logging interval.*",  # a small set; figures are logged over its epochs
    r".*To copy construct from a tensor.*",  # Lightning's monitor of a learning rate that is one
)
# Of the trainer's options: what Lightning takes, trains with, or stumbles over later
NUMBERS = {
    "[0, inf)": ("gradient_clip_val", "limit_train_batches", "limit_val_batches", "limit_test_batches", "overfit_batches"),
    "[1, inf)": ("log_every_n_steps", "accumulate_grad_batches", "check_val_every_n_epoch", "num_nodes"),
    "[-1, inf)": ("max_steps", "max_epochs", "num_sanity_val_steps"),
    "(0, inf)": ("val_check_interval",),
}
LAST = "last.ckpt"
ADVERTISEMENT = (
    "💡 Tip",
    "TPU available",
    "`weights_only` was not set",  # which is how our own reading of checkpoints is told what it does anyway
    "`Trainer.fit` stopped: `max_steps",  # the last lines of a training say more
)


class CheckedCLI(LightningCLI):
    """Lightning's command line, on which numbers that make no sense are refused before anything is built."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Configurations and command line; nothing is built."""
        check_arguments(args)
        try:
            super().parse_arguments(parser, args)
        except RecursionError:
            raise UserError("a configuration is nested too deeply.") from None
        except UnicodeDecodeError as error:
            raise UserError(f"a configuration is not UTF-8: {error}.") from None

    def before_instantiate_classes(self) -> None:
        """Refuse that checkpoints are read as programs, by whatever plugin."""
        if self._get(self.config, "weights_only") is False:
            raise UserError("weights_only false is not accepted: it lets a checkpoint run whatever it says; leave it out.")

    def _set_seed(self) -> None:
        seed = self._get(self.config, "seed_everything")
        require(f"[0, {2**32 - 1}]", seed_everything=None if isinstance(seed, bool) else seed)
        super()._set_seed()

    def instantiate_classes(self) -> None:
        """Build module, data module and trainer; what they say of their options becomes a sentence (later, a ValueError is a bug)."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            raise error if isinstance(error, UserError) else _sentence(error) from error

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Any]) -> Trainer:
        for interval, names in NUMBERS.items():
            require(interval, **{name: config.get(name) for name in names if isinstance(config.get(name), int | float)})
        devices = config.get("devices")
        devices = int(devices) if isinstance(devices, str) and re.fullmatch(r"\s*-?\d+\s*", devices) else devices
        if isinstance(devices, int) and devices != -1:  # which is all of them
            require("[1, inf)", devices=devices)
        return super()._instantiate_trainer(config, callbacks)


class JascoCLI(CheckedCLI):
    """Every default of a configuration can be overridden: `jasco fit -c conf/mini.yaml --model.lr 2e-4 --trainer.max_steps 200`."""

    def __init__(self, command: str, *args: Any, **options: Any) -> None:
        only = {command: LightningCLI.subcommands()[command]}
        self.subcommands = lambda: only  # type: ignore[method-assign]  # Lightning would build the options of all four, for seconds
        super().__init__(*args, **options)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The model's controls say which stored fields are read, the crops how long the model's clips are: one place, not two."""
        parser.link_arguments("model.config.controls", "data.fields", compute_fn=stored_fields)
        parser.link_arguments("data.seconds", "model.config.seconds")
        parser.add_argument(
            "--unfed_controls",
            type=Literal["refuse", "leave_out"],
            default="refuse",
            help="what becomes of controls whose field data.train has not throughout: nothing is trained, or the model goes without",
        )

    def before_instantiate_classes(self) -> None:
        """Refuse what Lightning stumbles over; leave out the controls that the training data cannot feed, if that is asked for."""
        super().before_instantiate_classes()
        config = self.config[self.subcommand]
        data, model = config.data, config.model
        if config.get("ckpt_path") in ("", "best", "hpc"):  # words of Lightning's that mean nothing in a process of its own
            raise UserError(f"ckpt_path {config.ckpt_path!r} is not accepted: a checkpoint is, or last, or null.")
        self._fed: Fed | None = None
        if config.unfed_controls == "leave_out":
            self._fed = Fed.of(ShardReader(data.train, cache=CacheOptions(data.cache, data.cache_gb)), model.config.controls)
            model.config.controls = less(model.config.controls, self._fed.unfed)
            data.fields = stored_fields(model.config.controls)
            if model.dropout is not None:
                model.dropout.exceptions = less(model.dropout.exceptions, self._fed.unfed)

    def _parse_ckpt_path(self) -> None:
        """Take no options from a checkpoint: what the configuration and the command line say holds on resume too."""

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Any]) -> Trainer:
        given = config.get("callbacks") or []
        kinds = [type(callback) for callback in (given if isinstance(given, list) else [given])]
        if self.subcommand == "fit":
            always = (GradientGuard, StopSignals, Heartbeat, SessionRecord)
            own: list[tuple[type[Callback], type[Callback]]] = [(kind, kind) for kind in always]
            if config.get("enable_progress_bar") is not False:
                own.append((StepBar, ProgressBar))
            callbacks = [*callbacks, *(kind() for kind, base in own if not any(issubclass(other, base) for other in kinds))]
        if config.get("strategy") == "fsdp":  # FSDP1, which our averages and checkpoints do not know, is Lightning's
            config["strategy"] = ShardedStrategy()
        plugins = config.get("plugins") or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):  # Lightning's own reads a URL with all that pickles can do
            plugins = [*plugins, AtomicCheckpointIO()]
        slurm = "SLURM_NTASKS" in os.environ or shutil.which("srun") is not None
        if slurm and not (is_task(os.environ) or TorchElasticEnvironment.detect()):  # a shell of salloc: no other tasks will come
            plugins = [*plugins, *([] if any(isinstance(plugin, ClusterEnvironment) for plugin in plugins) else [LightningEnvironment()])]
        config["plugins"] = plugins
        steps = config.get("val_check_interval")
        if isinstance(steps, int):  # as `max_steps`; Lightning counts the parts that a step is accumulated from
            config["val_check_interval"] = steps * config.get("accumulate_grad_batches", 1)
        return super()._instantiate_trainer(config, callbacks)

    def _run_subcommand(self, subcommand: str) -> None:
        if subcommand != "fit":
            super()._run_subcommand(subcommand)
            return
        with working_in(self.trainer):
            if self.trainer.is_global_zero:
                for line in self._before():
                    print(line, file=sys.stderr)
            super()._run_subcommand(subcommand)
            if self.trainer.is_global_zero:
                for line in results(self.trainer):
                    print(line, file=sys.stderr)

    def _before(self) -> list[str]:
        """What is said of controls and texts before the first step."""
        data, start = self.datamodule, self.model.start_from
        fed = self._fed or Fed.of(ShardReader(data.train_folder, cache=CacheOptions(data.cache, data.cache_gb)), self.model.config.controls)
        return fed.lines(start, controls_of(start), offer=self._fed is not None)


class Unstarted(JascoCLI):
    """Module, data and trainer of `jasco fit` with these arguments, configurations and overrides; it does not begin.

    Args:
        prog: command that speaks where an argument is not accepted.
        arguments: of `jasco fit`.
    """

    def __init__(self, prog: str, arguments: Sequence[str]) -> None:
        super().__init__(
            "fit",
            JascoModule,
            ShardDataModule,
            args=["fit", *arguments],
            save_config_callback=None,
            auto_configure_optimizers=False,
            parser_kwargs={"prog": prog},
        )

    def _run_subcommand(self, subcommand: str) -> None:
        pass


@contextlib.contextmanager
def working_in(trainer: Trainer) -> Iterator[None]:
    """Say where a training goes, and hold the folders that it writes into against others.

    Raises:
        UserError: another training works there.
    """
    if not trainer.is_global_zero:
        yield
        return
    with contextlib.ExitStack() as held:
        folders = (log_dir(trainer), getattr(trainer.checkpoint_callback, "dirpath", None))
        for folder in sorted({os.path.abspath(folder) for folder in folders if folder}):
            taken = f"another training is running in {folder!r}: wait for it, or name another run (--trainer.logger.init_args.name)."
            held.enter_context(alone(folder, taken))
        print(f"training into {log_dir(trainer)}; watch it with `make tensorboard`", file=sys.stderr)
        yield


def log_dir(trainer: Trainer) -> str:
    """The folder of a training; `trainer.log_dir` is the same, but waits for all processes to ask for it."""
    logger = trainer.loggers[0] if trainer.loggers else None
    return str(getattr(logger, "log_dir", None) or getattr(logger, "save_dir", None) or trainer.default_root_dir)


def results(trainer: Trainer) -> list[str]:
    """Where the checkpoints of a training are, and what makes a model of them."""
    savers = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint) and callback.dirpath]
    lasts = [path for saver in savers if (path := saver.last_model_path) and os.path.exists(path)]
    lasts = lasts or [str(file) for saver in savers if (file := Path(str(saver.dirpath)) / LAST).exists()]
    found = [f"{trainer.global_step} steps are done: {path}" for path in lasts[:1]]
    found += [
        f"best by {saver.monitor} ({float(saver.best_model_score):.3g}): {saver.best_model_path}"  # type: ignore[arg-type]
        for saver in savers
        if saver.monitor and saver.best_model_path
    ]
    if found:
        name = Path(log_dir(trainer)).name or "mine"
        taken = shlex.join(["jasco", "export", found[-1].rpartition(": ")[2], "-o", f"checkpoints/{name}"])
        found.append(f"a folder for `jasco generate --checkpoint checkpoints/{name}` is made by: {taken}")
    return found


def quiet() -> None:
    """Drop the messages that are understood and need no action."""
    for message in NOISE:
        warnings.filterwarnings("ignore", message=message)
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(lambda record: not record.getMessage().startswith(ADVERTISEMENT))


def run(command: str, arguments: Sequence[str]) -> None:
    """Run one of Lightning's subcommands: fit, validate, test.

    Raises:
        UserError: the configuration or the data cannot be used, or another process of the training is gone.
    """
    quiet()
    try:
        JascoCLI(
            command,
            JascoModule,
            ShardDataModule,
            args=[command, *arguments],
            save_config_kwargs={"overwrite": True},
            auto_configure_optimizers=False,
            parser_kwargs={"prog": "jasco", "description": "Train, validate or test a model from a YAML configuration."},
        )
    except MisconfigurationException as error:
        raise _sentence(error) from error
    except RuntimeError as error:
        raise lost_contact(error) or error from error


def _sentence(error: Exception) -> UserError:
    return UserError(" ".join(str(error).split()).rstrip(".!") + ".")
