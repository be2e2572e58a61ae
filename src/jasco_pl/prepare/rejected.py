"""What was not taken, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rejected:
    """A file, or an entry of a list, that does not become a sample."""

    name: str
    """As the user knows it: relative to the source, with forward slashes."""
    reason: str
    """A short word to count by: missing, unreadable, not audio, bad entry, too short, silent, clipped, duplicate, ..."""
    detail: str = ""
    """One sentence for a person; "it" is the file."""
    seconds: float | None = None
    """What the file's header claims to last, where it could be read."""
