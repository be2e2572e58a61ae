"""Makes torchaudio importable in the project's own environment.

The torchaudio wheel of the package index is a CUDA build. Beside a CPU build of torch its extension cannot be loaded, and because
torchaudio loads it unconditionally, `import torchaudio` fails, and with it `encodec` and several models of transformers. When the
extension files are absent torchaudio takes its own path without an extension: resampling, spectrograms, filters and models, all that
this project uses, work.

`python -m jasco_pl.system.environment` sees that case and sets the extension files aside. `make setup` runs it.

What ran a measurement, in one line that stands beside its figures.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

import torch

from jasco_pl.system.errors import UserError

SET_ASIDE = ".set-aside"
HALF_PRECISION = {"avx512_bf16": "AVX-512 BF16", "amx_bf16": "AMX"}


def project_root() -> Path | None:
    """The checkout that this package is imported from, or None when it is installed without one."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / "setup.cfg").is_file() and (root / "src" / "jasco_pl").is_dir() else None


def torchaudio_folder() -> Path | None:
    """Where torchaudio is installed (found without importing it), or None."""
    spec = importlib.util.find_spec("torchaudio")
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def import_error(module: str) -> str | None:
    """Import `module` in a fresh interpreter; None when that works, else the last line of the traceback.

    A fresh one, because an extension that failed to load leaves its operators half-registered in this process.
    """
    run = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True, check=False)
    if run.returncode == 0:
        return None
    lines = run.stderr.strip().splitlines()
    return lines[-1] if lines else f"the interpreter ended with status {run.returncode}"


def mend_torchaudio(environment: Path) -> str | None:
    """Set torchaudio's extension aside when it cannot be loaded beside a CPU build of torch.

    Args:
        environment: the environment that may be changed; torchaudio has to lie inside it.

    Returns:
        One line that says what was done, or None when nothing had to be done.

    Raises:
        UserError: torchaudio does not import and this mend does not apply or did not help; nothing is then changed.
    """
    folder = torchaudio_folder()
    if folder is None:
        raise UserError("torchaudio is not installed in this environment: run `make setup`.")
    error = import_error("torchaudio")
    if error is None:
        return None
    if torch.version.cuda is not None:
        raise UserError(f"torchaudio does not import beside this CUDA build of torch ({error}): install the torchaudio built for it.")
    if not folder.resolve().is_relative_to(environment.resolve()):
        raise UserError(
            f"torchaudio in {str(folder)!r} is a CUDA build and torch a CPU one, and it lies outside the project's own environment "
            f"{str(environment)!r}, so it is left alone: use the environment that `make setup` makes."
        )
    moved = []
    for library in sorted((folder / "lib").glob("*.so")):
        aside = library.with_name(library.name + SET_ASIDE)
        library.replace(aside)
        moved.append((library, aside))
    still = import_error("torchaudio")
    if still is not None:
        for library, aside in moved:
            aside.replace(library)
        raise UserError(f"torchaudio does not import beside this CPU build of torch, with or without its extension: {still}.")
    return (
        f"torchaudio is a CUDA build and torch a CPU one: {len(moved)} extension files in {folder / 'lib'} were set aside "
        f"(renamed to *{SET_ASIDE}), so that it imports without them; its pure-Python parts, which are all that is used here, work."
    )


def main() -> int:
    root = project_root()
    try:
        if sys.prefix == sys.base_prefix or root is None:
            raise UserError("this mends only the .venv of a checkout: run it through `make setup`.")
        done = mend_torchaudio(root / ".venv")
    except UserError as error:
        print(f"jasco: {error}", file=sys.stderr)
        return 2
    if done:
        print(done)
    return 0


if __name__ == "__main__":
    sys.exit(main())


def machine(device: str | torch.device | None = None) -> str:
    """`NVIDIA H200, 16 cores (x86_64), Python 3.11.9, PyTorch 2.13.0`; a GPU that is there is named unless `device` is another."""
    gpu = device is None or torch.device(device).type == "cuda"
    named = f"{torch.cuda.get_device_name()}, " if gpu and torch.cuda.is_available() else ""
    return f"{named}{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, PyTorch {torch.__version__}"


def processor() -> str:
    """`Intel(R) Xeon(R) Processor, AVX-512 BF16, AMX`: the CPU and what it computes in bfloat16 with; "" where that is not known."""
    return ", ".join(filter(None, [_processor().get("model name"), *half_precision()]))


def half_precision() -> list[str]:
    """What the CPU multiplies matrices in bfloat16 with: AVX-512 BF16, AMX; nothing where it cannot, or that is not known."""
    flags = _processor().get("flags", "").split()
    return [title for flag, title in HALF_PRECISION.items() if flag in flags]


def _processor() -> dict[str, str]:
    """What Linux says of the last core."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
