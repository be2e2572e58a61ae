from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recordings import small, write_music

from jasco_pl.prepare.engine import Preparation


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven recordings in several formats, rates and depths."""
    kinds = (
        (44100, 2, "wav"),
        (32000, 1, "flac"),
        (22050, 1, "ogg"),
        (44100, 2, "mp3"),
        (48000, 2, "flac"),
        (32000, 1, "wav"),
        (16000, 1, "wav"),
    )
    for number, (rate, channels, ending) in enumerate(kinds):
        write_music(tmp_path / "music" / f"album {number % 3}" / f"Song {number}.{ending}", number, 4 + 0.7 * number, rate, channels)
    return tmp_path / "music"


@pytest.fixture
def prepare(tiny_codec_folder: Path) -> Callable[..., dict[str, Any]]:
    """prepare(source, out, **options) in this process: segments of two seconds, shards of a quarter of a minute, anything over a second."""

    def run(source: Path, out: Path, **options: Any) -> dict[str, Any]:
        return Preparation(source, out, small(tiny_codec_folder, **options)).run()

    return run
