"""Where checkpoints named by a relative path lie, whatever the working directory."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


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
