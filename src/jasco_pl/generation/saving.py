"""Clips as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jasco_pl.audio.files import loudness_normalize, write_audio
from jasco_pl.generation.jasco import Clip
from jasco_pl.system.files import write_json


def save_clip(clip: Clip, path: Path, settings: dict[str, Any], compression: float | None = None) -> None:
    """Sound at -14 LUFS, and JSON beside it; `compression` as for `write_audio`."""
    audio, loudness = loudness_normalize(clip.audio, clip.sample_rate)
    write_audio(path, audio, clip.sample_rate, compression=compression)
    write_json(path.with_suffix(".json"), {**settings, "loudness_before_lufs": loudness})
