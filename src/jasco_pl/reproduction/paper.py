"""The paper's figures (arXiv 2406.10970, tables 1, 2, 4 and 5, figure 2), by experiment and column."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A figure on the two test sets of the paper; None where it gives none."""

    musiccaps: float | None
    internal: float | None

    def __str__(self) -> str:
        return " / ".join("–" if value is None else f"{value:g}" for value in self)


SIMILARITY_CLF, SIMILARITY, ACCURACY = "melody_similarity", "chroma_similarity", "melody_accuracy"
ONSETS, CHORDS, TRIADS, FRECHET, KL, CLAP = "onset_f1", "chord_iou", "chord_iou_triads", "frechet", "kl", "clap"
"""Columns; those of an evaluation go by its keys."""

ADHERENCE = (SIMILARITY_CLF, SIMILARITY, ONSETS, CHORDS)
QUALITY = (FRECHET, KL, CLAP)
HIGHER_IS_BETTER = {**dict.fromkeys((*ADHERENCE, ACCURACY, TRIADS, CLAP), True), FRECHET: False, KL: False}

_TABLE_2: dict[str, tuple[tuple[float, float], ...]] = {
    "text_only": ((0.13, 0.13), (0.09, 0.09), (0.34, 0.41), (0.09, 0.07), (6.04, 0.90), (1.46, 0.70), (0.27, 0.36)),
    "mix": ((0.33, 0.34), (0.38, 0.47), (0.62, 0.81), (0.23, 0.27), (4.47, 0.86), (0.92, 0.81), (0.30, 0.31)),
    "drumless": ((0.21, 0.22), (0.38, 0.31), (0.62, 0.58), (0.23, 0.18), (5.68, 0.92), (1.79, 0.75), (0.19, 0.33)),
    "drums": ((0.13, 0.13), (0.09, 0.10), (0.62, 0.73), (0.09, 0.08), (5.85, 0.94), (1.68, 0.78), (0.23, 0.35)),
    "drums_bandpass": ((0.13, 0.13), (0.10, 0.10), (0.45, 0.74), (0.10, 0.07), (6.31, 1.61), (1.52, 0.65), (0.26, 0.37)),
    "chords": ((0.21, 0.25), (0.22, 0.29), (0.24, 0.13), (0.59, 0.61), (7.23, 0.95), (1.16, 0.68), (0.28, 0.36)),
    "melody": ((0.67, 0.64), (0.41, 0.35), (0.37, 0.57), (0.31, 0.27), (6.96, 1.05), (1.32, 0.63), (0.27, 0.35)),
    "symbolic_drums": ((0.68, 0.69), (0.44, 0.46), (0.63, 0.66), (0.50, 0.53), (6.42, 1.15), (1.22, 0.50), (0.28, 0.37)),
    "symbolic_audio": ((0.71, 0.68), (0.50, 0.55), (0.54, 0.75), (0.51, 0.55), (4.78, 0.80), (0.93, 0.41), (0.30, 0.37)),
}
TABLE_2 = {name: dict(zip((*ADHERENCE, *QUALITY), (Published(*pair) for pair in row), strict=True)) for name, row in _TABLE_2.items()}
"""The chroma behind "Mld sim." is quantised; "Mld (clf) sim." is taken on a multi-F0 classifier's melody."""

TABLE_1 = {
    "MusicGen, 300M": {FRECHET: 5.90, CLAP: 0.29, SIMILARITY_CLF: 0.61, ACCURACY: 44.0},
    "Music ControlNet": {FRECHET: 10.81, CLAP: 0.22, ACCURACY: 47.1},
    "JASCO": {FRECHET: 6.05, CLAP: 0.26, SIMILARITY_CLF: 0.67, ACCURACY: 49.1},
}
"""MusicCaps; accuracy in percent. Its similarity of .67 is the classifier's in table 2."""

TABLE_4 = {
    "concatenation": {CHORDS: Published(None, 0.60), FRECHET: Published(None, 1.19), KL: Published(None, 0.71)},
    "cross_attention": {CHORDS: Published(None, 0.59), FRECHET: Published(None, 1.61), KL: Published(None, 0.73)},
    "zero_convolution": {CHORDS: Published(None, 0.26), FRECHET: Published(None, 1.64), KL: Published(None, 0.74)},
}
TABLE_5 = {
    "weight_uniform": {FRECHET: Published(None, 1.73), KL: Published(None, 0.71), CLAP: Published(None, 0.38)},
    "chords": {FRECHET: Published(None, 0.99), KL: Published(None, 0.73), CLAP: Published(None, 0.37)},
}
