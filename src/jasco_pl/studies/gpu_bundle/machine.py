"""What a bundle does to the machine that it lies on before any job: look and install. Imports nothing that has to be installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jasco_pl.studies.gpu_bundle.layout import MARK, SITE, WHEELS
from jasco_pl.studies.gpu_bundle.wheels import EXPECTED, running_python
from jasco_pl.system.errors import UserError

_FACTS = """
import json, torch
from jasco_pl.system.environment import machine
gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
print(json.dumps({"machine": machine(), "gpu": gpu, "torch": torch.__version__}))
"""


def bundle_folder() -> Path:
    """The bundle that this package is imported from.

    Raises:
        UserError: it is imported from elsewhere.
    """
    folder = Path(__file__).resolve().parents[4]
    if not (folder / MARK).is_file():
        raise UserError("jobs run from a bundle: make one by `jasco gpu-bundle build` and start its run.sh.")
    return folder


def install(bundle: Path) -> list[str]:
    """Install those wheels of a bundle whose packages this Python lacks, into a folder of the bundle, without network.

    Returns: their names.

    Raises:
        UserError: the wheels are for another Python, a package is missing that no bundle carries, or pip failed.
    """
    made_for = json.loads((bundle / MARK).read_text(encoding="utf-8"))["python"]
    here = f"Python {platform.python_version()} at {sys.executable}"
    if made_for != running_python():
        raise UserError(f"the bundle is for Python {made_for}, this is {here}: name another by PYTHON, or make it for {running_python()}.")
    if missing := [name for name in EXPECTED if importlib.util.find_spec(name) is None]:
        raise UserError(f"{here} lacks {', '.join(missing)}, which a bundle has no room for: a Python that has them is accepted.")
    there = {_plain(package.name) for package in importlib.metadata.distributions()}
    lacking = [wheel for wheel in sorted((bundle / WHEELS).glob("*.whl")) if _plain(wheel.name.split("-")[0]) not in there]
    if lacking:
        options = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--disable-pip-version-check", "--upgrade"]
        command = [sys.executable, "-m", "pip", "install", *options, "--target", str(bundle / SITE), *map(str, lacking)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            reason = (run.stderr.strip().splitlines() or ["no reason given"])[-1].removeprefix("ERROR:").strip().rstrip(".")
            raise UserError(f"pip could not install the bundle's wheels: {reason}.")
    return [wheel.name.split("-")[0] for wheel in lacking]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def facts(environment: Mapping[str, str]) -> dict[str, Any]:
    """Machine, GPU (None: there is none) and version of PyTorch.

    Raises:
        UserError: PyTorch cannot be imported.
    """
    run = subprocess.run([sys.executable, "-c", _FACTS], capture_output=True, text=True, check=False, env=dict(environment))
    if run.returncode:
        raise UserError(f"PyTorch does not work here: {(run.stderr.strip().splitlines() or ['no reason given'])[-1].rstrip('.')}.")
    found: dict[str, Any] = json.loads(run.stdout.strip().splitlines()[-1])
    return found
