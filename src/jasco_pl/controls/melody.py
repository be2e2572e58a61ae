"""Melody: one of 53 semitones (MIDI 43-95) or none a frame, one-hot and projected (paper, section 3.1: dimension 16).

A user gives it as a MIDI file, an audio file or an array.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from jasco_pl.audio.files import read_audio
from jasco_pl.controls import options
from jasco_pl.controls.adherence import MELODY
from jasco_pl.controls.base import Control, FrameGrid, Reading
from jasco_pl.extract.classical import SAMPLE_RATE, pyin_melody
from jasco_pl.extract.salience_network import find_weights
from jasco_pl.notation.harmony import FRAME_RATE, first_frame
from jasco_pl.notation.melody import BINS, LOWEST_MIDI, UNVOICED, melody_frames
from jasco_pl.notation.melody_files import MOST_BYTES, begins_late, check_details, kind_of, no_track, read_bytes, read_start
from jasco_pl.notation.midi import read_midi
from jasco_pl.system.errors import UserError

_SHAPES = f"[T] bins of -1..{BINS - 1}, or [T, {BINS}] or [{BINS}, T] salience"


class Melody(Control):
    """Melody bin of every frame (-1 = none) -> linear projection of its one-hot vector.

    As in the paper's binary matrix, "no melody given" and "no note here" are the same: a zero column.
    """

    name = field = "melody"
    option, details = options.MELODY, (options.TRACK, options.MELODY_FROM)
    dtype = torch.long
    null = UNVOICED
    adherence = MELODY

    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.channels = dim
        self.projection = nn.Linear(BINS, dim)

    @classmethod
    def check(cls, asked: Mapping[str, Any]) -> None:
        check_details(asked["melody"], asked["track"], asked["melody_from"])

    def read(self, asked: Mapping[str, Any], grid: FrameGrid) -> Reading:
        """A MIDI, audio or array file, or an array (see `read_melody`)."""
        melody = read_melody(asked["melody"], grid.frames, grid.frame_rate, asked["track"], asked["melody_from"])
        return Reading(melody.bins, melody.notes)

    def forward(self, raw: Tensor) -> Tensor:
        one_hot = functional.one_hot(raw + 1, BINS + 1)[..., 1:]
        return self.projection(one_hot.to(self.projection.weight.dtype))


@dataclass
class MelodyInput:
    """A melody that was read.

    Attributes:
        bins: int8 [T], 0..52 for MIDI 43..95, -1 for none.
        notes: remarks for the user on how it was read.
        source: `midi`, `array`, or for audio what heard it: `salience` or `pyin`.
    """

    bins: NDArray[np.int8]
    source: str
    notes: list[str] = field(default_factory=list)


def read_melody(
    melody: str | os.PathLike[str] | NDArray[Any] | Tensor,
    frames: int,
    frame_rate: float = FRAME_RATE,
    track: str | int | None = None,
    start: float | None = None,
) -> MelodyInput:
    """Read a melody.

    MIDI: see `read_midi`; a note holds on the frames k with onset <= k / frame_rate < offset. Audio: deep salience hears a melody in any
    music, where its weights are at hand (nothing is fetched); else pYIN, which expects a single line. Arrays: see `_bins_of`.

    Args:
        melody: path of a MIDI, `.npy`, `.pt`, `.th`, `.safetensors` or audio file, or an array or tensor.
        frames: how many frames T to give; what is longer is cut, what is shorter ends in -1.
        frame_rate: frames a second; audio is heard at 50 Hz only.
        track: number (from 1), name or instrument of the MIDI track; None is the one most like a melody.
        start: second at which to take it up; None is 0, or the first note of MIDI or an array where that comes after T frames.

    Raises:
        UserError: a missing or unreadable file, not a MIDI file, no notes in it, no such track, an array of another shape or content,
            nothing after `start`.
    """
    start = read_start(start)
    if isinstance(melody, np.ndarray | Tensor):
        no_track("an array", track)
        read = _from(_from_array(melody, "the melody array"), frames, frame_rate, start)
    elif (kind := kind_of(melody)) == "midi":
        read = _from_midi(melody, frames, frame_rate, track, start)
    else:
        no_track(melody, track)
        if kind == "array":
            array = _from_array(_load_array(melody, Path(melody).suffix.lower()), f"melody file {os.fspath(melody)!r}")
            read = _from(array, frames, frame_rate, start)
        else:
            if frame_rate != FRAME_RATE:
                raise ValueError(f"a melody is heard in audio at {FRAME_RATE} frames a second only, not {frame_rate}")
            wav = read_audio(melody, SAMPLE_RATE, max_seconds=(start or 0) + frames / FRAME_RATE)
            if start and wav.shape[1] <= start * SAMPLE_RATE:
                raise _nothing_left(wav.shape[1] / SAMPLE_RATE, start)
            read = _from_audio(wav[:, round((start or 0) * SAMPLE_RATE) :])
    given = len(read.bins)
    if given < frames:
        read.notes.append(f"the melody ends at {given / frame_rate:.2f} s; there is none after it")
    bins = np.full(frames, UNVOICED, dtype=np.int8)
    bins[: min(given, frames)] = read.bins[:frames]
    if read.source == "pyin" and not (bins >= 0).any():
        read.notes.append(
            "no single line was heard in the audio: give a hummed, sung or played melody without accompaniment, or a MIDI file"
        )
    elif read.source == "salience" and not (bins >= 0).any():
        read.notes.append("no melody was heard in the audio")
    elif not (bins >= 0).any():
        read.notes.append(f"no note of the melody sounds in the first {frames / frame_rate:g} s")
    return MelodyInput(bins, read.source, read.notes)


def _from_audio(wav: Tensor) -> MelodyInput:
    frames = round(wav.shape[1] / SAMPLE_RATE * FRAME_RATE)
    weights = find_weights(fetch=False)
    if weights is None:
        note = "the melody was estimated from audio by pYIN, which expects a single line (`jasco extract melody` hears one in any music)"
        return MelodyInput(pyin_melody(wav, SAMPLE_RATE, frames), "pyin", [note])
    from jasco_pl.extract.salience import Salience  # here: a melody from MIDI needs none of it

    return MelodyInput(Salience(weights)(wav, SAMPLE_RATE, frames), "salience", ["the melody was heard in the audio by deep salience"])


def _from_midi(path: str | os.PathLike[str], frames: int, frame_rate: float, track: str | int | None, start: float | None) -> MelodyInput:
    read = read_midi(path, frames / frame_rate, track, start)
    # Enough frames for the last note, so that the caller can tell where the melody ends, but not for hours of it.
    last = first_frame(max((offset for _, _, offset in read.notes), default=0.0), frame_rate)
    return MelodyInput(melody_frames(read.notes, min(last, frames), frame_rate), "midi", read.remarks)


def _from(melody: MelodyInput, frames: int, frame_rate: float, start: float | None) -> MelodyInput:
    """An array from a second on; None is 0, or its first note where that comes after the clip."""
    sounding = np.flatnonzero(melody.bins >= 0)
    if start is None and len(sounding) and sounding[0] >= frames:
        start = float(sounding[0] / frame_rate)
        melody.notes.append(begins_late(start))
    first = first_frame(start or 0.0, frame_rate)
    if start and first >= len(melody.bins):
        raise _nothing_left(len(melody.bins) / frame_rate, start)
    return MelodyInput(melody.bins[first:], melody.source, melody.notes)


def _nothing_left(seconds: float, start: float) -> UserError:
    return UserError(f"the melody lasts {seconds:.2f} s; nothing of it is left from second {start:g} on (melody_from).")


def _load_array(path: str | os.PathLike[str], suffix: str) -> NDArray[Any] | Tensor:
    """The only tensor of a `.npy`, `.pt`, `.th` or `.safetensors` file, or the one named `melody`. Nothing in a file is executed."""
    name = os.fspath(path)
    content = read_bytes(path)
    loaded: Any
    try:
        if suffix == ".npy":
            loaded = _load_npy(content)
        elif suffix == ".safetensors":
            loaded = safetensors.torch.load(content)
        else:
            _check_packed(content)
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # PyTorch's words advise to read it unsafely
        raise UserError(f"melody file {name!r} holds more than a plain array, and was not read.") from None
    except Exception as error:  # three formats, each with its own errors for damaged or hostile bytes
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise UserError(f"melody file {name!r} does not hold a plain array ({reason}).") from None
    if isinstance(loaded, dict):
        tensors = {key: value for key, value in loaded.items() if isinstance(value, Tensor)}
        loaded = tensors.get("melody", next(iter(tensors.values())) if len(tensors) == 1 else None)
    if not isinstance(loaded, np.ndarray | Tensor):
        raise UserError(f"melody file {name!r} does not hold one array, or one named 'melody'; accepted are {_SHAPES}.")
    return loaded


def _load_npy(content: bytes) -> NDArray[Any]:
    """NumPy makes room for what a header claims before it reads: compare that with what is there."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if math.prod(shape) * dtype.itemsize > len(content):
        raise ValueError(f"it claims {list(shape)} numbers, more than it has")
    return np.load(io.BytesIO(content), allow_pickle=False)


