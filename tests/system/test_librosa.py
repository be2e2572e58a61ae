from __future__ import annotations

import os
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
