"""What was asked for over what was heard, as stretches with a verdict each, for a page's script to draw.

The verdicts are those of the metrics: chords by label and by triad, melodies by pitch class, onsets in pairs within 50 ms.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import mir_eval
import numpy as np
from numpy.typing import NDArray

from jasco_pl.metrics.chords import chord_matches
from jasco_pl.metrics.onset_f1 import WINDOW
from jasco_pl.notation import harmony

FREE, RIGHT, NEAR, WRONG = range(4)
"""Nothing was asked for; as asked; the same triad with another bass, sixth or seventh; something else."""
KINDS = ("chords", "melody", "onsets")
MIDDLE = 66  # MIDI; where pitch classes are drawn while no melody says in which octave


def compare(asked: Mapping[str, Any], heard: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """The lanes for which there is something to compare with.

    Args:
        asked: `chords` [label, start], `melody` [MIDI, onset, offset] and `onsets` [time], in seconds; what is missing or empty gets no
            lane.
        heard: the same, and `pitch_classes` [0 = C .. 11, onset, offset] that stand in where no `melody` could be heard.
        seconds: the clip's length.

    Returns:
        For each kind `asked` and `heard`: chords [label, start, end], melody [MIDI, onset, offset], onsets [time]; each heard one, and each
        asked onset, followed by its verdict. Melody says in `octaves` whether those that are heard are true ones; pitch classes alone are
        put into the octave nearest to what is asked for.
    """
    frames = max(1, round(seconds * harmony.FRAME_RATE))
    lanes: dict[str, Any] = {}
    if asked.get("chords"):
        lanes["chords"] = _chords(asked["chords"], heard.get("chords") or [], frames)
    if asked.get("melody"):
        octaves = bool(heard.get("melody"))
        lanes["melody"] = _melody(asked["melody"], heard["melody"] if octaves else heard.get("pitch_classes") or [], frames, octaves)
    if asked.get("onsets"):
        lanes["onsets"] = _onsets(asked["onsets"], heard.get("onsets") or [])
    return lanes


def _chords(asked: Sequence[Sequence[Any]], heard: Sequence[Sequence[Any]], frames: int) -> dict[str, Any]:
    wanted, found = (harmony.changes_to_frames([(name, start) for name, start in side], frames) for side in (asked, heard))
    verdict = np.where(chord_matches(found, wanted, "triad"), NEAR, WRONG)
    verdict[chord_matches(found, wanted)] = RIGHT
    verdict[wanted > harmony.N] = FREE
    return {
        "asked": [[harmony.label(chord), *times] for (chord,), times in _runs(wanted)],
        "heard": [[harmony.label(chord), *times, judged] for (chord, judged), times in _runs(found, verdict)],
    }


def _melody(asked: Sequence[Sequence[float]], heard: Sequence[Sequence[float]], frames: int, octaves: bool) -> dict[str, Any]:
    wanted, found = _pitches(asked, frames), _pitches(heard, frames)
    verdict = np.where(found % 12 == wanted % 12, RIGHT, WRONG)
    verdict[wanted < 0] = FREE
    if not octaves:
        found = in_octaves(found, wanted)
    return {
        "asked": [[pitch, *times] for (pitch,), times in _runs(wanted) if pitch >= 0],
        "heard": [[pitch, *times, judged] for (pitch, judged), times in _runs(found, verdict) if pitch >= 0],
        "octaves": octaves,
    }


def in_octaves(classes: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pitch classes [T] as MIDI pitches in the octave nearest to a melody of MIDI pitches [T]; -1 is none in both."""
    near = _held(wanted)
    return np.where(classes >= 0, near + (classes - near + 6) % 12 - 6, -1)


def _pitches(notes: Sequence[Sequence[float]], frames: int) -> NDArray[np.int64]:
    """Notes [pitch, onset, offset] -> [T], -1 for none."""
    out = np.full(frames, -1, dtype=np.int64)
    for pitch, onset, offset in notes:
        out[harmony.first_frame(onset) : harmony.first_frame(offset)] = round(pitch)
    return out


def _held(pitches: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each rest takes the pitch before it, the first one that after it."""
    sounding = np.flatnonzero(pitches >= 0)
    if not sounding.size:
        return np.full_like(pitches, MIDDLE)
    last = np.searchsorted(sounding, np.arange(len(pitches)), side="right") - 1
    return pitches[sounding[np.maximum(last, 0)]]


def _onsets(asked: Sequence[float], heard: Sequence[float]) -> dict[str, Any]:
    wanted, found = sorted(asked), sorted(heard)
    pairs = mir_eval.util.match_events(np.array(wanted), np.array(found), WINDOW) if found else []
    matched: tuple[set[int], set[int]] = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    return {
        name: [[round(time, 3), RIGHT if number in partners else WRONG] for number, time in enumerate(times)]
        for name, times, partners in zip(("asked", "heard"), (wanted, found), matched, strict=True)
    }


def _runs(*columns: NDArray[np.generic]) -> list[tuple[list[int], list[float]]]:
    """Stretches over which all columns [T] keep their values: the values, and [start, end] in seconds."""
    found, last = [], 0
    for values, run in itertools.groupby(zip(*(column.tolist() for column in columns), strict=True)):
        first, last = last, last + len(list(run))
        found.append((list(values), [first / harmony.FRAME_RATE, last / harmony.FRAME_RATE]))
    return found
