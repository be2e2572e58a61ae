from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import pathlib, sys, time
import numpy as np
from numba import njit
from numba.core.caching import IndexDataCacheFile
from jasco_pl.system.librosa import share_numba_cache

how, *names = sys.argv[1:]
write = IndexDataCacheFile._save_index

def write_together(file, overloads):
    (met := pathlib.Path(__file__).with_name("met") / names[0]).touch()
    until = time.monotonic() + (2 if how == "shared" else 60)  # the lock keeps the other from coming
    while len(list(met.parent.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    write(file, overloads)

IndexDataCacheFile._save_index = write_together
if how == "shared":
    share_numba_cache()

@njit(cache=True)
def half(values):
    return values / 2

for name in names:
    found = half(np.full(3, 5, dtype=name))
    assert found.dtype == np.dtype(name) and (found == 2.5).all(), (name, found)
"""


@pytest.mark.parametrize(("how", "codes"), [("shared", 2), ("bare", 1)])
def test_two_processes_on_an_empty_cache_leave_one_that_works(how: str, codes: int, tmp_path: Path) -> None:
    """Both compile a function, each for another type, and have read the index before either writes; without the lock a code gets lost."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    (tmp_path / "met").mkdir()
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    both = [subprocess.Popen([sys.executable, script, how, name], env=environment) for name in ("float32", "float64")]
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(list((tmp_path / "cache").rglob("*.nbc"))) == codes
    if how == "shared":
        subprocess.run([sys.executable, script, how, "float32", "float64"], env=environment, check=True, timeout=60)


UFUNC = """
import sys
import numpy as np
from numba import guvectorize, njit
from jasco_pl.system.librosa import share_numba_cache

how, *before = sys.argv[1:]
if how == "shared":
    share_numba_cache()

@njit
def earlier(value):
    return value

for name in before:
    earlier(np.zeros(3, dtype=name))

@guvectorize("(n)->(n)", cache=True)
def half(values, out):
    for index in range(len(values)):
        out[index] = values[index] / 2

out = np.empty(3)
half(np.full(3, 5.0), out)
assert (out == 2.5).all(), out
"""


@pytest.mark.parametrize(("how", "works"), [("shared", True), ("bare", False)])
def test_a_wrapper_of_another_process_is_not_called(how: str, works: bool, tmp_path: Path) -> None:
    """What two processes may leave that compile at once: the function of one, the wrapper of the other, which numbers otherwise."""
    script = tmp_path / "script.py"
    script.write_text(UFUNC)

    def run(cache: str, *before: str) -> int:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / cache)}
        return subprocess.run([sys.executable, script, how, *before], env=environment, timeout=120).returncode

    assert run("one") == run("other", "float32") == 0
    for path in (tmp_path / "other").rglob("guf-*"):
        shutil.copy(path, tmp_path / "one" / path.relative_to(tmp_path / "other"))
    assert (run("one") == 0) is works
