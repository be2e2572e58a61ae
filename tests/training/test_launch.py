from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jasco_pl.system.errors import UserError
from jasco_pl.training.launch import command, explain, main, surroundings

ROOT = Path(__file__).parents[2]
ARGUMENTS = ["-c", "conf/mini.yaml", "--model.lr", "2e-4"]


def line(nodes: int = 1, devices: str = "auto", strategy: str = "auto", options: str = "", **environment: str) -> list[str]:
    return command(ARGUMENTS, nodes, devices, strategy, options, environment)


def test_one_node_without_a_strategy_is_jasco_itself():
    assert line()[1:] == ["-m", "jasco_pl.cli", "fit", "-c", "conf/mini.yaml", *sizes(1, "auto"), "--model.lr", "2e-4"]


def sizes(nodes: int, devices: int | str) -> list[str]:
    return ["--trainer.num_nodes", str(nodes), "--trainer.devices", str(devices)]


def test_a_strategy_on_one_node_is_torchrun_with_a_port_of_its_own_and_the_overlay_after_the_configuration():
    run = line(devices="8", strategy="fsdp")
    assert run[1:9] == ["-m", "torch.distributed.run", "--nnodes", "1", "--nproc-per-node", "8", "--standalone", "--shutdown-timeout"]
    assert run[run.index("jasco_pl.cli") + 1 :] == [
        *("fit", "-c", "conf/mini.yaml", "-c", "conf/fsdp.yaml"),
        *(*sizes(1, 8), "--model.lr", "2e-4"),
    ]


def test_every_node_has_a_line_of_its_own_and_the_first_says_what_the_others_need():
    first = line(4, "8", "ddp", MASTER_ADDR="node0")
    third = line(4, "8", "ddp", NODE_RANK="2", MASTER_ADDR="node0", MASTER_PORT="1234")
    assert (
        " ".join(first[3:15])
        == "--nnodes 4 --nproc-per-node 8 --node-rank 0 --master-addr node0 --master-port 29500 --shutdown-timeout 120"
    )
    assert " ".join(third[7:13]) == "--node-rank 2 --master-addr node0 --master-port 1234"
    assert "NODE_RANK=1 .. 3 MASTER_ADDR=node0 MASTER_PORT=29500" in explain(first, 4, {})
    assert len(explain(third, 4, {"NODE_RANK": "2"}).splitlines()) == 1


BAD = [
    ({"nodes": "0"}, {}, "NODES=0 is not accepted: a whole number from 1 on is."),
    ({"nodes": "two"}, {}, "NODES=two is not accepted"),
    ({"strategy": "dp"}, {}, "STRATEGY=dp is unknown: auto, ddp, fsdp are accepted."),
    ({"devices": "-1"}, {}, "DEVICES=-1 is not accepted"),
    ({"devices": "4,5", "strategy": "ddp"}, {}, "DEVICES=4,5 is not accepted"),
    ({"nodes": "2", "devices": "1"}, {"NODE_RANK": "2", "MASTER_ADDR": "a"}, "of 2 nodes the ranks are 0 to 1."),
    ({"nodes": "2", "devices": "1"}, {"NODE_RANK": "1"}, "NODE_RANK=1 also needs MASTER_ADDR"),
    ({"nodes": "2", "devices": "1"}, {"NODE_RANK": "0", "MASTER_PORT": "x"}, "MASTER_PORT=x is not accepted"),
]


@pytest.mark.parametrize(("options", "environment", "message"), BAD)
def test_values_that_are_not_accepted_are_one_sentence(options, environment, message, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main([word for name, value in options.items() for word in (f"--{name}={value}",)] + ["--check", "--", *ARGUMENTS]) == 2
    error = capsys.readouterr().err
    assert error.startswith("train: ")
    assert message in error
    assert len(error.splitlines()) == 1


def fake(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!{sys.executable}\n{script}")
    (folder / name).chmod(0o755)


def test_where_slurm_is_the_job_is_submitted_with_its_sizes(tmp_path):
    fake(tmp_path, "sbatch", "")
    run = line(4, "8", "fsdp", "--partition=gpu --time='1:00:00'", PATH=str(tmp_path))
    assert run[:5] == ["sbatch", "--nodes=4", "--ntasks-per-node=8", "--gpus-per-node=8", "--partition=gpu"]
    assert run[5:9] == ["--time=1:00:00", "conf/slurm/train.sbatch", "fit", "-c"]
    assert run[-6:] == [*sizes(4, 8), "--model.lr", "2e-4"]
    assert line(1, "1", PATH=str(tmp_path), SLURM_JOB_ID="7")[0] != "sbatch"  # this is a job already
    with pytest.raises(UserError, match=r"DEVICES=auto is not accepted for a SLURM job.* LOCAL=1 trains on this machine"):
        line(4, "auto", "fsdp", PATH=str(tmp_path))
    here = command(ARGUMENTS, 1, "auto", "auto", "", {"PATH": str(tmp_path)}, local=True)
    assert here == line()  # as where there is no SLURM


def test_a_shell_of_salloc_is_not_taken_for_a_task_that_waits_for_others():
    shell = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "HOME": "/root"}
    assert surroundings(shell) == {"HOME": "/root"}
    task = {**shell, "SLURM_STEP_NUM_TASKS": "8"}
    assert surroundings(task) == task


@pytest.mark.parametrize(("value", "expected"), [("", False), ("0", False), ("1", True)])
def test_local_is_a_variable_of_make(value, expected):
    make = ["make", "--no-print-directory", "-n", "-o", ".venv/.jasco-setup", "train", f"LOCAL={value}", "DATA=no"]
    done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, "MAKEFLAGS": ""})
    assert ("--local" in done.stdout.splitlines()[-1]) == expected


def test_the_template_asks_for_what_the_training_relies_on():
    template = (ROOT / "conf/slurm/train.sbatch").read_text()
    for needed in (
        "#SBATCH --requeue",
        "#SBATCH --signal=USR1@180",
        "#SBATCH --open-mode=append",
        "srun ",
        'scontrol requeue "$SLURM_JOB_ID"',
    ):
        assert needed in template
    assert subprocess.run(["bash", "-n", ROOT / "conf/slurm/train.sbatch"], check=False).returncode == 0


def test_make_train_passes_its_variables_on():
    make = ["make", "--no-print-directory", "-n", "-o", ".venv/.jasco-setup", "train"]
    make += ["NODES=2", "DEVICES=4", "STRATEGY=fsdp", "MAX_STEPS=9", "DATA=no"]
    done = subprocess.run(
        [*make, "ARGS=--model.lr 2e-4"], cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, "MAKEFLAGS": ""}
    )
    run = done.stdout.splitlines()[-1]
    assert re.search(
        r'launch --nodes "2" --devices "4" --strategy "fsdp" .*-- -c conf/mini\.yaml .*--trainer\.max_steps 9 --model\.lr 2e-4$', run
    )
