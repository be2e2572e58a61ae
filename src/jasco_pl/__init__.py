"""JASCO on PyTorch Lightning: music from text by flow matching, following chords, a melody and drums in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jasco_pl.generation.jasco import Clip, Jasco, Request

__all__ = ["Clip", "Jasco", "Request", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Lazy: `import jasco_pl` alone must not cost the seconds that torch takes, nor fail where torchaudio is still to be mended.
    if name in ("Clip", "Jasco", "Request"):
        from jasco_pl.generation import jasco

        return getattr(jasco, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
