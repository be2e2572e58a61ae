"""Beats of a bar, from times or from a tempo and a meter, as a place in the beat and in the bar of every frame; and back to times."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from jasco_pl.system.errors import UserError

SLOWEST, FASTEST = 20.0, 400.0  # beats a minute that are accepted
NOWHERE = -1.0
"""In place of a phase: no beat, or one whose place in the bar is not known."""
Beat = tuple[float, int]
"""Seconds, and the number in the bar from 1; 0 where that is not known."""


def read_tempo(bpm: float) -> float:
    """Beats a minute.

    Raises:
        UserError: they lie outside 20 to 400.
    """
    if not SLOWEST <= bpm <= FASTEST:
        raise UserError(f"the tempo must lie between {SLOWEST:g} and {FASTEST:g} bpm, not {bpm:g}.")
    return bpm


def read_meter(meter: str) -> tuple[float, float]:
    """Quarter notes in a bar and in a beat of the tempo: a dotted quarter where the meter has eighths in threes (6/8, 9/8, 12/8).

    Raises:
        UserError: it is no meter.
    """
    match = re.fullmatch(r"\s*(\d{1,2})\s*/\s*(2|4|8|16)\s*", meter)
    if match is None or int(match[1]) == 0:
        raise UserError(f"meter {meter!r} is not understood; write for example 4/4, 3/4 or 6/8.")
    count, unit = int(match[1]), int(match[2])
    return 4 * count / unit, 1.5 if unit == 8 and count % 3 == 0 else 1.0


def bar_seconds(bpm: float, meter: str) -> float:
    """Length of a bar.

    Raises:
        UserError: the tempo lies outside 20 to 400, or the meter is not understood.
    """
    quarters, per_beat = read_meter(meter)
    return quarters / per_beat * 60 / read_tempo(bpm)


def steady_beats(bpm: float, meter: str, seconds: float) -> list[Beat]:
    """Beats of a steady tempo, the first downbeat at 0, up to the first at or after the end.

    Where a bar holds no whole number of beats (7/8) its last one is short.

    Raises:
        UserError: the tempo lies outside 20 to 400, or the meter is not understood.
    """
    bar_quarters, per_beat = read_meter(meter)
    beat = 60 / read_tempo(bpm)
    bar = bar_quarters / per_beat  # beats
    numbers = range(math.ceil(bar - 1e-9))
    bars = math.ceil(seconds / (bar * beat)) + 1
    beats = [((number * bar + place) * beat, place + 1) for number in range(bars) for place in numbers]
    last = next(index for index, (time, _) in enumerate(beats) if time >= seconds)
    return beats[: last + 1]


def phases(beats: Sequence[Beat], frames: int, frame_rate: float) -> NDArray[np.float32]:
    """How far each frame lies into its beat and into its bar.

    Between two beats the place grows in a straight line. The last beat is as long as the one before it, and its bar as long as the one
    before that; beats more than three seconds apart (20 bpm) have none between them.

    Args:
        beats: rising.
        frames: T.
        frame_rate: frames a second; frame k lies at k / frame_rate seconds.

    Returns:
        [T, 2] in 0..1: of the beat, of the bar. `NOWHERE` before the first beat and after the last, and of the bar where numbers are not
        known.
    """
    out = np.full((frames, 2), NOWHERE, dtype=np.float32)
    if len(beats) < 2:
        return out
    times, numbers = np.array([time for time, _ in beats]), [number for _, number in beats]
    lengths = np.diff(times)
    lengths = np.append(lengths, lengths[-1])
    at = np.arange(frames) / frame_rate + 1e-6 / frame_rate  # a millionth of a frame is forgiven, as by `harmony.first_frame`
    index = np.searchsorted(times, at, side="right") - 1
    length = lengths[index.clip(min=0)]
    place = (at - times[index.clip(min=0)]) / length
    inside = (index >= 0) & (place < 1) & (length <= 60 / SLOWEST + 1e-9)
    number, count = np.array(numbers)[index.clip(min=0)], np.array(_bar_lengths(numbers))[index.clip(min=0)]
    out[inside, 0] = place[inside]
    known = inside & (number > 0)
    out[known, 1] = (number[known] - 1 + place[known]) / count[known]
    return out


def _bar_lengths(numbers: Sequence[int]) -> list[int]:
    """Of every beat, how many there are in its bar: as far as it counts, the last one at least as far as the one before it."""
    starts = [index for index, number in enumerate(numbers) if index == 0 or number <= numbers[index - 1]]
    lengths: list[int] = []
    for first, after in pairwise([*starts, len(numbers)]):
        count = max(1, *numbers[first:after])
        if after == len(numbers) and lengths:
            count = max(count, lengths[-1])
        lengths += [count] * (after - first)
    return lengths


def beat_times(phase: NDArray[np.floating], frame_rate: float) -> NDArray[np.float64]:
    """Where a phase [T] begins anew, in seconds, rising: the inverse of `phases` for either of its columns."""
    place = np.asarray(phase, dtype=np.float64)
    before, after = np.append(NOWHERE, place[:-1]), np.append(place[1:], NOWHERE)
    step = np.where(after > place, after - place, (place - before) % 1.0)
    begins = (place >= 0) & ((before > place) | ((before < 0) & (place < 1.05 * step)))  # some are rounded up by half precision
    index = np.flatnonzero(begins)
    at = index - place[index] / step[index]
    return np.asarray(at[at > -0.5].clip(min=0) / frame_rate, dtype=np.float64)
