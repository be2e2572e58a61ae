from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jasco_pl.studies.gpu_bundle import run as running
from jasco_pl.studies.gpu_bundle.jobs import Sizes
from jasco_pl.studies.gpu_bundle.pieces import join
from jasco_pl.studies.gpu_bundle.run import Run, StageError, carry_out
from jasco_pl.system.errors import UserError


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[[float], Run]:
    def make(seconds: float) -> Run:
        return Run("train", tmp_path, tmp_path / "results", tmp_path / "out", seconds, dict(os.environ), {"machine": "this"})

    return make


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def joined(run: Run, tmp_path: Path) -> Path:
    (folder,) = join(run.out, tmp_path / "joined")
    return folder


def test_stages_leave_their_output_and_times(make_run: Callable[[float], Run], tmp_path: Path) -> None:
    run = make_run(60)

    def job(run: Run) -> None:
        run.stage("first", python("import sys; print('said'); print('warned', file=sys.stderr)"), run.at(1))
        run.stage("second", python("print('a table')"), run.at(1), output=run.results / "table.md")

    assert carry_out(run, job) == 0
    folder = joined(run, tmp_path)
    assert (folder / "table.md").read_text() == "a table\n"
    log = (folder / "log.txt").read_text()
    assert "said\n" in log
    assert "warned\n" in log
    assert "\na table\n" not in log
    told = json.loads((folder / "job.json").read_text())
    assert (told["finished"], told["machine"]) == (True, "this")
    assert [(stage["name"], stage["status"]) for stage in told["stages"]] == [("first", "done"), ("second", "done")]


