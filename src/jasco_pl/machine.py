"""What ran a measurement, in one line that stands beside its figures."""

from __future__ import annotations

import os
import platform

import torch


def machine(device: str | torch.device | None = None) -> str:
    """`NVIDIA H200, 16 cores (x86_64), Python 3.11.9, PyTorch 2.13.0`; a GPU that is there is named unless `device` is another."""
    gpu = device is None or torch.device(device).type == "cuda"
    named = f"{torch.cuda.get_device_name()}, " if gpu and torch.cuda.is_available() else ""
    return f"{named}{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, PyTorch {torch.__version__}"
