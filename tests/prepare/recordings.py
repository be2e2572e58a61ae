"""Recordings that are quickly made and quickly prepared."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from torch import Tensor

from jasco_pl.audio.long_audio import LongAudio
from jasco_pl.prepare.config import PrepareConfig
from jasco_pl.prepare.jobs import Stages
from jasco_pl.prepare.rules import Rules

TRIADS = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14))


def music(number: int, seconds: float = 4.0, rate: int = 32000, channels: int = 1) -> np.ndarray:
    """Four triads of sines in some key and a noise burst every half second, float64 [S, channels]."""
    draw = np.random.default_rng(number)
    time = np.arange(round(seconds * rate)) / rate
    out = 0.2 * draw.standard_normal(len(time)) * np.exp(-30 * (time % 0.5))
    chord = np.minimum((4 * time / seconds).astype(int), 3)
    for which, triad in enumerate(TRIADS):
        tones = sum(np.sin(2 * np.pi * 220 * 2 ** ((step + number % 12) / 12) * time) for step in triad)
        out += 0.1 * np.where(chord == which, tones, 0)
    return np.repeat(out[:, None], channels, axis=1)


def write_music(path: Path, number: int, seconds: float = 4.0, rate: int = 32000, channels: int = 1) -> Path:
    """A recording in the format that its ending names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, music(number, seconds, rate, channels), rate)
    return path


def small(codec_folder: Path, **options: Any) -> PrepareConfig:
    """Options for recordings of a few seconds."""
    given = {
        "codec": str(codec_folder),
        "stages": "codec",
        "segment_seconds": 2.0,
        "shard_minutes": 0.25,
        "rules": Rules(min_seconds=1.0),
        "workers": 0,
    }
    return PrepareConfig(**{**given, **options})


def lines(path: Path) -> list[dict[str, Any]]:
    """A file of one JSON object a line."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def content(folder: Path) -> dict[str, bytes]:
    """What has to be the same, however a set came to be."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith(("shard-", "index", "rejected"))}


class Deadly(PrepareConfig):
    """Options that a process reads to its ruin: where they are unpickled, a recording with such a name kills whoever reads it."""

    name = "Song 2"

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        whole = Stages.__call__

        def deadly(stages: Stages, stage: str, audio: LongAudio) -> dict[str, Tensor]:
            if self.name in str(audio.path):
                os._exit(9)
            return whole(stages, stage, audio)

        Stages.__call__ = deadly  # type: ignore[method-assign]