def test_a_failing_job_leaves_its_log_and_what_it_had(
    make_run: Callable[[float], Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(60)

    def job(run: Run) -> None:
        (run.results / "had.txt").write_text("this much")
        run.stage("doomed", python("raise SystemExit('no such thing')"), run.at(1))

    assert carry_out(run, job) == 1
    folder = joined(run, tmp_path)
    assert (folder / "had.txt").read_text() == "this much"
    assert "no such thing" in (folder / "log.txt").read_text()
    told = json.loads((folder / "job.json").read_text())
    assert (told["finished"], told["failure"]) == (False, "doomed failed with status 1.")
    assert f"the job train failed: doomed failed with status 1. Its log and what it had are in {run.out}." in capsys.readouterr().out


def test_a_bug_in_a_job_is_saved_too(make_run: Callable[[float], Run], tmp_path: Path) -> None:
    run = make_run(60)
    with pytest.raises(ZeroDivisionError):
        carry_out(run, lambda run: print(1 // 0))
    assert json.loads((joined(run, tmp_path) / "job.json").read_text())["finished"] is False


def test_what_cannot_be_collected_is_not_finished(make_run: Callable[[float], Run], tmp_path: Path) -> None:
    run = make_run(60)
    run.collect = lambda: run.stage("export", python("raise SystemExit('no room')"), run.at(1))
    assert carry_out(run, lambda run: None) == 1
    folder = joined(run, tmp_path)
    assert json.loads((folder / "job.json").read_text())["finished"] is False
    assert "no room" in (folder / "log.txt").read_text()


def test_results_are_saved_before_the_end(make_run: Callable[[float], Run], tmp_path: Path) -> None:
    run = make_run(6)
    calls: list[float] = []
    run.collect = lambda: calls.append(time.time() - run.began)
    code = f"import time, pathlib; time.sleep(4.8); print(*sorted(path.name for path in pathlib.Path({str(run.out)!r}).iterdir()))"

    def job(run: Run) -> None:
        run.stage("long", python(code), run.at(1))

    assert carry_out(run, job) == 0
    assert "train-1.000 train-1.json" in run.log.read_text()  # there while the stage was still running
    assert len(calls) == 2
    assert 4.2 <= calls[0] < 4.8 <= calls[1]
    assert [path.name for path in sorted(run.out.iterdir())] == ["train-2.000", "train-2.json"]


def test_a_stage_is_stopped_when_its_time_is_up(make_run: Callable[[float], Run]) -> None:
    run = make_run(60)
    began = time.time()
    run.stage("slow", python("import time; time.sleep(30)"), began + 0.5, part=lambda: True)
    with pytest.raises(StageError, match="slow was not done when its time was up"):
        run.stage("slow", python("import time; time.sleep(30)"), time.time() + 0.5)
    assert time.time() - began < 10
    assert [stage["status"] for stage in run.stages] == ["stopped", "stopped"]


def test_a_stage_goes_on_until_there_is_something_to_go_on_with(make_run: Callable[[float], Run], tmp_path: Path) -> None:
    run, made = make_run(60), tmp_path / "made"
    began = time.time()
    code = f"import pathlib, time; time.sleep(1.5); pathlib.Path({str(made)!r}).touch(); time.sleep(30)"
    run.stage("slow", python(code), began + 0.3, part=made.exists)
    assert 1.5 <= time.time() - began < 10
    short = make_run(1.0)  # but not beyond the job's end
    with pytest.raises(StageError, match="slow was not done when its time was up"):
        short.stage("slow", python("import time; time.sleep(30)"), time.time() + 0.3, part=lambda: False)


def test_one_that_will_not_end_is_killed_with_its_children(make_run: Callable[[float], Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "GRACE", 0.5)
    run = make_run(60)
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print('child', child.pid, flush=True); time.sleep(60)"
    )
    run.stage("deaf", python(code), time.time() + 1.5, part=lambda: True)
    child = int(run.log.read_text().split("child ")[-1].split()[0])
    deadline = time.time() + 5
    while Path(f"/proc/{child}/stat").exists() and Path(f"/proc/{child}/stat").read_text().split(") ")[1][0] != "Z":
        assert time.time() < deadline
        time.sleep(0.05)


def test_one_that_saves_when_asked_to_end_has_its_time(make_run: Callable[[float], Run]) -> None:
    run = make_run(60)
    code = (
        "import signal, sys, time\n"
        "def end(*_): time.sleep(0.5); print('saved', flush=True); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, end); time.sleep(60)"
    )
    run.stage("training", python(code), time.time() + 1.0, part=lambda: True)
    assert "saved\n" in run.log.read_text()


def test_a_process_beside_others_is_ended_when_they_are_done(make_run: Callable[[float], Run], tmp_path: Path) -> None:
    run, made = make_run(60), tmp_path / "made"
    code = f"import pathlib, time; time.sleep(0.5); pathlib.Path({str(made)!r}).touch(); print('on its way', flush=True); time.sleep(60)"
    began = time.time()
    with run.beside("composing", python(code), run.at(1), made.exists):
        assert made.exists()
        run.stage("training", python("print('trained')"), run.at(1))
    assert time.time() - began < 20
    assert [(stage["name"], stage["status"]) for stage in run.stages] == [("training", "done"), ("composing", "stopped")]
    assert "on its way" in run.log.read_text()
    with pytest.raises(ZeroDivisionError), run.beside("composing", python(code), run.at(1), made.exists):
        print(1 // 0)
    assert run.stages[-1]["status"] == "stopped"


def test_a_process_beside_others_may_be_done_before_them(make_run: Callable[[float], Run], tmp_path: Path) -> None:
    run, made = make_run(60), tmp_path / "made"
    with run.beside("composing", python(f"import pathlib; pathlib.Path({str(made)!r}).touch()"), run.at(1), made.exists):
        run.stage("training", python("import time; time.sleep(1)"), run.at(1))
    assert run.stages[-1] == {"name": "composing", "seconds": run.stages[-1]["seconds"], "status": "done"}


def test_what_is_not_useful_in_time_fails_the_job(make_run: Callable[[float], Run]) -> None:
    run = make_run(60)
    for code, until, message in (
        ("import time; time.sleep(60)", 0.5, "composing was not done when its time was up"),
        ("raise SystemExit('no font')", 30, "composing failed with status 1"),
    ):
        with pytest.raises(StageError, match=message), run.beside("composing", python(code), time.time() + until, lambda: False):
            pytest.fail("it is not useful")
    assert "no font" in run.log.read_text()


def test_sizes_come_from_variables() -> None:
    assert (Sizes.of("train", {}).hours, Sizes.of("bench", {}).hours, Sizes.of("bench", {}).batch) == (45.0, 0.2, 0)
    sizes = Sizes.of("train", {"HOURS": "0.02", "WORKERS": "3", "TURNS": "2", "STEPS": "1", "ARGS": "--model.lr 1e-3"})
    assert (sizes.hours, sizes.workers, sizes.turns, sizes.steps, sizes.arguments) == (0.02, 3, 2, 1, ["--model.lr", "1e-3"])
    for name, text in (("HOURS", "many"), ("HOURS", "0"), ("HOURS", "inf"), ("WORKERS", "1.5"), ("TURNS", "-1")):
        with pytest.raises(UserError, match=f"{name}={text} is not accepted: a positive"):
            Sizes.of("train", {name: text})
