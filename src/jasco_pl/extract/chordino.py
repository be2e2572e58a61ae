"""Chords heard in audio: Chordino (Mauch & Dixon 2010), the extractor of the paper, run as a Vamp plugin.

The plugin is under GPL-2 and optional: it lies inside the package `chord-extractor` and is loaded at run time by `vamphost`.
`chord_extractor` itself is never imported, because its extractors need `pkg_resources`, which current setuptools no longer has.

Known habits of the plugin, left as they are because both sides of a comparison share them: it sees nothing before the middle of
its first block (0.37 s), so every clip begins with N; it answers on a grid of 93 ms; hard changes are reported 0.15-0.2 s early.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.files import resample
from jasco_pl.audio.long_audio import LongAudio, Samples
from jasco_pl.extract.stage import Field, Piece, Stage
from jasco_pl.notation import harmony
from jasco_pl.notation.chord_symbol import parse_chord
from jasco_pl.system.errors import UserError

SAMPLE_RATE = 22050
_PLUGIN = "nnls-chroma:chordino"
# The defaults of chord-extractor, which made the paper's chords.
_PARAMETERS = {"useNNLS": 1, "rollon": 1, "tuningmode": 0, "whitening": 1, "s": 0.7, "boostn": 0.1}
_STEP = 2048  # samples between the plugin's blocks
WINDOW_SECONDS = 240.0
OVERLAP_SECONDS = 30.0


@functools.cache
def available() -> bool:
    """Whether the Vamp host and the Chordino plugin are both here."""
    if importlib.util.find_spec("vamp") is None:
        return False
    package = importlib.util.find_spec("chord_extractor")  # found, not imported
    if package is not None and package.submodule_search_locations:
        folder = str(Path(next(iter(package.submodule_search_locations))) / "_lib")
        paths = [part for part in os.environ.get("VAMP_PATH", "").split(os.pathsep) if part]
        if folder not in paths:
            os.environ["VAMP_PATH"] = os.pathsep.join([*paths, folder])
    import vamp

    return _PLUGIN in vamp.list_plugins()


def chordino(wav: Tensor, sample_rate: int) -> list[tuple[str, float]]:
    """Chords of one clip.

    Args:
        wav: mono [1, S].
        sample_rate: in Hz; the plugin hears it at 22,050 Hz, as in the paper's pipeline.

    Returns:
        (label of the vocabulary, start in seconds) at every change, in order. Empty audio has none.

    Raises:
        UserError: the plugin is not installed, or the samples hold NaN or infinity.
    """
    require()
    if not bool(torch.isfinite(wav).all()):
        raise UserError("cannot look for chords in audio that holds NaN or infinity.")
    return _heard(resample(wav, sample_rate, SAMPLE_RATE)[0].numpy())


def chordino_long(
    samples: Samples, window_seconds: float = WINDOW_SECONDS, overlap_seconds: float = OVERLAP_SECONDS, progress: bool = False
) -> list[tuple[str, float]]:
    """Chords of audio of any length, in memory that does not grow with it.

    What fits into one window is heard as a whole, as by `chordino`. Longer audio is heard in windows that overlap, on one grid of blocks,
    and joined in the middle of each overlap. That may differ from hearing it at once: the plugin tunes itself to the mean of what it
    hears, so to a window instead of the whole; and its Viterbi path takes more and less likely chords as the neighbours in reach allow,
    so a chord near a joint can be another one, begin a few blocks of 93 ms earlier or later, or be cut in two.

    Args:
        samples: at 22,050 Hz.
        window_seconds, overlap_seconds: of the windows.
        progress: show a bar where there is more than one window.

    Returns, raises: as `chordino`.
    """
    if samples.rate != SAMPLE_RATE:
        raise ValueError(f"Chordino hears {SAMPLE_RATE} samples a second here, not {samples.rate}")
    require()
    window, overlap = (round(seconds * SAMPLE_RATE / _STEP) * _STEP for seconds in (window_seconds, overlap_seconds))
    starts = [0, *range(window - overlap, len(samples) - overlap, window - overlap)]
    changes: list[tuple[str, float]] = []
    for start in tqdm(starts, desc="chords", unit="window", disable=not progress or len(starts) == 1):
        found = [(label, start / SAMPLE_RATE + time) for label, time in _heard(samples[start : start + window])]
        changes = _joined(changes, found, (start + overlap / 2) / SAMPLE_RATE) if start else found
    return changes


def _joined(first: list[tuple[str, float]], second: list[tuple[str, float]], at: float) -> list[tuple[str, float]]:
    """The changes of `first` before a time and those of `second` from it on."""
    kept = [change for change in first if change[1] < at]
    holding = [label for label, time in second if time <= at]
    if holding and (not kept or kept[-1][0] != holding[-1]):
        kept.append((holding[-1], at))
    return kept + [change for change in second if change[1] > at]


def require() -> None:
    """Raise the UserError that says how to install the plugin, where it is not installed."""
    if not available():
        raise UserError(
            "chord recognition needs the Chordino plugin, which is not installed: "
            "run `pip install 'jasco-pl[chords]'` and then `pip install --no-deps chord-extractor==0.1.3` (`make setup` does both)."
        )


def _heard(samples: NDArray[np.float32]) -> list[tuple[str, float]]:
    """Chords of samples [S] at 22,050 Hz that are known to be finite."""
    import vamp

    found = vamp.collect(samples, SAMPLE_RATE, _PLUGIN, parameters=_PARAMETERS)
    return [(_in_vocabulary(item["label"]), float(item["timestamp"])) for item in found["list"]]


def chordino_frames(wav: Tensor, sample_rate: int, frames: int, frame_rate: float = harmony.FRAME_RATE) -> NDArray[np.int16]:
    """Chords of one clip [1, S] as vocabulary indices [T], so many frames a second; N before the first."""
    return harmony.changes_to_frames(chordino(wav, sample_rate), frames, frame_rate)


def _in_vocabulary(written: str) -> str:
    if written in harmony.LABELS:
        return written
    try:
        return parse_chord(written)[0]
    except UserError:
        return harmony.LABELS[harmony.UNK]


class ComposedChords(Stage):
    """The chords of composed pieces as they were written, vocabulary indices."""

    name = "composed chords"
    fields = (Field("chords", torch.int16, harmony.NULL),)
    annotations = ("chords",)

    def of_piece(self, piece: Piece) -> dict[str, Tensor]:
        return {"chords": torch.from_numpy(harmony.changes_to_frames(piece.note["chords"], piece.frames, self.codec.frame_rate))}


class HeardChords(Stage):
    """The same as Chordino hears them: all that recordings have."""

    name = "chords"
    fields = (Field("chords_heard", torch.int16, harmony.NULL, stands_in_for="chords"),)

    @classmethod
    def require(cls) -> None:
        require()

    def fingerprint(self) -> str:
        require()
        return "chordino"

    def of_recording(self, audio: LongAudio) -> dict[str, Tensor]:
        changes = chordino_long(audio.samples(SAMPLE_RATE))
        return {"chords_heard": torch.from_numpy(harmony.changes_to_frames(changes, self.frames(audio), self.codec.frame_rate))}

    def of_piece(self, piece: Piece) -> dict[str, Tensor]:
        heard = chordino_frames(piece.stems["mix"], self.codec.sample_rate, piece.frames, self.codec.frame_rate)
        return {"chords_heard": torch.from_numpy(heard)}
