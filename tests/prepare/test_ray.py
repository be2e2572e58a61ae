"""The same set from a Ray cluster, whoever dies."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from recordings import content, small
from test_killed import begun, command, end, members, until

from jasco_pl.prepare import engine
from jasco_pl.prepare import jobs as on_ray
from jasco_pl.prepare.engine import Preparation
from jasco_pl.system.errors import UserError


@pytest.fixture
def session():
    """A folder for Ray, short because its sockets lie in it."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(session, monkeypatch):
    """One of two CPUs on this machine, which `--ray auto` finds."""
    import ray

    monkeypatch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, _temp_dir=str(session))
    yield
    ray.shutdown()


def actors() -> list[int]:
    """The actors of clusters on this machine that belong to this process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = folder.joinpath("cmdline").read_bytes()
            mine = folder.joinpath("stat").read_text().rpartition(")")[2].split()[3] == str(os.getsid(0))
        except OSError:
            continue
        if title.startswith(b"ray::") and b"TrackActor" in title and mine:
            found.append(int(folder.name))
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_actors_make_what_one_process_makes_though_one_of_them_is_killed(folder, prepare, tmp_path, tiny_codec_folder, monkeypatch):
    (folder / "bad.wav").write_text("no music")
    prepare(folder, tmp_path / "alone")
    killed = []

    def killing(jobs, config, original=on_ray.run_ray):
        for number, job in enumerate(original(jobs, config)):
            if not killed and number:
                killed.extend(actors()[:1])
                os.kill(killed[0], signal.SIGKILL)
            yield job

    monkeypatch.setattr(engine, "run_ray", killing)
    Preparation(folder, tmp_path / "together", small(tiny_codec_folder, ray="auto")).run()
    assert killed
    assert content(tmp_path / "together") == content(tmp_path / "alone")


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_nobody_and_the_next_one_completes_the_set(
    folder, prepare, tmp_path, tiny_codec_folder, session, monkeypatch
):
    (folder / "bad.wav").write_text("no music")
    prepare(folder, tmp_path / "whole")
    monkeypatch.setenv("RAY_TMPDIR", str(session))
    out = tmp_path / "out"
    arguments = command(folder, out, tiny_codec_folder, "--ray", "auto")
    assert end(arguments, out, signal.SIGKILL)[0] == -signal.SIGKILL
    assert begun(out)
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        _, text = process.communicate(timeout=400)
    assert process.returncode == 0, text
    until(lambda: not members(process.pid), "somebody stays")
    assert content(out) == content(tmp_path / "whole")
    said = {line.partition(":")[0].partition(" ")[0] for line in text.replace("\r", "\n").splitlines() if line.strip()}
    assert said <= {"look", "prepare", "report", "0.01", "1"}, text  # nothing of Ray's runs through the bar


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "nonsense", "somewhere:1234567"])
def test_a_cluster_that_is_not_there(address):
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    began = time.monotonic()
    with pytest.raises(UserError, match=f"no Ray cluster at '{address}'"):
        on_ray.connect(address)
    assert time.monotonic() - began < 60


def test_without_ray(monkeypatch, folder, tmp_path, tiny_codec_folder):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'jasco-pl\[ray\]'"):
        Preparation(folder, tmp_path / "out", small(tiny_codec_folder, ray="auto")).run()
