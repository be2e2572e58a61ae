from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jasco_pl.cli import main
from jasco_pl.studies import bench_start
from jasco_pl.studies.bench_start import COMMANDS, cpu_seconds, start_costs


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_start, "TORCH", "import os")


def program(folder: Path, name: str, body: str) -> str:
    path = folder / name
    python = path.with_name("python")  # a first line cannot name what lies under a path with spaces
    if not python.exists():
        python.symlink_to(sys.executable)
    path.write_text(f"#!{python} -S\n{body}\n")
    path.chmod(0o755)
    return str(path)


WRITES = "import sys; '-o' in sys.argv and open(sys.argv[-1], 'w').close()"


def test_cpu_time_is_what_was_computed_not_what_was_waited(tmp_path: Path) -> None:
    work = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    assert 0.45 < cpu_seconds([program(tmp_path, "busy", work)], 1) < 2
    assert cpu_seconds([program(tmp_path, "idle", "import time; time.sleep(0.6)")], 1) < 0.4


def test_every_program_takes_every_command_in_turn(tmp_path: Path, no_torch: None) -> None:
    log = tmp_path / "log"
    one, two = (program(tmp_path, name, f"import sys; print({name!r}, sys.argv[1], file=open({str(log)!r}, 'a'))") for name in ("a", "b"))
    costs = start_costs([one, two], repeats=2, threads=1)
    assert {len(seconds) for seconds in costs.values()} == {2}
    assert set(costs) == {("import os", ""), *((what, path) for what in COMMANDS for path in (one, two))}
    assert log.read_text().split("\n")[:4] == ["a --help", "b --help", "a generate", "b generate"]


def test_the_table_compares_with_the_first(tmp_path: Path, no_torch: None, capsys: pytest.CaptureFixture[str]) -> None:
    programs = [program(tmp_path, name, WRITES) for name in ("new", "old")]
    assert main(["bench", "start", "--program", *programs, "--repeats", "1"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + 2 * len(COMMANDS)
    assert [row.split("|")[5].strip() for row in rows if "/new" in row.split("|")[2]] == ["1.00"] * len(COMMANDS)


def test_what_cannot_be_run_or_fails_is_one_sentence(tmp_path: Path, no_torch: None, capsys: pytest.CaptureFixture[str]) -> None:
    failing = program(tmp_path, "failing", "import sys; sys.exit('no, thank you')")
    for path, said in ((str(tmp_path / "none"), "cannot be run"), (failing, "failed with status 1: no, thank you.")):
        assert main(["bench", "start", "--program", path]) == 2
        assert said in capsys.readouterr().err
    assert main(["bench", "start", "--repeats", "0"]) == 2