def _check_packed(content: bytes) -> None:
    """Raise ValueError if an archive of `torch.save` would unfold to more than a melody is."""
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MOST_BYTES:
                raise ValueError(f"unpacked it has more than {MOST_BYTES >> 20} MiB")


def _from_array(array: NDArray[Any] | Tensor, what: str) -> MelodyInput:
    if isinstance(array, Tensor):
        if array.layout != torch.strided or array.is_nested or array.is_quantized or array.is_meta:
            raise UserError(f"{what} is a sparse, nested, quantised or empty tensor; accepted are {_SHAPES}.")
        if array.numel() * array.element_size() > MOST_BYTES:  # expanded, it takes no room until it is looked at
            raise UserError(f"{what} has the shape {list(array.shape)}, more than a melody has; accepted are {_SHAPES}.")
        array = array.detach().cpu().to(torch.float32 if array.is_floating_point() else array.dtype).numpy()
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise UserError(f"{what} holds something else than finite numbers; accepted are {_SHAPES}.")
    return MelodyInput(_bins_of(array, what), "array")


def _bins_of(array: NDArray[Any], what: str) -> NDArray[np.int8]:
    """[T] bins as they are; [T, 53] or [53, T] (audiocraft's) as the strongest bin of every frame, where it reaches 0.5."""
    if array.ndim == 3 and len(array) == 1:
        array = array[0]
    if array.ndim == 1:
        if ((array < UNVOICED) | (array >= BINS) | (array != np.round(array))).any():
            raise UserError(
                f"{what} holds values other than the whole numbers -1..{BINS - 1} (MIDI pitch minus {LOWEST_MIDI}, -1 for none)."
            )
        return array.astype(np.int8)
    if array.ndim == 2 and BINS in array.shape:
        salience = array if array.shape[1] == BINS else array.T
        return np.where(salience.max(axis=1) >= 0.5, salience.argmax(axis=1), UNVOICED).astype(np.int8)
    raise UserError(f"{what} has the shape {list(array.shape)}; accepted are {_SHAPES}.")
