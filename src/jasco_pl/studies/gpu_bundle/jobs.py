"""The jobs of a bundle: a training, one of the codec's decoder, tables of speed. Each composes the music that it needs."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jasco_pl.studies.gpu_bundle.layout import CODEC, SOUNDFONT
from jasco_pl.studies.gpu_bundle.machine import bundle_folder, facts, install
from jasco_pl.studies.gpu_bundle.run import Run, StageError, carry_out
from jasco_pl.system.errors import UserError

HOURS = {"train": 45.0, "decoder": 2.0, "bench": 0.2}
MUSIC = {"--edition": 2, "--bands": 2}  # as `make mini` composes it: what all controls of conf/mini_gpu.yaml are for
FIRST_HOURS = 1.0  # of music with which training begins
COMPOSING = 0.3  # largest share of the time; building shards of what is there by then takes about as long again
EXPORT = 60.0  # seconds: the last validation, export, packing
PACKING = 5.0
LEAST = 15.0  # for which a table is begun
EXPORT_LIMIT = 90.0  # of an export alone, where more is left
THREADS = 2  # of a training, beside which music is composed on all cores
INDEX = "index.json"  # of a folder of shards; what knows of it needs packages that may yet have to be installed
LAST = Path("runs/fit/checkpoints/last.ckpt")  # in the folder of a job that trains
# What makes conf/paper.yaml train on composed music with what is here, with shapes that cost the same but for the text's
PAPER_HERE = f"""--model.config.codec {CODEC} --model.config.codebook_size 1024 --model.config.text_encoder all-MiniLM-L6-v2
    --model.config.text_dim 384"""


@dataclass(frozen=True)
class Sizes:
    """What the environment says of a job's size.

    Attributes:
        hours, valid_hours: of music to compose.
        workers: processes that compose and build shards.
        batch: samples a step in tables of training; 0: each table's own.
        turns, steps: of either loop in such tables, and of a turn.
        arguments: appended to the commands that train.
    """

    hours: float
    valid_hours: float
    workers: int
    batch: int
    turns: int
    steps: int
    arguments: Sequence[str]

    @classmethod
    def of(cls, job: str, environment: Mapping[str, str]) -> Sizes:
        """Read them; what is not given has the job's default.

        Raises:
            UserError: a number is none, or not positive.
        """
        return cls(
            hours=_positive(environment, "HOURS", HOURS[job]),
            valid_hours=_positive(environment, "VALID_HOURS", 0.1),
            workers=int(_positive(environment, "WORKERS", os.cpu_count() or 1, whole=True)),
            batch=int(_positive(environment, "BATCH", 0, whole=True)),
            turns=int(_positive(environment, "TURNS", 10, whole=True)),
            steps=int(_positive(environment, "STEPS", 10, whole=True)),
            arguments=shlex.split(environment.get("ARGS", "")),
        )


def _positive(environment: Mapping[str, str], name: str, default: float, whole: bool = False) -> float:
    text = environment.get(name)
    if not text:
        return default
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise UserError(f"{name}={text} is not accepted: a positive {'whole ' * whole}number is.")
    return value


def jasco(*words: str | Path) -> list[str]:
    """A command of this project."""
    return [sys.executable, "-m", "jasco_pl", *map(str, words)]


def options(values: Mapping[str, float]) -> list[str]:
    """Words of a command that give numbers."""
    return [word for name, value in values.items() for word in (name, f"{value:g}")]


class Job:
    """What the jobs have in common: the folder they work in, music, shards."""

    def __init__(self, run: Run, work: Path, sizes: Sizes) -> None:
        self.run, self.work, self.sizes = run, work, sizes

    def compose(self, split: str, hours: float, share: float) -> None:
        """Music of a split; what is there when that share of the job's time is over is enough, if it is a piece."""
        numbers = {"--hours": hours, "--workers": self.sizes.workers}
        command = jasco("compose", "--out", self.pieces(split), "--split", split, *options(numbers | MUSIC))
        self.run.stage(f"compose {split}", command, self.run.at(share), part=lambda: any(self.pieces(split).glob("*.json")), threads=1)

    @contextmanager
    def composing(self, split: str, hours: float) -> Iterator[None]:
        """Inside, music of a split is composed and encoded beside, on all cores but one, and the first hour of it is there."""
        numbers = {"--hours": hours, "--first": min(FIRST_HOURS, hours), "--workers": max(1, self.sizes.workers - 1)}
        command = jasco("compose", "--out", self.pieces(split), "--split", split, "--shards", self.shards(split), *options(numbers | MUSIC))
        with self.run.beside(f"compose {split}", command, self.run.at(1.0) - EXPORT, (self.shards(split) / INDEX).exists, threads=1):
            yield

    def pieces(self, split: str) -> Path:
        """Folder of composed pieces."""
        return self.work / "pieces" / split

    def shards(self, split: str) -> Path:
        """Folder of shards."""
        return self.work / "shards" / split

    def build_shards(self, split: str) -> None:
        """Shards of what was composed."""
        command = jasco(
            "shards", "build", "--pieces", self.pieces(split), "--out", self.shards(split), "--workers", str(self.sizes.workers)
        )
        self.run.stage(f"shards {split}", command, self.run.at(1.0) - EXPORT, threads=1)

    def into_runs(self) -> list[str]:
        """Options of a training: where it goes."""
        folder = str(self.work / "runs")
        logger = "--trainer.logger.init_args"
        return ["--trainer.default_root_dir", folder, f"{logger}.save_dir", folder, f"{logger}.name", "fit"]

    def until_the_end(self) -> list[str]:
        """Options of a training: it lasts until what follows needs the time."""
        deadline = "--trainer.callbacks+=jasco_pl.training.deadline.Deadline"
        return [
            "--trainer.max_steps",
            "-1",
            "--trainer.max_epochs",
            "-1",
            deadline,
            f"--trainer.callbacks.at={self.run.at(1.0) - EXPORT:.0f}",
        ]

    def fit(self, command: Sequence[str]) -> None:
        """Train; where even a stop at the deadline takes too long, with what was saved last."""
        last = self.work / LAST
        command = [*command, *self.until_the_end(), *self.sizes.arguments]
        self.run.stage("fit", command, self.run.at(1.0) - EXPORT / 2, part=last.exists, threads=THREADS)

    def take_records(self, export: Callable[[Path], list[str]]) -> None:
        """Put what the training has by now into the results: its records, and its last checkpoint by the command that `export` makes."""
        last = self.work / LAST
        fit = last.parents[1]
        if fit.is_dir():
            shutil.copytree(fit, self.run.results / "fit", dirs_exist_ok=True, ignore=shutil.ignore_patterns("checkpoints"))
        if last.exists():
            self.run.stage("export", export(last), min(time.time() + EXPORT_LIMIT, self.run.at(1.0) - PACKING))


