"""`make train` as a person types it: on two 'nodes' of this machine, and through sbatch and srun that really run things."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from recorder import free_port, jasco, read, recording

ROOT = Path(__file__).parents[2]

SBATCH = """
import os, subprocess, sys
options = dict(word[2:].split("=") for word in sys.argv[1:] if word.startswith("--") and "=" in word)
place = next(number for number, word in enumerate(sys.argv) if word.endswith(".sbatch"))
nodes, tasks = int(options["nodes"]), int(options["ntasks-per-node"])
job = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "jasco", "SLURM_NNODES": str(nodes), "SLURM_NTASKS_PER_NODE": str(tasks),
       "SLURM_NTASKS": str(nodes * tasks), "SLURM_SUBMIT_DIR": os.getcwd()}
sys.exit(subprocess.run(["bash", *sys.argv[place:]], env={**os.environ, **job}).returncode)
"""
SRUN = """
import os, subprocess, sys
command = [word for word in sys.argv[1:] if word != "--kill-on-bad-exit=1"]
tasks, each = int(os.environ["SLURM_NTASKS"]), int(os.environ["SLURM_NTASKS_PER_NODE"])
places = [{"SLURM_PROCID": str(n), "SLURM_LOCALID": str(n % each), "SLURM_NODEID": str(n // each),
           "SLURM_STEP_NUM_TASKS": str(tasks)} for n in range(tasks)]
os.environ["SLURM_NODELIST"] = "127.0.0.1"
started = [subprocess.Popen(command, env={**os.environ, **place}) for place in places]
open(os.environ["PIDS"], "w").write(" ".join(str(process.pid) for process in started))
sys.exit(max(process.wait() for process in started))
"""
SCONTROL = """
import os, sys
open(os.environ["QUEUED"], "a").write(" ".join(sys.argv[1:]))
"""
TRAIN = ("-o", ".venv/.jasco-setup", "train")
PLAIN = ("--model.config.transformer.dropout", "0")


@pytest.fixture
def make(tiny_training, tmp_path):
    """make(log, arguments of jasco, make's variables, environment) -> the running `make train`; its data are those of `tiny_training`."""
    (tmp_path / "shards").mkdir()
    for split in ("train", "valid"):
        (tmp_path / "shards" / split).symlink_to(tmp_path / split)

    def run(log: Path, *arguments: str, variables: tuple[str, ...] = (), **environment: str) -> subprocess.Popen[bytes]:
        words = " ".join(f"'{word}'" for word in arguments[2:])  # the first two are -c conf/mini.yaml, which make gives
        surroundings = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1", "MAKEFLAGS": "", **environment}
        command = ["make", *TRAIN, f"DATA={tmp_path}", *variables, f"ARGS={words}"]
        return subprocess.Popen(command, cwd=ROOT, env=surroundings, stdout=open(log, "ab"), stderr=subprocess.STDOUT)

    return run


def losses(path: Path, world: int) -> list[float]:
    ranks = [[line["loss"] for line in read(path, rank)] for rank in range(world)]
    return [sum(step) / world for step in zip(*ranks, strict=True)]


@pytest.mark.slow
def test_two_nodes_by_make_train_and_one_of_them_killed(make, tiny_training, tmp_path):
    """Thirty steps of two nodes with two processes each are those of one process; killed at 20, the same two commands go on to the end."""
    options = ("--trainer.max_steps", "30", "--model.decay_steps", "40", *PLAIN)
    assert jasco(["fit", *tiny_training("one", recording(tmp_path / "one"), *options)], tmp_path / "one.txt") == 0
    expected = [line["loss"] for line in read(tmp_path / "one")]

    def both(record: str, **kill: Any) -> list[subprocess.Popen[bytes]]:
        arguments = tiny_training("two", recording(tmp_path / record, **kill), *options)
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        variables = ("NODES=2", "DEVICES=2", "STRATEGY=fsdp")
        return [make(tmp_path / f"{record}.txt", *arguments, variables=variables, NODE_RANK=str(node), **shared) for node in (0, 1)]

    nodes = both("killed", kill_at=20, kill_rank=3)
    assert nodes[1].wait(500) != 0
    lost = time.monotonic()
    assert nodes[0].wait(60) != 0
    print("the other node ended after", time.monotonic() - lost, "s")
    said = (tmp_path / "killed.txt").read_text()
    assert "-m torch.distributed.run --nnodes 2 --nproc-per-node 2 --node-rank 0 --master-addr 127.0.0.1" in said
    assert "ends because another one has ended or cannot be reached" in said
    assert [node.wait(500) for node in both("resumed")] == [0, 0], (tmp_path / "resumed.txt").read_text()
    whole = losses(tmp_path / "killed", 3)
    assert len(whole) == 20
    again = losses(tmp_path / "resumed", 4)
    assert again == pytest.approx(expected[30 - len(again) :], rel=1e-4)
    assert len(again) in (10, 11, 12)  # saved at every second step


@pytest.mark.slow
def test_a_job_is_submitted_runs_and_is_queued_again_before_its_time_is_up(make, tiny_training, tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, script in (("sbatch", SBATCH), ("srun", SRUN), ("scontrol", SCONTROL)):
        (tools / name).write_text(f"#!{sys.executable}\n{script}")
        (tools / name).chmod(0o755)
    environment = {"PATH": f"{tools}:{os.environ['PATH']}", "PIDS": str(tmp_path / "pids"), "QUEUED": str(tmp_path / "queued")}
    variables = ("NODES=2", "DEVICES=1", "STRATEGY=ddp", "SBATCH_ARGS=--partition=none")
    log = tmp_path / "job.txt"
    long = ("--trainer.max_steps", "4000", "--model.decay_steps", "4000", *PLAIN)
    job = make(log, *tiny_training("run", recording(tmp_path / "run"), *long), variables=variables, **environment)
    deadline = time.monotonic() + 300
    while not (tmp_path / "run.1").exists():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)
    for pid in (tmp_path / "pids").read_text().split():
        os.kill(int(pid), signal.SIGUSR1)
    assert job.wait(120) != 0
    done = len(read(tmp_path / "run"))
    said = log.read_text()
    assert "sbatch --nodes=2 --ntasks-per-node=1 --gpus-per-node=1 --partition=none conf/slurm/train.sbatch fit" in said
    assert f"stopped by SIGUSR1 after step {done}: " in said
    assert (tmp_path / "queued").read_text() == "requeue 4711"

    end = ("--trainer.max_steps", str(done + 2), "--model.decay_steps", "4000", *PLAIN)
    job = make(log, *tiny_training("run", recording(tmp_path / "again"), *end), variables=variables, **environment)
    assert job.wait(500) == 0, log.read_text()
    assert [line["step"] for line in read(tmp_path / "again")] == [done + 1, done + 2]
    assert (tmp_path / "queued").read_text() == "requeue 4711"  # a job that is finished is not queued again
    shutil.rmtree(tools)
