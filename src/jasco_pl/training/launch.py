"""Starts a training on this machine, on several, or as a SLURM job: what `make train` runs.

python -m jasco_pl.training.launch --nodes 4 --devices 8 --strategy fsdp -- -c conf/mini.yaml --model.lr 2e-4

One node and no strategy: `jasco fit` itself. More: this node's torchrun line is printed and run; every node runs the same command, with
NODE_RANK (0 .. nodes - 1) and MASTER_ADDR (where rank 0 is reached; MASTER_PORT, default 29500) in the environment. Where sbatch is there,
and this is no job already: conf/slurm/train.sbatch is submitted; --local runs here all the same. What runs here does not see SLURM's
variables, unless this is one of several tasks that srun started: in a shell of salloc Lightning would wait for tasks that nobody starts.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from jasco_pl.system.errors import UserError

OVERLAYS = {"auto": [], "ddp": ["-c", "conf/ddp.yaml"], "fsdp": ["-c", "conf/fsdp.yaml"]}
TEMPLATE = Path("conf/slurm/train.sbatch")
PORT = "29500"
SAVE_SECONDS = 120  # that torchrun gives its processes after SIGTERM; its default of 30 may be short for a large checkpoint


def count(name: str, value: str, least: int = 1) -> int:
    """A number from the environment or the command line.

    Raises:
        UserError: it is none, or too small.
    """
    if not value.isascii() or not value.isdigit() or int(value) < least:
        raise UserError(f"{name}={value} is not accepted: a whole number from {least} on is.")
    return int(value)


def local_devices() -> int:
    """GPUs of this machine, or 1 for its CPU."""
    import torch  # takes seconds; only where it is needed

    return torch.cuda.device_count() or 1


def fit_arguments(arguments: Sequence[str], nodes: int, devices: int | str, strategy: str) -> list[str]:
    """What follows `jasco`: the strategy's overlay after the given configurations, the rest of the given options last."""
    given = list(arguments)
    ends = [
        place + 2 if word in ("-c", "--config") else place + 1 for place, word in enumerate(given) if word.startswith(("-c", "--config"))
    ]
    last = max(ends, default=0)
    sizes = ["--trainer.num_nodes", str(nodes), "--trainer.devices", str(devices)]
    return ["fit", *given[:last], *OVERLAYS[strategy], *sizes, *given[last:]]


def sbatch_command(arguments: Sequence[str], nodes: int, devices: str, strategy: str, options: str) -> list[str]:
    """The submission of a job."""
    if devices == "auto":
        raise UserError(
            "DEVICES=auto is not accepted for a SLURM job: say how many GPUs a node has, as in DEVICES=8; LOCAL=1 trains on this machine."
        )
    number = count("DEVICES", devices)
    sizes = [f"--nodes={nodes}", f"--ntasks-per-node={number}", f"--gpus-per-node={number}"]
    return ["sbatch", *sizes, *shlex.split(options), str(TEMPLATE), *fit_arguments(arguments, nodes, number, strategy)]


def torchrun_command(arguments: Sequence[str], nodes: int, devices: str, strategy: str, environment: Mapping[str, str]) -> list[str]:
    """The line of this node."""
    number = local_devices() if devices == "auto" else count("DEVICES", devices)
    run = [sys.executable, "-m", "torch.distributed.run", "--nnodes", str(nodes), "--nproc-per-node", str(number)]
    if nodes == 1:
        run += ["--standalone"]
    else:
        rank = count("NODE_RANK", environment.get("NODE_RANK", "0"), 0)
        if rank >= nodes:
            raise UserError(f"NODE_RANK={rank} is not accepted: of {nodes} nodes the ranks are 0 to {nodes - 1}.")
        if rank and not environment.get("MASTER_ADDR"):
            raise UserError(f"NODE_RANK={rank} also needs MASTER_ADDR: the name or address of the machine that runs NODE_RANK=0.")
        port = count("MASTER_PORT", environment.get("MASTER_PORT", PORT))
        run += ["--node-rank", str(rank), "--master-addr", environment.get("MASTER_ADDR") or socket.getfqdn(), "--master-port", str(port)]
    run += ["--shutdown-timeout", str(SAVE_SECONDS), "-m", "jasco_pl.cli"]
    return [*run, *fit_arguments(arguments, nodes, number, strategy)]


