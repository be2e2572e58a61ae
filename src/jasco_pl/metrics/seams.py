"""Whether music goes on at a moment: what is heard just before it against what is heard just after.

Where two windows of a long clip meet there should be no more of an event than anywhere else in music, which has events all the time. So
none of these figures says anything alone: they are read beside those of other moments of the same clip, and of music that is one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jasco_pl.audio.files import resample
from jasco_pl.audio.levels import sounding_loudness
from jasco_pl.audio.long_audio import InMemory
from jasco_pl.extract.beats import SAMPLE_RATE as BEAT_RATE
from jasco_pl.extract.beats import track_parts
from jasco_pl.extract.classical import power_of_two
from jasco_pl.extract.key import chroma_of
from jasco_pl.metrics.beats import TOLERANCE, beat_f1, tempo, tempo_error

NEAR = 0.06  # seconds from a moment in which a peak belongs to it: the reach of the codec's long window
SURROUNDINGS = 1.0  # seconds, to which the peak is compared
LOUDNESS_SIDE = 2.0  # seconds on either side: about a bar
SIDE = 4.0  # the same of harmony and beat: some bars
GOES_ON = 3.0  # seconds for which the beat before a moment is expected to go on after it


def flux_peaks(wav: Tensor, sample_rate: int, moments: Sequence[float]) -> NDArray[np.float64]:
    """The peak of the spectral flux near each moment over its mean in the surroundings, [N]; NaN where the surroundings do not change.

    Flux: the sum over bins of how much the log magnitude changes from a window of 32 ms to the next, 10 ms later, up or down; for a seam
    may be heard in what stops there, too.

    Args:
        wav: [1, S].
        sample_rate: Hz.
        moments: seconds.
    """
    size, hop = power_of_two(0.032 * sample_rate), round(0.01 * sample_rate)
    spectrum = torch.stft(
        wav[0].float(), size, hop, window=torch.hann_window(size), center=True, pad_mode="constant", return_complex=True
    ).abs()
    flux = (1000 / size * spectrum).log1p().diff(dim=1).abs().sum(dim=0).numpy()  # between frames k and k + 1
    times = (np.arange(len(flux)) + 0.5) * hop / sample_rate
    found = []
    for moment in moments:
        near, around = (flux[np.abs(times - moment) <= reach] for reach in (NEAR, SURROUNDINGS))
        found.append(near.max() / around.mean() if near.size and around.mean() > 0 else np.nan)
    return np.array(found, dtype=np.float64)


def loudness_steps(wav: Tensor, sample_rate: int, moments: Sequence[float]) -> NDArray[np.float64]:
    """Loudness after each moment less that before it, LU over two seconds each, [N]; NaN where one of the two is silent or not there."""
    return np.array([_step(*_sides(wav, sample_rate, moment, LOUDNESS_SIDE), sample_rate) for moment in moments], dtype=np.float64)


def _step(before: Tensor, after: Tensor, sample_rate: int) -> float:
    here, there = (sounding_loudness(side, sample_rate) if side.shape[-1] else None for side in (before, after))
    return np.nan if here is None or there is None else there - here


def _sides(wav: Tensor, sample_rate: int, moment: float, side: float) -> tuple[Tensor, Tensor]:
    at, length = round(moment * sample_rate), round(side * sample_rate)
    return wav[:, max(0, at - length) : at], wav[:, at : at + length]


def chroma_distances(wav: Tensor, sample_rate: int, moments: Sequence[float]) -> NDArray[np.float64]:
    """One less the cosine of the mean chroma of the four seconds before each moment and after it, [N]; NaN where one of them is silent."""
    chroma, rate = chroma_of(wav, sample_rate)
    found = []
    for moment in moments:
        at, length = round(moment * rate), round(SIDE * rate)
        sides = [part.sum(axis=1) for part in (chroma[:, max(0, at - length) : at], chroma[:, at : at + length])]
        sizes = [float(np.linalg.norm(side)) for side in sides]
        found.append(1 - float(sides[0] @ sides[1]) / (sizes[0] * sizes[1]) if min(sizes) > 0 else np.nan)
    return np.array(found, dtype=np.float64)


def beats_go_on(wav: Tensor, sample_rate: int, moments: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Whether tempo and beat go on over each moment, [N] each.

    Beats are placed in the four seconds before it and in those after it, each side by itself, of what BeatNet's network hears in the whole
    clip: a tracker that heard both sides at once would bridge what is to be found.

    Returns:
        1 where the tempo after is the tempo before, within 4 % and octaves apart, else 0, and NaN where one of them is not heard; beat F1
        of what is heard in three seconds after the moment against the beat of before, gone on at its tempo, NaN where that has no beat.

    Raises:
        UserError: the weights of BeatNet are not installed.
    """
    samples = InMemory(resample(wav, sample_rate, BEAT_RATE), BEAT_RATE)
    parts = [part for moment in moments for part in ((moment - SIDE, moment), (moment, moment + SIDE))]
    heard = [beats[:, 0] for beats in track_parts(samples, parts)]
    same, carried = [], []
    for moment, before, after in zip(moments, heard[::2], heard[1::2], strict=True):
        speeds = tempo(before), tempo(after)
        same.append(float(tempo_error(speeds[1], speeds[0], octaves=True) <= TOLERANCE) if np.isfinite(speeds).all() else np.nan)
        expected = continued(before, moment, moment + GOES_ON)
        if len(expected) > 1:  # a beat on an edge of the stretch counts on both sides or on neither
            half = float(np.diff(expected).mean()) / 2
            after = after[(after > expected[0] - half) & (after < expected[-1] + half)]
        carried.append(beat_f1(after, expected))
    return np.array(same), np.array(carried)


def continued(beats: NDArray[np.float64], start: float, end: float) -> NDArray[np.float64]:
    """Beats [N] gone on evenly between two times, from the line that fits those best that are a beat apart; none of fewer than three."""
    speed = tempo(beats)
    if not np.isfinite(speed):
        return np.zeros(0)
    period = 60 / speed
    numbers = np.round((beats - beats[0]) / period)
    period, first = np.polyfit(numbers, beats, 1)
    grid = first + period * np.arange(np.ceil((start - first) / period), np.ceil((end - first) / period))
    return np.asarray(grid, dtype=np.float64)
