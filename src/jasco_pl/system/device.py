"""Where a model runs, and in which numbers its weights are held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from jasco_pl.system.errors import UserError

if TYPE_CHECKING:  # a command line that lists the precisions needs no torch
    import torch

Precision = Literal["auto", "fp32", "bf16"]
_DTYPES: dict[Precision, str] = {"fp32": "float32", "bf16": "bfloat16"}


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The same there; to a GPU from pinned memory, so that the copy does not wait for what is being computed."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def pick_device(name: str | torch.device) -> torch.device:
    """The device of that name; "auto" is the NVIDIA GPU where there is one, else the CPU.

    Raises:
        UserError: there is no such device here.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    accepted = "auto, cpu, cuda, cuda:N and mps are accepted"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"the device {str(name)!r} is unknown: {accepted}.") from None
    here = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(device.type, 0)
    if (device.index or 0) >= here:
        raise UserError(f"the device {str(name)!r} is not here: {accepted}, where they exist.")
    return device


def pick_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Of a network's weights; "auto" is bfloat16 on CUDA and on CPUs that have instructions for it (`half_precision`), else float32.

    Raises:
        UserError: `precision` is none of `Precision`.
    """
    if precision not in get_args(Precision):
        raise UserError(f"the precision {precision!r} is unknown: {', '.join(get_args(Precision))} are accepted.")
    if precision == "auto":
        from jasco_pl.system.environment import half_precision

        precision = "bf16" if device.type == "cuda" or (device.type == "cpu" and half_precision()) else "fp32"
    import torch

    return getattr(torch, _DTYPES[precision])


def precision_name(dtype: torch.dtype) -> Precision:
    """The inverse: fp32 or bf16."""
    return next(name for name, known in _DTYPES.items() if f"torch.{known}" == str(dtype))
