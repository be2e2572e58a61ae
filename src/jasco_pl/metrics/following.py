"""How far a clip follows what it was asked for: chords, onsets, melody, as they were heard.

Chord intersection over union (the paper, section 4.1): a clip of T frames is the set of its pairs (frame, chord). Two such sets of T
pairs that share m pairs have a union of 2T - m. Chord accuracy as the field reports it beside it: mir_eval's root, majmin and sevenths
scores (Raffel et al. 2014). Onset F1 within 50 ms, by mir_eval (the paper, section 4.1, after Music ControlNet).

Melody accuracy: how much of the asked melody's time the heard melody has the same pitch class (Music ControlNet's definition). Two measures
differ in how the melody was heard. `melody_accuracy` takes melody bins from a salience network (0..52 = MIDI 43..95);
`pitch_class_accuracy` takes pitch classes, as Music ControlNet reads them from a chromagram (`extract.classical.prominent_pitch_class`).
Melody similarity by a multi-F0 classifier (the paper, section 4.1): cosine of two melodies, the octave included; its sibling by quantised
chroma, which any octave satisfies, is `chroma_similarity`.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from jasco_pl.extract.classical import power_of_two, quantised_chroma
from jasco_pl.notation import harmony
from jasco_pl.notation.chord_lab import harte
from jasco_pl.notation.melody import LOWEST_MIDI
from jasco_pl.system.errors import UserError

Level = Literal["exact", "triad"]
LEVELS: tuple[Level, ...] = ("exact", "triad")


def chord_iou(heard: ArrayLike, asked: ArrayLike, level: Level = "exact") -> float:
    """IoU of the (frame, chord) pairs of one clip.

    Args:
        heard: vocabulary indices [T] of what was heard in the audio.
        asked: vocabulary indices [T] of what was asked for, or heard in the reference.
        level: "exact" compares labels; "triad" compares root and major / minor / diminished / augmented, so the bass and the
            sixths and sevenths do not matter. N agrees with N at both levels; an unknown chord agrees with nothing.

    Returns:
        0 (nothing shared) to 1 (all shared). Note that half of the frames shared gives 1/3.

    Raises:
        UserError: the two are not of the same length, or empty, or the level is not known.
    """
    match = chord_matches(heard, asked, level)
    shared = int(match.sum())
    return shared / (2 * match.size - shared)


def chord_matches(heard: ArrayLike, asked: ArrayLike, level: Level = "exact") -> NDArray[np.bool_]:
    """Which frames [T] agree; arguments and errors as for `chord_iou`."""
    if level not in LEVELS:
        raise UserError(f"chord level {level!r} is not known: it is 'exact' or 'triad'.")
    left, right = frame_pair(heard, asked)
    if level == "exact":
        return (left == right) & (left <= harmony.N)
    both_silent = (left == harmony.N) & (right == harmony.N)
    heard_triad, asked_triad = harmony.triad(left), harmony.triad(right)
    return both_silent | ((heard_triad == asked_triad) & (heard_triad >= 0))


def frame_pair(heard: ArrayLike, asked: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both as arrays [T]; UserError if they are not of the same length, or empty."""
    left, right = np.asarray(heard), np.asarray(asked)
    if left.ndim != 1 or left.shape != right.shape or not left.size:
        raise UserError(f"chord frames of shapes {left.shape} and {right.shape} cannot be compared: both must be [T], T the same and > 0.")
    return left, right


Vocabulary = Literal["root", "majmin", "sevenths"]
VOCABULARIES: tuple[Vocabulary, ...] = ("root", "majmin", "sevenths")


def chord_accuracy(heard: ArrayLike, asked: ArrayLike, vocabulary: Vocabulary = "majmin") -> float:
    """Share of the time in which the heard chord is the asked one, of the time in which the vocabulary covers the asked one.

    Args:
        heard: vocabulary indices [T] of what was heard.
        asked: vocabulary indices [T] of what was asked for, or heard in the reference.
        vocabulary: "root" compares roots; "majmin" major and minor triads, without bass; "sevenths" also their sevenths.

    Returns:
        0 to 1; NaN where nothing that was asked lies in the vocabulary.

    Raises:
        UserError: the two are not of the same length, or empty, or the vocabulary is not known.
    """
    if vocabulary not in VOCABULARIES:
        raise UserError(f"chord vocabulary {vocabulary!r} is not known: it is 'root', 'majmin' or 'sevenths'.")
    import mir_eval  # here and below: to make music needs none of it

    left, right = frame_pair(heard, asked)
    pairs, frames = np.unique(np.stack([right, left]), axis=1, return_counts=True)
    written = [[harte(harmony.label(min(int(index), harmony.UNK))) for index in side] for side in pairs]
    scores = getattr(mir_eval.chord, vocabulary)(*written)
    covered = scores >= 0
    return float((scores * frames)[covered].sum() / frames[covered].sum()) if covered.any() else math.nan


