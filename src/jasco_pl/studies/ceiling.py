"""What a perfect generator would get: the metrics of composed pieces against their own annotations.

A rendered piece follows its chords, melody and drums exactly, by construction. What its figures lack of 1 is the extractors' and the
metrics' doing, and no generator that is measured by them can be expected to get more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from jasco_pl.audio.files import SAMPLE_RATE
from jasco_pl.compose.pieces import read_stretch
from jasco_pl.extract.classical import onset_times
from jasco_pl.extract.heard import Heard
from jasco_pl.extract.salience import Salience
from jasco_pl.metrics.following import (
    VOCABULARIES,
    bins_to_pitch_class,
    chord_accuracy,
    chord_iou,
    melody_accuracy,
    melody_similarity,
    onset_f1,
    pitch_class_accuracy,
)
from jasco_pl.metrics.report import Figure, Row
from jasco_pl.notation import harmony
from jasco_pl.notation.melody import has_melody

SAME_HIT = 0.03  # seconds: hits of several drums at once are one onset

CHORDS = {
    "chord_iou": "chord IoU",
    "chord_iou_triads": "chord IoU, triads",
    **{f"chord_{name}": f"chords, mir_eval {name}" for name in VOCABULARIES},
}
ONSETS = {"onset_f1_stem": "onset F1, drum stem", "onset_f1_mix": "onset F1, whole mix"}
CHROMA = {"melody_accuracy_chroma": "melody accuracy by chroma"}
SALIENCE = {
    "melody_accuracy": "melody accuracy by salience",
    "melody_accuracy_octave": "the same, octave included",
    "melody_similarity": "melody similarity by salience",
}
MEASURES = {**CHORDS, **ONSETS, **CHROMA, **SALIENCE}
COLUMN = "ceiling"


def drum_onsets(hits: Sequence[Sequence[float]], start: float = 0.0, stop: float = np.inf) -> NDArray[np.float64]:
    """Onset times of [drum, seconds, velocity] hits between start and stop, counted from start; hits less than 30 ms after one join it."""
    times = sorted(float(time) for _, time, *_ in hits if start <= float(time) < stop)
    kept: list[float] = []
    for time in times:
        if not kept or time - kept[-1] >= SAME_HIT:
            kept.append(time)
    return np.array(kept) - start


def measure_piece(path: Path, seconds: float = 10.0, salience: Salience | None = None) -> dict[str, float]:
    """Figures of a stretch of one piece (its JSON) against what was composed; NaN where there is nothing to follow.

    The stretch is placed by the hash of the piece's id. Without `salience` the figures that need it are left out.

    Raises:
        UserError: the piece or a stem cannot be read, or the piece is shorter than the stretch.
    """
    stretch = read_stretch(path, seconds, SAMPLE_RATE, harmony.FRAME_RATE, "ceiling")
    mix, hits = stretch.mix, drum_onsets(stretch.note["drums"], stretch.start, stretch.start + seconds)
    return {
        **_harmony(mix, stretch.chords),
        "onset_f1_stem": onset_f1(onset_times(stretch.stem("drums"), SAMPLE_RATE), hits),
        "onset_f1_mix": onset_f1(onset_times(mix, SAMPLE_RATE), hits),
        **_melody(mix, stretch.melody, salience),
    }


def _harmony(wav: Tensor, asked: ArrayLike) -> dict[str, float]:
    if not harmony.has_chords(asked):
        return dict.fromkeys(CHORDS, np.nan)
    heard = Heard(wav, SAMPLE_RATE).chords
    return {
        "chord_iou": chord_iou(heard, asked),
        "chord_iou_triads": chord_iou(heard, asked, "triad"),
        **{f"chord_{name}": chord_accuracy(heard, asked, name) for name in VOCABULARIES},
    }


def _melody(wav: Tensor, asked: NDArray[np.int8], salience: Salience | None) -> dict[str, float]:
    names = CHROMA if salience is None else {**CHROMA, **SALIENCE}
    if not has_melody(asked):
        return dict.fromkeys(names, np.nan)
    found = {"melody_accuracy_chroma": pitch_class_accuracy(Heard(wav, SAMPLE_RATE).pitch_classes, bins_to_pitch_class(asked))}
    if salience is not None:
        heard = salience(wav, SAMPLE_RATE, len(asked))
        found |= {
            "melody_accuracy": melody_accuracy(heard, asked),
            "melody_accuracy_octave": melody_accuracy(heard, asked, octave=True),
            "melody_similarity": melody_similarity(heard, asked),
        }
    return found


def measure_pieces(paths: Sequence[Path], seconds: float = 10.0, salience: Salience | None = None) -> Iterator[dict[str, float]]:
    """`measure_piece` of one after the other."""
    for path in paths:
        yield measure_piece(path, seconds, salience)


def rows(figures: Sequence[Mapping[str, float]], missing: str | None = None) -> list[Row]:
    """A row a measure, with the mean over the pieces that have something to follow; `missing` says why salience has none."""
    table = []
    for key, title in MEASURES.items():
        absent = missing is not None and key in SALIENCE
        figure = Figure.absent(missing or "") if absent else Figure.of([piece[key] for piece in figures])
        table.append(Row(title, {COLUMN: figure}))
    return table
