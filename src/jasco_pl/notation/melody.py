"""A melody as bins: one of 53 semitones (MIDI 43-95), or none, a frame (paper, section 3.1); from notes, to MIDI and arrays."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jasco_pl.notation.harmony import FRAME_RATE, first_frame
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path

if TYPE_CHECKING:
    import pretty_midi

BINS = 53
LOWEST_MIDI = 43
UNVOICED = -1
VOICED = 0.1  # the least share of the time that has a melody, for there to be one to follow
SUFFIXES = (".mid", ".midi", ".npy")
_TICKS = 100  # a quarter note at 120 bpm: frames of 20 ms begin on whole ticks, and readers that refuse ten million see hours


def write_melody(path: str | os.PathLike[str], bins: NDArray[np.int8]) -> None:
    """Write bins [T] (0..52 for MIDI 43..95, -1 for none) at 50 Hz; the ending decides between MIDI and a float32 array [T, 53].

    Raises:
        UserError: another ending, or the file cannot be written.
    """
    suffix = check_suffix(path)
    with atomic_path(path) as temporary:
        if suffix == ".npy":
            np.save(temporary, (bins[:, None] == np.arange(BINS)).astype(np.float32))
        else:
            to_midi(bins).write(str(temporary))


def check_suffix(path: str | os.PathLike[str]) -> str:
    """The ending of a melody's file, before anything long is begun."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"cannot write a melody to {os.fspath(path)!r}: the name must end in one of {', '.join(SUFFIXES)}.")
    return suffix


def to_midi(bins: NDArray[np.int8]) -> pretty_midi.PrettyMIDI:
    """Every run of equal bins [T] as one note of a track named `melody`."""
    import pretty_midi  # here: to make music needs none of it

    track = pretty_midi.Instrument(program=0, name="melody")
    track.notes = [pretty_midi.Note(90, pitch, onset, offset) for pitch, onset, offset in bins_to_notes(bins)]
    midi = pretty_midi.PrettyMIDI(resolution=_TICKS, initial_tempo=120.0)
    midi.instruments.append(track)
    return midi


def bins_to_notes(bins: NDArray[np.int8], frame_rate: float = FRAME_RATE) -> list[tuple[int, float, float]]:
    """Every run of equal bins [T] as one note: MIDI pitch, onset and offset in seconds."""
    edges = [0, *(np.flatnonzero(np.diff(bins)) + 1).tolist(), len(bins)] if len(bins) else [0]
    return [
        (int(bins[start]) + LOWEST_MIDI, start / frame_rate, stop / frame_rate)
        for start, stop in itertools.pairwise(edges)
        if bins[start] >= 0
    ]


def has_melody(bins: ArrayLike) -> bool:
    """Whether melody bins [T] sound in a tenth of the frames at least."""
    return bool((np.asarray(bins) >= 0).mean() >= VOICED)


def melody_frames(notes: Sequence[Sequence[float]], frames: int, frame_rate: float) -> np.ndarray:
    """[midi, onset, offset] notes -> int8 [T]: a note holds the frames k with onset <= k / rate < offset."""
    bins = np.full(frames, -1, dtype=np.int8)
    for midi, onset, offset in notes:
        first, last = (first_frame(time, frame_rate) for time in (onset, offset))
        if 0 <= midi - LOWEST_MIDI < BINS:
            bins[first:last] = int(midi) - LOWEST_MIDI
    return bins
