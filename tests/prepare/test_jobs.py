"""Several processes, some of which die."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children

import pytest
from recordings import Deadly, content, lines, small

from jasco_pl.prepare import engine
from jasco_pl.prepare.engine import Preparation
from jasco_pl.prepare.jobs import Job, Stages, run_processes
from jasco_pl.system.errors import WriteError


@pytest.fixture(autouse=True)
def _nobody_stays():
    yield
    # Asked again and again: where the pool's own thread has just reaped a child, `join` comes back while it still counts as alive.
    deadline = time.monotonic() + 60
    while left := active_children():
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.mark.parametrize("seed", range(40))
def test_every_job_comes_back_once_whenever_processes_die(tiny_codec_folder, tmp_path, monkeypatch, seed):
    """Stand-ins for pools break at random, when something is submitted to them or while they work; one job breaks all that touch it."""
    draw = random.Random(seed)
    jobs = [Job(str(number), "", "", 0.0, None, 1.0, {}, str(tmp_path / str(number))) for number in range(12)]

    class Fragile:
        broken = False

        def submit(self, _, job):
            self.broken = self.broken or draw.random() < 0.1
            if self.broken:
                raise BrokenProcessPool
            future: Future[Job] = Future()
            if job.id == "7" or draw.random() < 0.1:
                self.broken = True
                future.set_exception(BrokenProcessPool())
            else:
                future.set_result(job)
            return future

    @contextlib.contextmanager
    def fragile(*_):
        yield Fragile()

    monkeypatch.setattr("jasco_pl.prepare.jobs.pool", fragile)
    back = [job.id for job in run_processes(jobs, small(tiny_codec_folder, workers=3))]
    assert sorted(back, key=int) == [job.id for job in jobs]
    assert jobs[7].rejected().reason == "crashed"


def test_two_processes_make_what_one_makes_though_one_of_them_is_killed(folder, prepare, tmp_path, tiny_codec_folder, monkeypatch):
    prepare(folder, tmp_path / "alone")
    killed = []

    def killing(jobs, config, original=run_processes):
        for job in original(jobs, config):
            if not killed:
                killed.append(active_children()[-1].pid)
                os.kill(killed[0], signal.SIGKILL)
            yield job

    monkeypatch.setattr(engine, "run_processes", killing)
    Preparation(folder, tmp_path / "together", small(tiny_codec_folder, workers=2)).run()
    assert killed
    assert content(tmp_path / "together") == content(tmp_path / "alone")


def test_a_recording_that_kills_whoever_reads_it_ends_alone(folder, prepare, tmp_path, tiny_codec_folder, monkeypatch):
    def fail(self, stage, audio, original=Stages.__call__):
        if "Song 2" in str(audio.path):
            raise ZeroDivisionError
        return original(self, stage, audio)

    with monkeypatch.context() as patch:
        patch.setattr(Stages, "__call__", fail)
        prepare(folder, tmp_path / "failing")
    options = Deadly(**vars(small(tiny_codec_folder, workers=2)))
    Preparation(folder, tmp_path / "deadly", options).run()
    (one,) = lines(tmp_path / "deadly" / "rejected.jsonl")
    assert (one["name"], one["reason"]) == ("album 2/Song 2.ogg", "crashed")
    shards = {name: data for name, data in content(tmp_path / "deadly").items() if name != "rejected.jsonl"}
    assert shards == {name: data for name, data in content(tmp_path / "failing").items() if name != "rejected.jsonl"}
    # memory that ran out may have been to blame: another day it may be taken
    Preparation(folder, tmp_path / "deadly", small(tiny_codec_folder)).run()
    assert not lines(tmp_path / "deadly" / "rejected.jsonl")
    assert len(lines(tmp_path / "deadly" / "tracks.jsonl")) == 7


def test_what_ends_the_run_ends_its_processes(folder, tmp_path, tiny_codec_folder, monkeypatch):
    def full(*_):
        assert active_children()
        raise WriteError("cannot write 'a shard': the disk is full.")

    monkeypatch.setattr(engine, "write_shard", full)
    with pytest.raises(WriteError, match="disk is full"):
        Preparation(folder, tmp_path / "out", small(tiny_codec_folder, workers=1)).run()
