"""Which names belong to audio: what is read, what is written. A command line that checks a name needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

from jasco_pl.system.errors import UserError

FOREIGN_SUFFIXES = tuple(".m4a .mp4 .webm .wma .caf .aac .mka .mov .wv .ape .mpc .ac3 .tta .alac .dsf .amr".split())  # noqa: SIM905  by FFmpeg
AUDIO_SUFFIXES = (
    ".wav",
    ".flac",
    ".ogg",
    ".oga",
    ".mp3",
    ".opus",
    ".aiff",
    ".aif",
    *FOREIGN_SUFFIXES,
)  # what is taken for audio in folders
SUBTYPES = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS", ".mp3": "MPEG_LAYER_III"}  # what is written, and in which sample format


def check_suffix(path: str | os.PathLike[str]) -> str:
    """The extension in small letters.

    Raises:
        UserError: it is not one that audio is written to.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUBTYPES:
        raise UserError(f"cannot write audio to {os.fspath(path)!r}: the name must end in one of {', '.join(SUBTYPES)}.")
    return suffix
