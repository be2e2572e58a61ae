"""Long clips: what is heard where two windows meet, beside what is heard midway between two such places, and whether the level drifts.

Every row is heard at the same moments, the codec's ceiling too, whose clips have no windows: what is a seam there is music like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from jasco_pl.audio.levels import sounding_loudness
from jasco_pl.controls.adherence import CHORDS
from jasco_pl.extract import beats
from jasco_pl.extract.heard import Heard, Part
from jasco_pl.generation.painting import seams_of
from jasco_pl.metrics.report import Column
from jasco_pl.metrics.seams import SIDE, beats_go_on, chroma_distances, flux_peaks, loudness_steps
from jasco_pl.notation import harmony

_HEARD = {
    "flux": ("flux peak", 2, False),
    "step": ("loudness step, LU", 2, False),
    "chroma": ("chroma distance", 3, False),
    "same_tempo": ("tempo goes on", 3, True),
    "beat_goes_on": ("beat goes on, F1", 3, True),
}
PLACES = {"seam": "at seams", "inside": "between"}
DRIFT = Column("drift", "loudness drift, LU", 2)
FIRST = Column("chord_iou_first", "chord IoU, first window", 3, True)
SEAMS = [
    FIRST,
    *(
        Column(f"{key}_{place}", f"{title}, {where}", decimals, higher)
        for key, (title, decimals, higher) in _HEARD.items()
        for place, where in PLACES.items()
    ),
    DRIFT,
]
"""Columns of what `seam_figures` returns."""


def moments_of(frames: int, length: int, frame_rate: float) -> dict[str, list[float]]:
    """Seconds by place: where windows meet, and midway between two such places (or the clip's ends), far enough from its ends."""
    seams = seams_of(frames, length)
    middles = [(first + last) / 2 for first, last in pairwise([0, *seams, frames])]
    inside = [middle for middle in middles if SIDE * frame_rate <= middle <= frames - SIDE * frame_rate]
    return {"seam": [seam / frame_rate for seam in seams], "inside": [middle / frame_rate for middle in inside]}


def seam_figures(clip: Heard, frames: int, length: int, frame_rate: float, chords: NDArray[np.generic] | None = None) -> dict[str, float]:
    """Means over the moments of a clip, of loudness steps of their size, by the keys of `SEAMS`; NaN where nothing can be heard.

    Args:
        clip: that was made of windows.
        frames: latent frames of it.
        length: of a window.
        frame_rate: latent frames a second.
        chords: what is to be heard in it, if there are any and they can be.
    """
    found: dict[str, float] = {}
    for place, moments in moments_of(frames, length, frame_rate).items():
        heard = _heard(clip, moments)
        found |= {f"{key}_{place}": float(np.nanmean(values)) if np.isfinite(values).any() else np.nan for key, values in heard.items()}
    ends = clip.audio.shape[-1] * length // frames
    first, last = (sounding_loudness(part, clip.sample_rate) for part in (clip.audio[:, :ends], clip.audio[:, -ends:]))
    found[DRIFT.key] = np.nan if first is None or last is None else last - first
    window = Part(0, round(length / frame_rate * harmony.FRAME_RATE))
    found[FIRST.key] = np.nan if chords is None else CHORDS.figures(clip, chords, window)[CHORDS.columns[0].key]
    return found


def _heard(clip: Heard, moments: Sequence[float]) -> dict[str, NDArray[np.float64]]:
    wav, rate = clip.audio, clip.sample_rate
    nothing = np.full(len(moments), np.nan)
    tempo, beat = (nothing, nothing) if beats.weights_file() is None else beats_go_on(wav, rate, moments)
    return {
        "flux": flux_peaks(wav, rate, moments),
        "step": np.abs(loudness_steps(wav, rate, moments)),
        "chroma": chroma_distances(wav, rate, moments),
        "same_tempo": tempo,
        "beat_goes_on": beat,
    }
