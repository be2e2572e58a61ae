"""What whole commands cost, from nothing to the files that they write: CPU time, several programs in turn."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from jasco_pl.system.errors import UserError

REQUEST = ("--text", "mellow pop ballad with piano and strings", "--chords", "C | G | Am | F", "--bpm", "96", "--seed", "7")
TORCH = "import torch"
COMMANDS: dict[str, tuple[str, ...]] = {
    "--help": ("--help",),
    "half a second in one step": ("generate", *REQUEST, "--seconds", "0.5", "--solver", "euler", "--steps", "1"),
    "ten seconds as by default": ("generate", *REQUEST, "--seconds", "10"),
}
"""What is run, but for where it writes."""


def start_costs(programs: Sequence[str], repeats: int, threads: int) -> dict[tuple[str, str], list[float]]:
    """CPU seconds of every turn, by (command, program); `TORCH` is by this interpreter.

    All take turns, so that a busy machine slows all alike; a turn before those that count fills the caches of files.

    Args:
        programs: paths of `jasco`.
        repeats: turns that count.
        threads: of PyTorch and what else computes.

    Raises:
        UserError: one of the programs cannot be run or fails.
    """
    costs: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for turn in range(repeats + 1):
            runs = {(TORCH, ""): [sys.executable, "-c", TORCH]}
            for what, words in COMMANDS.items():
                for program in programs:
                    out = ["-o", str(Path(folder) / "clip.wav")] if words[0] == "generate" else []
                    runs[what, program] = [program, *words, *out]
            for key, command in runs.items():
                seconds = cpu_seconds(command, threads)
                if turn:
                    costs.setdefault(key, []).append(seconds)
    return costs


def cpu_seconds(command: Sequence[str], threads: int) -> float:
    """Of a process with all that it starts, user and system together.

    Raises:
        UserError: it cannot be started or fails.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    surroundings = {**os.environ, "OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=surroundings, check=False)
    except OSError as error:
        raise UserError(f"{command[0]!r} cannot be run ({error.strerror}): --program takes the path of a `jasco`.") from error
    if done.returncode:
        said = next(iter(done.stderr.strip().splitlines()[::-1]), "it says nothing").rstrip(".")
        raise UserError(f"{' '.join(command[:2])} failed with status {done.returncode}: {said}.")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
