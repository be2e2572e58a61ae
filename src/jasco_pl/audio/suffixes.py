"""Which names belong to audio: what is read, what is written. A command line that checks a name needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

from jasco_pl.system.errors import UserError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff")  # what is taken for audio in folders
SUBTYPES = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS"}  # what is written, and in which sample format


def check_suffix(path: str | os.PathLike[str]) -> str:
    """The extension in small letters.

    Raises:
        UserError: it is not one that audio is written to.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUBTYPES:
        raise UserError(f"cannot write audio to {os.fspath(path)!r}: the name must end in one of {', '.join(SUBTYPES)}.")
    return suffix
