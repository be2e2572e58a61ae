"""The command itself, ended from outside at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from recordings import content

DEADLINE = 300.0


def command(source: Path, out: Path, codec: Path, *options: str) -> list[str]:
    """`jasco prepare` with the options of `recordings.small`."""
    given = [
        "--codec",
        codec,
        "--stages",
        "codec",
        "--segment_seconds",
        2,
        "--shard_minutes",
        0.25,
        "--rules.min_seconds",
        1,
        "--workers",
        2,
    ]
    return [sys.executable, "-m", "jasco_pl.cli", "prepare", str(source), "--out", str(out), *map(str, given), *options]


def members(session: int) -> list[int]:
    """Processes of a session that are still there."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, own = folder.joinpath("stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(own) == session and state != "Z":
            found.append(int(folder.name))
    return found


def until(condition, what: str) -> None:
    limit = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.02)


def begun(out: Path) -> int:
    """Results that lie there."""
    return len(list(out.glob(".work/*/*.json"))) + len(list(out.glob("shard-*")))


def end(arguments: list[str], out: Path, how: signal.Signals, wait: float = 0.0) -> tuple[int, str]:
    """Start the command and send it a signal so long after its first new result; exit code and what it wrote."""
    before = begun(out)
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        until(lambda: begun(out) > before or process.poll() is not None, "no result")
        time.sleep(wait)
        if how == signal.SIGINT:  # a terminal sends it to all
            os.killpg(process.pid, how)
        else:
            process.send_signal(how)
        _, text = process.communicate(timeout=DEADLINE)
    until(lambda: not members(process.pid), "somebody stays")
    return process.returncode, text


@pytest.fixture(autouse=True)
def _hears_interruptions():
    """A shell starts what runs in its background deaf to them, and that is inherited."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.timeout(300)
def test_signals_end_the_command_quickly_and_the_next_run_completes_the_set(folder, prepare, tmp_path, tiny_codec_folder):
    (folder / "bad.wav").write_text("no music")
    prepare(folder, tmp_path / "whole")
    out = tmp_path / "out"
    arguments = command(folder, out, tiny_codec_folder)
    code, text = end(arguments, out, signal.SIGINT)
    assert code == 130
    assert text.rstrip().endswith("interrupted.")
    assert "Traceback" not in text
    assert not (out / "index.json").exists()
    assert end(arguments, out, signal.SIGKILL)[0] == -signal.SIGKILL
    prepare(folder, out)
    assert content(out) == content(tmp_path / "whole")


@pytest.mark.slow
def test_whenever_it_is_killed_the_last_run_makes_the_set_of_an_uninterrupted_one(folder, prepare, tmp_path, tiny_codec_folder):
    for number, ending in enumerate(("wav", "flac", "ogg", "mp3")):
        (folder / f"bad {number}.{ending}").write_text("no music")
    prepare(folder, tmp_path / "whole", stages="codec, chords")
    out, draw = tmp_path / "out", random.Random(4)
    arguments = command(folder, out, tiny_codec_folder, "--stages", "codec, chords")
    for how in (signal.SIGTERM, *[signal.SIGKILL] * 5):
        code, _ = end(arguments, out, how, draw.uniform(0, 1.5))
        if code == 0:
            break
        assert code == -how
    finished = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert "7 recordings" in finished.stderr
    assert content(out) == content(tmp_path / "whole")
    assert not list(out.glob(".*"))