class Train(Job):
    """The shipped model's training: results are `jasco-mini`, for `jasco generate --checkpoint`, and `fit`, its records."""

    def __call__(self, run: Run) -> None:
        run.collect = lambda: self.take_records(lambda last: jasco("export", last, "-o", run.results / "jasco-mini", "--dtype", "float16"))
        self.compose("valid", self.sizes.valid_hours, COMPOSING / 2)
        self.build_shards("valid")
        data = ["--data.train", str(self.shards("train")), "--data.valid", str(self.shards("valid")), "--data.grow", "true"]
        with self.composing("train", self.sizes.hours):
            self.fit(jasco("fit", "-c", "conf/mini.yaml", "-c", "conf/mini_gpu.yaml", *data, *self.into_runs()))


class Decoder(Job):
    """The vocoder of the embedded codec: results are `codec-mini`, for `jasco codec report --codec`, and `fit`, its records."""

    def __call__(self, run: Run) -> None:
        self.compose("valid", self.sizes.valid_hours, COMPOSING / 2)
        self.compose("train", self.sizes.hours, COMPOSING)
        data = [f"--data.train=[{self.pieces('train')}]", f"--data.valid=[{self.pieces('valid')}]"]
        command = jasco("fit-codec", "-c", "conf/codec_mini.yaml", *data, *self.into_runs())

        def export(last: Path) -> list[str]:
            done = [
                "--ckpt_path",
                str(last),
                "--trainer.max_steps",
                "1",
                "--trainer.logger",
                "false",
            ]  # all steps are done: it only exports
            return [*command, *done, *self.sizes.arguments, "--export", str(run.results / "codec-mini")]

        run.collect = lambda: self.take_records(export)
        self.fit(command)


