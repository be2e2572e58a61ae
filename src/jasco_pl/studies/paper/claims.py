"""The paper's figures (arXiv 2406.10970, tables 1, 2, 4 and 5, figure 2), by experiment and column.

What the paper found, as comparisons of two of its models by one figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from jasco_pl.studies.paper.plan import TEXT_ONLY


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


class Finding(Enum):
    """How the first model does beside the second."""

    BETTER = "better"
    COMPARABLE = "no worse"


@dataclass(frozen=True)
class Claim:
    """One comparison.

    Attributes:
        place: where in the paper it stands.
        says: in words.
        one, other: the experiments that stand for the paper's models.
        column: by which figure.
        published: the paper's figures of both, where it gives some.
    """

    place: str
    says: str
    one: str
    other: str
    column: str
    finding: Finding = Finding.BETTER
    published: tuple[Published, Published] | None = None


def _control(one: str, column: str, says: str) -> Claim:
    return Claim("Table 2", says, one, TEXT_ONLY, column, Finding.BETTER, (TABLE_2[one][column], TABLE_2[TEXT_ONLY][column]))


def _unharmed(one: str, column: str, says: str) -> Claim:
    return Claim("Table 2", says, one, TEXT_ONLY, column, Finding.COMPARABLE, (TABLE_2[one][column], TABLE_2[TEXT_ONLY][column]))


def _way(other: str, column: str, says: str) -> Claim:
    one = "concatenation"
    return Claim("Table 4", says, one, other, column, Finding.BETTER, (TABLE_4[one][column], TABLE_4[other][column]))


_WITH = {
    "mix": "audio",
    "drumless": "audio without drums",
    "drums": "drums",
    "drums_bandpass": "drums between 200 and 800 Hz",
    "chords": "chords",
    "melody": "the melody",
    "symbolic_drums": "band-passed drums, chords and melody together",
    "symbolic_audio": "audio without drums, band-passed drums, chords and melody together",
}

CLAIMS: tuple[Claim, ...] = (
    Claim("Table 1", "the melody raises melody accuracy", "melody", TEXT_ONLY, ACCURACY),
    _control("melody", SIMILARITY_CLF, "the melody raises melody similarity by a multi-F0 classifier"),
    _control("chords", CHORDS, "chords raise chord IoU"),
    _control("drums", ONSETS, "drums raise onset F1"),
    _control("drums_bandpass", ONSETS, "drums between 200 and 800 Hz raise onset F1"),
    _control("melody", SIMILARITY, "the melody raises melody similarity"),
    _control("melody", CHORDS, "the melody alone raises chord IoU"),
    *(
        _control("mix", column, f"audio raises {what}")
        for column, what in ((SIMILARITY, "melody similarity"), (ONSETS, "onset F1"), (CHORDS, "chord IoU"))
    ),
    *(
        _control("drumless", column, f"audio without drums raises {what}")
        for column, what in ((SIMILARITY, "melody similarity"), (ONSETS, "onset F1"), (CHORDS, "chord IoU"))
    ),
    *(
        _control(one, column, f"{_WITH[one]} raise {what}")
        for one in ("symbolic_drums", "symbolic_audio")
        for column, what in ((SIMILARITY, "melody similarity"), (ONSETS, "onset F1"), (CHORDS, "chord IoU"))
    ),
    *(
        _unharmed(one, column, f"{what} with {words} stays comparable")
        for one, words in _WITH.items()
        for column, what in ((FRECHET, "FAD"), (KL, "KL"))
    ),
    _way("cross_attention", CHORDS, "concatenation follows chords better than cross-attention"),
    _way("zero_convolution", CHORDS, "concatenation follows chords better than zero convolution"),
    _way("cross_attention", FRECHET, "concatenation has a lower FAD than cross-attention"),
    _way("zero_convolution", FRECHET, "concatenation has a lower FAD than zero convolution"),
    _way("cross_attention", KL, "concatenation has a lower KL than cross-attention"),
    _way("zero_convolution", KL, "concatenation has a lower KL than zero convolution"),
    Claim(
        "Table 5",
        "the weight 1 + t lowers FAD",
        "chords",
        "weight_uniform",
        FRECHET,
        Finding.BETTER,
        (TABLE_5["chords"][FRECHET], TABLE_5["weight_uniform"][FRECHET]),
    ),
    Claim(
        "Table 5",
        "KL stays comparable under the weight 1 + t",
        "chords",
        "weight_uniform",
        KL,
        Finding.COMPARABLE,
        (TABLE_5["chords"][KL], TABLE_5["weight_uniform"][KL]),
    ),
    Claim("Figure 2", "flow matching has a lower FAD than v-diffusion", "flow_plain", "v_diffusion", FRECHET),
    Claim("Figure 2", "flow matching has a lower KL than v-diffusion", "flow_plain", "v_diffusion", KL),
)
"""CLAP, where its weights are not to be had, is in no claim. Figure 2 shows bars without numbers."""
