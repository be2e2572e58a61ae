"""Where checkpoints named by a relative path lie, whatever the working directory, and what to say when one cannot be read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from jasco_pl.system.errors import UserError

CHECKOUT = Path(__file__).resolve().parents[3]


def locate(name: str | Path, beside: str | Path | None = None) -> str:
    """The folder meant by `name`: as it stands, in the checkout, or with the same last part beside another checkpoint.

    A name that is none of these is returned unchanged: it may be a Hub id.
    """
    path = Path(name)
    candidates = [path, CHECKOUT / path]
    if beside is not None:
        candidates.append(Path(beside).resolve().parent / path.name)
    for candidate in candidates:
        if candidate.is_dir():
            return str(candidate)
    return str(name)


def load_pretrained(loader: Any, source: str | Path) -> Any:
    """`loader.from_pretrained(source)` of transformers, which by itself goes on with random weights where some are missing.

    Raises:
        OSError, ValueError, SafetensorError: `source` is not there, damaged, or lacks weights (a pooler's aside: nothing here uses it).
    """
    from transformers.utils import logging  # here, because locating a folder needs none of it

    logging.disable_progress_bar()  # a bar for half a second of reading hides our own
    model, report = loader.from_pretrained(source, output_loading_info=True, ignore_mismatched_sizes=True)
    names = {*report["missing_keys"], *(mismatch[0] for mismatch in report["mismatched_keys"])}
    if wrong := sorted(name for name in names if not name.startswith("pooler.")):
        raise ValueError(f"{len(wrong)} of its weights are missing or of another shape, such as {wrong[0]}")
    return model


def unavailable(what: str, name: str | Path, error: Exception, remedy: str) -> UserError:
    """The sentence for a pretrained part that is neither in a local folder nor on the Hub; `remedy` is a clause that ends it."""
    if Path(name).is_dir():
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        return UserError(f"the {what} cannot be read from the folder {str(name)!r}: {reason}; {remedy}.")
    return UserError(
        f"the {what} {str(name)!r} is not available: it is no local folder and neither the Hub nor the Hub's cache (HF_HOME) holds it; "
        f"{remedy}."
    )


def weights_fingerprint(network: nn.Module) -> str:
    """Twelve hexadecimal digits that change with any of a network's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:12]