class Bench(Job):
    """Tables of speed: results are Markdown files, one a table, each of them whole; those that there was no time for are named.

    A table may take half of the time that is left when it begins, or an equal share where that is more.
    """

    def __call__(self, run: Run) -> None:
        self.compose("train", self.sizes.hours, COMPOSING)
        self.build_shards("train")
        tables, failed = self.tables(), []
        for place, (name, command) in enumerate(tables.items()):
            left, table = self.run.left(PACKING), run.results / f"{name}.md"
            if left < LEAST:
                failed.append(f"{name} was not begun")
                continue
            try:
                run.stage(name, command, time.time() + left / min(2, len(tables) - place), output=table)
            except StageError as error:
                failed.append(str(error).rstrip("."))
                table.unlink()  # what it has is no table
        if failed:
            raise StageError(f"{'; '.join(failed)}.")

    def tables(self) -> dict[str, list[str]]:
        """Their names and commands, the most wanted first; without a GPU those last that take long there."""

        def training(config: str, batch: int, *options: str, overrides: str = "") -> list[str]:
            numbers = ["--batch-size", str(self.sizes.batch or batch), "--turns", str(self.sizes.turns), "--steps", str(self.sizes.steps)]
            data = ["--data.train", str(self.shards("train")), "--data.valid", str(self.shards("train")), "--trainer.devices", "1"]
            configs = [word for name in config.split() for word in ("-c", f"conf/{name}.yaml")]
            return jasco("bench", "train", *configs, *options, *numbers, "--", *data, *overrides.split(), *self.sizes.arguments)

        compiled, plain = (("--compile", word, "--precision", "bf16-mixed") for word in ("on", "off"))
        generating = ("--repeats", str(self.sizes.turns), "--json", self.run.results / "paper-generate.json")
        tables = {
            "mini-compiled": training("mini mini_gpu", 128, *compiled),
            "paper-compiled": training("paper", 64, *compiled, overrides=PAPER_HERE),
            "paper-profile": training("paper", 64, *compiled, "--profile", overrides=PAPER_HERE),
            "paper-generate": jasco("bench", "generate", "-c", "conf/paper.yaml", *generating, "--", *self.sizes.arguments),
            "mini-profile": training("mini mini_gpu", 128, *compiled, "--profile"),
            "paper-eager": training("paper", 64, *plain, overrides=PAPER_HERE),
            "data": jasco("bench", "data", self.shards("train"), "--workers", "0", "4", "8"),
            "mini-eager": training("mini mini_gpu", 128, *plain),
            "paper-checkpointing": training("paper", 64, *compiled, overrides=f"{PAPER_HERE} --model.checkpointing true"),
        }
        long = [] if self.run.facts.get("gpu") else [name for name, command in tables.items() if "on" in command or "generate" in command]
        return dict(sorted(tables.items(), key=lambda table: table[0] in long))


JOBS: dict[str, type[Train | Decoder | Bench]] = {"train": Train, "decoder": Decoder, "bench": Bench}


def start(job: str, out: str | Path, minutes: float, environment: Mapping[str, str]) -> int:
    """Run a job from the bundle that this package lies in.

    Args:
        job: one of `JOBS`.
        out: where its results go, in pieces.
        minutes: it may take, with installing and saving.
        environment: where sizes are read from (`Sizes`), and what its processes get.

    Returns: 0, or 1 where the job failed.

    Raises:
        UserError: a size, the job or the machine is not accepted.
    """
    began = time.time()
    if job not in JOBS:
        raise UserError(f"there is no job {job!r}: {', '.join(JOBS)} are accepted.")
    if not 0 < minutes < float("inf"):
        raise UserError(f"{minutes:g} minutes are not accepted: a positive number is.")
    sizes, bundle = Sizes.of(job, environment), bundle_folder()
    installed = install(bundle)
    surroundings = {
        **environment,
        "JASCO_SOUNDFONT": str(next(bundle.glob(f"{SOUNDFONT}.*"))),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "MPLBACKEND": "Agg",
    }
    found = facts(surroundings)
    if found["gpu"] is None:
        print("no GPU is in reach: the CPU is used", flush=True)
    work = bundle / "work" / job
    if work.exists():
        shutil.rmtree(work)
    known = {**found, "installed": installed}
    run = Run(job, bundle, work / "results", Path(out).resolve(), minutes * 60, surroundings, known, began=began)
    return carry_out(run, JOBS[job](run, work, sizes))