def is_task(environment: Mapping[str, str]) -> bool:
    """Whether this process is one of several that srun started, which belong together."""
    number = environment.get("SLURM_STEP_NUM_TASKS", "")
    return number.isdecimal() and int(number) > 1


def surroundings(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of what runs on this machine."""
    return dict(environment) if is_task(environment) else {k: v for k, v in environment.items() if not k.startswith("SLURM_")}


def command(
    arguments: Sequence[str], nodes: int, devices: str, strategy: str, options: str, environment: Mapping[str, str], local: bool = False
) -> list[str]:
    """What is to be run on this machine.

    Args:
        arguments: of `jasco fit`.
        nodes: machines.
        devices: on each, or auto.
        strategy: a name of `OVERLAYS`.
        options: of sbatch.
        environment: in which it runs.
        local: submit nothing, wherever this is.

    Raises:
        UserError: a number or name is not accepted.
    """
    if strategy not in OVERLAYS:
        raise UserError(f"STRATEGY={strategy} is unknown: {', '.join(OVERLAYS)} are accepted.")
    if not local and "SLURM_JOB_ID" not in environment and shutil.which("sbatch", path=environment.get("PATH")):
        return sbatch_command(arguments, nodes, devices, strategy, options)
    if nodes > 1 or strategy != "auto":
        return torchrun_command(arguments, nodes, devices, strategy, environment)
    number = devices if devices == "auto" else count("DEVICES", devices)
    return [sys.executable, "-m", "jasco_pl.cli", *fit_arguments(arguments, nodes, number, strategy)]


def explain(run: Sequence[str], nodes: int, environment: Mapping[str, str]) -> str:
    """What is said before it runs: the line itself, and what the other nodes have to run."""
    lines = [shlex.join(run)]
    if "--master-addr" in run and environment.get("NODE_RANK", "0") == "0":
        address, port = (run[run.index(name) + 1] for name in ("--master-addr", "--master-port"))
        others = "1" if nodes == 2 else f"1 .. {nodes - 1}"
        lines.append(
            f"waiting for the other nodes; there the same command, with NODE_RANK={others} MASTER_ADDR={address} MASTER_PORT={port}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Start it; takes the place of this process, but for a submission."""
    parser = argparse.ArgumentParser(prog="launch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="1", help="machines (default %(default)s)")
    parser.add_argument("--devices", default="auto", help="processes on each, one a GPU (default %(default)s)")
    parser.add_argument("--strategy", default="auto", help=f"{', '.join(OVERLAYS)} (default %(default)s)")
    parser.add_argument("--sbatch", default="", metavar="OPTIONS", help="more options of sbatch")
    parser.add_argument("--local", action="store_true", help="on this machine, though SLURM is there")
    parser.add_argument("--check", action="store_true", help="only say whether these are accepted")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="for `jasco fit`, after --")
    args = parser.parse_args(argv)
    try:
        nodes = count("NODES", args.nodes)
        run = command(args.arguments, nodes, args.devices, args.strategy, args.sbatch, os.environ, args.local)
    except UserError as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    if args.check:
        return 0
    print(explain(run, nodes, os.environ), file=sys.stderr, flush=True)
    if run[0] == "sbatch":
        Path("runs/slurm").mkdir(parents=True, exist_ok=True)  # SLURM would end the job without a word
        return subprocess.run(run).returncode
    os.execvpe(run[0], run, surroundings(os.environ))


if __name__ == "__main__":
    sys.exit(main())
