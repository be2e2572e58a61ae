from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from jasco_pl.system import locks
from jasco_pl.system.errors import UserError
from jasco_pl.system.locks import LOCK, alone

SENTENCE = "somebody else is at work."


def hold(folder: Path, ready, done) -> None:  # type: ignore[no-untyped-def]
    with alone(folder, SENTENCE):
        ready.set()
        done.wait(60)


@pytest.fixture
def another(tmp_path):
    """A process that holds tmp_path / "run"; set the second event to let it end."""
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path / "run", ready, done))
    process.start()
    assert ready.wait(60)
    yield process, done
    process.kill()
    process.join()


def test_who_comes_second_is_told(tmp_path, another):
    process, done = another
    with pytest.raises(UserError, match=SENTENCE), alone(tmp_path / "run", SENTENCE):
        pass
    with alone(tmp_path / "other", SENTENCE):  # another folder is free
        pass
    done.set()
    process.join(60)
    with alone(tmp_path / "run", SENTENCE), pytest.raises(UserError, match=SENTENCE), alone(tmp_path / "run", SENTENCE):
        pass
    assert not list(tmp_path.iterdir())


def test_a_killed_process_holds_nothing(tmp_path, another):
    process, _ = another
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    assert (tmp_path / "run" / LOCK).exists()
    with alone(tmp_path / "run", SENTENCE):
        pass


def parent(folder: Path, started) -> None:  # type: ignore[no-untyped-def]
    """Forks a process that lives on, as a loader does for some seconds, and is killed."""
    with alone(folder, SENTENCE):
        child = os.fork()
        if not child:
            time.sleep(30)
            os._exit(0)
        started.put(child)
        time.sleep(30)


def test_neither_do_processes_that_it_had_forked(tmp_path):
    context = multiprocessing.get_context("fork")
    started = context.Queue()
    process = context.Process(target=parent, args=(tmp_path, started))
    process.start()
    child = started.get(timeout=60)
    try:
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
        process.join(60)
        os.kill(child, 0)  # it lives
        with alone(tmp_path, SENTENCE):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, caplog):
    def unknown(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks.fcntl, "flock", unknown)
    with alone(tmp_path, SENTENCE):
        assert "knows no locks" in caplog.text


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="a part of the path is a file"), alone(tmp_path / "file" / "run", SENTENCE):
        pass


def test_whoever_waited_for_a_lock_that_was_removed_looks_again(tmp_path, monkeypatch):
    """Between opening and locking, the holder ends and a third one begins."""
    flock, opened = locks.fcntl.flock, []

    def late(descriptor: int, how: int) -> None:
        if not opened:
            opened.append(descriptor)
            (tmp_path / LOCK).unlink()
        flock(descriptor, how)

    monkeypatch.setattr(locks.fcntl, "flock", late)
    with alone(tmp_path, SENTENCE):
        assert (tmp_path / LOCK).exists()


def test_folders_that_stayed_empty_do_not_stay(tmp_path):
    with alone(tmp_path / "a" / "b", SENTENCE):
        assert (tmp_path / "a" / "b" / LOCK).exists()
    assert not (tmp_path / "a").exists()
    with alone(tmp_path / "a" / "b", SENTENCE):
        (tmp_path / "a" / "result").write_text("")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["result"]
    (tmp_path / "empty").mkdir()
    with alone(tmp_path / "empty", SENTENCE):
        pass
    assert (tmp_path / "empty").exists()
