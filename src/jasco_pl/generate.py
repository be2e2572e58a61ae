"""`Jasco`, `Request` and `Clip` under their short name, as in `from jasco_pl.generate import Request`."""

from jasco_pl.generation.jasco import DEFAULT_CHECKPOINT, Clip, Jasco, Request

__all__ = ["DEFAULT_CHECKPOINT", "Clip", "Jasco", "Request"]
