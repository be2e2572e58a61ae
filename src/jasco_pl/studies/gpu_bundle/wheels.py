"""Wheels for another machine's Python: those packages that a machine with PyTorch may lack and that are small."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import platform
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path

PYTHONS = ("3.11", "3.12")  # later ones lack modules of the standard library that librosa wants
# What the jobs import and a bundle has room for. A machine's own packages come before these.
CARRIED = (
    "audioread",
    "cffi",
    "cloudpickle",
    "decorator",
    "docstring_parser",
    "einops",
    "filelock",
    "fsspec",
    "importlib_resources",
    "jinja2",
    "jsonargparse",
    "lazy-loader",
    "librosa",
    "lightning",
    "lightning-utilities",
    "markupsafe",
    "mido",
    "mir_eval",
    "msgpack",
    "msgspec",
    "packaging",
    "platformdirs",
    "pooch",
    "pretty_midi",
    "pycparser",
    "pytorch-lightning",
    "safetensors",
    "six",
    "soundfile",
    "soxr",
    "threadpoolctl",
    "tinysoundfont",
    "torchdiffeq",
    "torchmetrics",
    "tqdm",
    "typeshed_client",
    "vamphost",
)
BUILT = ("encodec",)  # pure Python that is published as source alone
# What they import beside and the machine has to have: large, or tied to its PyTorch.
EXPECTED = (
    "torch",
    "torchaudio",
    "numpy",
    "scipy",
    "numba",
    "sklearn",
    "joblib",
    "transformers",
    "tokenizers",
    "huggingface_hub",
    "matplotlib",
    "PIL",
    "tensorboard",
    "requests",
    "yaml",
    "pip",
)
_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17", "manylinux2014", "manylinux2010", "manylinux1")
_UNUSED = {"pretty_midi": re.compile(r"\.sf[23]$")}  # the bundle has a SoundFont, of ten times that size


def running_python() -> str:
    """The version of this interpreter as wheels name it, such as 3.12."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def download(folder: Path, python: str, constraints: Path) -> None:
    """Fill a folder with the wheels for a Python on Linux.

    Args:
        folder: where they go.
        python: such as 3.12.
        constraints: pip's file of versions.

    Raises:
        UserError: `python` is none of `PYTHONS`, or pip could not get them.
    """
    if python not in PYTHONS:
        raise UserError(f"a bundle for Python {python!r} cannot be made: {' and '.join(PYTHONS)} are accepted.")
    tags = [part for tag in _PLATFORMS for part in ("--platform", f"{tag}_{platform.machine()}")]
    target = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python, *tags]
    same = ["--quiet", "--no-deps", "--constraint", str(constraints)]
    _pip("download", *same, *target, "--dest", str(folder), *CARRIED)
    _pip("wheel", *same, "--wheel-dir", str(folder), *BUILT)
    for name, pattern in _UNUSED.items():
        for wheel in folder.glob(f"{name}-*.whl"):
            leave_out(wheel, pattern)


def _pip(*arguments: str) -> None:
    run = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False)
    if run.returncode:
        lines = [line for line in run.stderr.splitlines() if line.startswith("ERROR")] or run.stderr.splitlines() or ["no reason given"]
        reason = lines[0].removeprefix("ERROR:").strip().rstrip(".")
        raise UserError(f"`pip {arguments[0]}` could not get the wheels: {reason}.")


def leave_out(wheel: Path, pattern: re.Pattern[str]) -> None:
    """Write a wheel again without the files whose names match, and without their lines in its RECORD."""
    with zipfile.ZipFile(wheel) as archive:
        kept = {entry.filename: archive.read(entry) for entry in archive.infolist() if not pattern.search(entry.filename)}
    record = next(name for name in kept if name.endswith(".dist-info/RECORD"))
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows(
        (name, "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode(), len(content))
        for name, content in kept.items()
        if name != record
    )
    kept[record] = f"{lines.getvalue()}{record},,\n".encode()
    with atomic_path(wheel) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in kept.items():
            archive.writestr(name, content)
