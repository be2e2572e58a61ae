"""What the paper found, as comparisons of two of its models by one figure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from jasco_pl.reproduction.paper import (
    ACCURACY,
    CHORDS,
    FRECHET,
    KL,
    ONSETS,
    SIMILARITY,
    SIMILARITY_CLF,
    TABLE_2,
    TABLE_4,
    TABLE_5,
    Published,
)
from jasco_pl.reproduction.plan import TEXT_ONLY


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
