"""A stand-in for a bare machine: a Python that sees PyTorch and the like and nothing else of this project's environment, and no network."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

# What a bundle expects (`wheels.EXPECTED`), as distributions
ROOTS = (
    "torch",
    "torchaudio",
    "numpy",
    "scipy",
    "numba",
    "scikit-learn",
    "transformers",
    "matplotlib",
    "tensorboard",
    "requests",
    "PyYAML",
)


def closure(roots: tuple[str, ...]) -> set[str]:
    """These distributions and all that they require and that is installed."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            requirements = importlib.metadata.distribution(name).requires or []
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(name)
        waiting += [match[0] for line in requirements if "extra ==" not in line and (match := re.match(r"[\w.-]+", line))]
    return found


def make_bare_python(folder: Path) -> Path:
    """A virtual environment with pip that sees `closure(ROOTS)` through links; returns its interpreter."""
    seen = folder / "seen"
    seen.mkdir(parents=True)
    site = Path(sysconfig.get_paths()["purelib"])
    for name in closure(ROOTS):
        for file in importlib.metadata.distribution(name).files or []:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (seen / top).exists() and (site / top).exists():
                (seen / top).symlink_to(site / top)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    (pth := next((folder / "venv" / "lib").glob("python*/site-packages")) / "seen.pth").write_text(f"{seen}\n")
    assert pth.is_file()
    return python


def without_network(command: list[str]) -> list[str]:
    """The command in a namespace without network where that is permitted; else with pip's index off and proxies to nowhere."""
    probe = ["unshare", "--map-root-user", "--net", "true"]
    if shutil.which("unshare") and subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        return ["unshare", "--map-root-user", "--net", *command]
    nowhere = "http://127.0.0.1:9"
    return ["env", "PIP_NO_INDEX=1", f"http_proxy={nowhere}", f"https_proxy={nowhere}", *command]


def bare_environment(python: Path, **more: str) -> dict[str, str]:
    """What a shell on such a machine has set."""
    return {"PATH": os.environ["PATH"], "HOME": str(python.parents[2]), "PYTHON": str(python), "LANG": "C.UTF-8", **more}
