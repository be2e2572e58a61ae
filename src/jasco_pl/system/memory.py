"""The most memory that something took."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch


def forget_peak(device: torch.device) -> None:
    """Count from here on: what is allocated on a GPU, elsewhere this process's memory (Linux)."""
    if device.type == "cuda":
        torch.cuda.init()  # nothing may have been there yet, which is refused
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak(device: torch.device) -> int | None:
    """Bytes; None where nobody counts them."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        return told("/proc/self/status", "VmHWM:")
    except OSError:
        return None


def told(path: str, name: str) -> int | None:
    """Bytes that a file of Linux's /proc gives under that name, None where it does not; raises OSError where there is no such file."""
    lines = Path(path).read_text(encoding="ascii").splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(name)), None)