WINDOW = 0.05


def onset_f1(heard: ArrayLike, asked: ArrayLike, window: float = WINDOW) -> float:
    """F1 of onsets, each paired with at most one of the other side.

    Args:
        heard: onset times of the generated audio in seconds, any order.
        asked: onset times of the reference in seconds, any order.
        window: the largest difference in seconds that still counts as the same onset.

    Returns:
        0 to 1; NaN when the reference has no onsets, since there is then no rhythm to follow. A clip in which nothing is
        heard although onsets were asked for counts 0.
    """
    reference = np.sort(np.asarray(asked, dtype=np.float64).reshape(-1))
    estimate = np.sort(np.asarray(heard, dtype=np.float64).reshape(-1))
    if not reference.size:
        return math.nan
    if not estimate.size:
        return 0.0
    import mir_eval

    return float(mir_eval.onset.f_measure(reference, estimate, window=window)[0])


def bins_to_pitch_class(bins: ArrayLike) -> NDArray[np.int64]:
    """Melody bins [...] (0 = MIDI 43) to pitch classes 0..11 (0 = C); -1 (no melody) stays -1."""
    values = np.asarray(bins, dtype=np.int64)
    return np.where(values >= 0, (values + LOWEST_MIDI) % 12, -1)


def pitch_class_accuracy(heard: ArrayLike, asked: ArrayLike) -> float:
    """Share of the frames where `asked` [T] is voiced (>= 0) in which `heard` [T] is the same pitch class.

    Returns:
        0 to 1; NaN when the asked melody is never voiced.

    Raises:
        UserError: the two are not of the same length [T].
    """
    left, right = _melodies(heard, asked)
    voiced = right >= 0
    return float((left == right)[voiced].mean()) if voiced.any() else math.nan


def _melodies(heard: ArrayLike, asked: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    left, right = np.asarray(heard), np.asarray(asked)
    if left.ndim != 1 or left.shape != right.shape:
        raise UserError(f"melodies of shapes {left.shape} and {right.shape} cannot be compared: both must be [T] with the same T.")
    return left, right


def melody_accuracy(heard: ArrayLike, asked: ArrayLike, *, octave: bool = False) -> float:
    """`pitch_class_accuracy` of melody bins [T]; with `octave` the bins themselves must agree, so the right octave counts too."""
    if octave:
        return pitch_class_accuracy(heard, asked)
    return pitch_class_accuracy(bins_to_pitch_class(heard), bins_to_pitch_class(asked))


def melody_similarity(heard: ArrayLike, asked: ArrayLike) -> float:
    """Mean cosine of the one-hot melodies of two clips over the frames in which either has one.

    Between one-hot frames the cosine is 1 or 0, and 0 where only one of the two sounds. Frames silent in both have no cosine and are left
    out (the paper does not say what it does with them).

    Args:
        heard: melody bins [T] of the generated clip, -1 where there is no melody.
        asked: melody bins [T] of the reference.

    Returns:
        0 to 1; NaN when neither is ever voiced.

    Raises:
        UserError: the two are not of the same length [T].
    """
    left, right = _melodies(heard, asked)
    voiced = (left >= 0) | (right >= 0)
    return float((left == right)[voiced].mean()) if voiced.any() else math.nan


def chroma_similarity(generated: Tensor, reference: Tensor, sample_rate: int) -> float:
    """Mean cosine similarity over frames of the one-hot quantised chroma of two clips, as MusicGen measures melody.

    The window is MusicGen's, 2^14 samples at 32 kHz (0.51 s) with a quarter of it as hop. Between one-hot vectors the cosine is 1
    or 0, so this is the share of frames whose strongest pitch class agrees; two silent frames agree.

    Args:
        generated: audio [1, S].
        reference: audio [1, S'] at the same rate; the longer of the two is cut.
        sample_rate: in Hz.

    Returns:
        0 to 1; rendered pieces in different keys had 0 to .14 of each other.
    """
    n_fft = power_of_two(0.512 * sample_rate)
    samples = min(generated.shape[-1], reference.shape[-1])
    left, right = (quantised_chroma(wav[..., :samples], sample_rate, n_fft, n_fft // 4) for wav in (generated, reference))
    return float((left == right).float().mean())
