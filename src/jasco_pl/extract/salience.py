"""The melody of finished music: deep salience (Bittner et al. 2017) and the paper's recipe of 53 semitones at 50 Hz.

The recipe (paper, section 3.1, and audiocraft's data preparation): multi-f0 salience, the largest of a semitone's five bins, MIDI 43 to 95,
nothing below 0.5, linear interpolation from 86 to 50 frames a second, the strongest semitone of every frame. `docs/decisions.md` says
how closely it agrees with a melody that Meta prepared, and what the rest is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.files import resample
from jasco_pl.audio.long_audio import InMemory, LongAudio, Samples
from jasco_pl.extract import salience_network as hcqt
from jasco_pl.extract.salience_network import BELOW, CONTEXT, SalienceNetwork, load_network
from jasco_pl.extract.stage import Field, Piece, Stage
from jasco_pl.notation.harmony import FRAME_RATE
from jasco_pl.notation.melody import BINS, LOWEST_MIDI, UNVOICED, melody_frames
from jasco_pl.system.errors import UserError
from jasco_pl.system.resources import weights_fingerprint

THRESHOLD = 0.5
# A clip is mostly cut from louder music, and the network was trained with decibels below the loudest moment of whole recordings.
EXCERPT_SECONDS = 30.0
EXCERPT_HEADROOM_DB = 3.0
WINDOW = 4096  # frames of 11.6 ms, three quarters of a minute
CHUNK = 512  # frames that the network sees at once
_FRAMES = hcqt.SAMPLE_RATE / hcqt.HOP  # 86.13 a second
_PER_SEMITONE = hcqt.BINS_PER_OCTAVE // 12
FIRST_BIN = (LOWEST_MIDI - 24) * _PER_SEMITONE - _PER_SEMITONE // 2  # bin 0 is C1, MIDI 24; a semitone's bins lie around its own
# audiocraft counts 86 frames a second and so falls behind, by 1.3 frames over its ten seconds and by 0.66 in their middle. We count
# right, at any length, and keep that mean of 8 ms.
_LAG = 5 * (_FRAMES - 86)


class Salience:
    """Hears melodies; the weights are loaded once.

    Args:
        weights: file of the weights; by default they are looked for and at need fetched (`salience_network.find_weights`).
        device: where the network runs; the constant-Q transforms run on the CPU.

    Raises:
        UserError: there are no weights, or the file does not hold them.
    """

    def __init__(self, weights: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.network: SalienceNetwork = load_network(weights).to(self.device)

    @property
    def fingerprint(self) -> str:
        """Changes with the weights."""
        return f"deepsalience-{weights_fingerprint(self.network)}"

    def __call__(self, wav: Tensor, sample_rate: int, frames: int | None = None, progress: bool = False) -> NDArray[np.int8]:
        """Melody of one clip.

        Args:
            wav: mono [1, S].
            sample_rate: in Hz.
            frames: how many frames T at 50 Hz, by default the clip's length; what is beyond the audio is -1.
            progress: show a bar, one step a window.

        Returns:
            Bins [T]: 0..52 for MIDI 43..95, -1 for none.

        Raises:
            UserError: the samples hold NaN or infinity.
        """
        return self._bins(_samples(wav, sample_rate), frames, progress)

    def of(self, audio: LongAudio, frames: int | None = None, progress: bool = False) -> NDArray[np.int8]:
        """The same of a file of any length, in memory that hardly grows with it (50 bytes a second); arguments as for a call."""
        return self._bins(audio.samples(hcqt.SAMPLE_RATE), frames, progress)

    def _bins(self, samples: Samples, frames: int | None, progress: bool) -> NDArray[np.int8]:
        heard, wanted = _lengths(samples, frames)
        bins = np.full(wanted, UNVOICED, dtype=np.int8)
        for start, part in self._frames(samples, heard, progress):
            bins[start : start + len(part)] = melody_bins(part)
        return bins

    def _frames(self, samples: Samples, heard: int, progress: bool) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Salience [n, 53] at 50 Hz of the first `heard` frames, part after part with its first frame; none of silence.

        It is zero where it was under 0.5 before the interpolation. Music longer than a window is heard in windows that overlap by what a
        frame depends on, after a first pass which finds the loudest moment, the reference of all decibels; memory beyond the samples is
        that of one window.
        """
        if any(window.any() for window, _, _ in samples.windows(WINDOW * hcqt.HOP)):
            yield from _at_frame_rate(self._windows(samples, progress), 1 + len(samples) // hcqt.HOP, heard)

    def _windows(self, samples: Samples, progress: bool) -> Iterator[NDArray[np.float32]]:
        """Semitone salience [53, frames] at 86 Hz, window after window."""
        total = 1 + len(samples) // hcqt.HOP
        starts = range(0, total, WINDOW)
        headroom = EXCERPT_HEADROOM_DB if len(samples) < EXCERPT_SECONDS * hcqt.SAMPLE_RATE else 0.0
        with tqdm(total=len(starts) * (1 + (len(starts) > 1)), desc="melody", unit="window", disable=not progress) as bar:
            peak, window = 0.0, None
            for start in starts:
                window = _hcqt_window(samples, start, min(start + WINDOW, total), 0)
                peak = max(peak, float(window.max()))
                if len(starts) > 1:
                    bar.update()
            for start in starts:
                stop = min(start + WINDOW, total)
                if len(starts) > 1:
                    window = _hcqt_window(samples, start, stop, CONTEXT)
                assert window is not None
                heard = self._semitones(hcqt.to_decibels(window, peak * 10 ** (headroom / 20)))
                before = min(CONTEXT, start)
                yield heard[:, before : before + stop - start]
                bar.update()

    @torch.inference_mode()
    def _semitones(self, levels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Harmonic CQT [6, 360, T] -> salience [53, T] of the semitones."""
        lowest = FIRST_BIN - BELOW  # what lies below does not reach the lowest semitone
        parts = []
        for start in range(0, levels.shape[2], CHUNK):
            before = min(CONTEXT, start)
            stop = min(start + CHUNK, levels.shape[2])
            part = torch.from_numpy(levels[None, :, lowest:, start - before : stop + CONTEXT]).to(self.device)
            bins = self.network(part)[0, BELOW : BELOW + BINS * _PER_SEMITONE, before : before + stop - start]
            parts.append(bins.unflatten(0, (BINS, _PER_SEMITONE)).amax(1).cpu().numpy())
        return np.concatenate(parts, axis=1)


def melody_bins(salience: NDArray[np.float32]) -> NDArray[np.int8]:
    """The strongest semitone of every frame of [T, 53] as bins [T]; -1 where all are zero."""
    return np.where(salience.max(axis=1) > 0, salience.argmax(axis=1), UNVOICED).astype(np.int8)


def _samples(wav: Tensor, sample_rate: int) -> Samples:
    if not bool(torch.isfinite(wav).all()):
        raise UserError("cannot look for a melody in audio that holds NaN or infinity.")
    return InMemory(resample(wav, sample_rate, hcqt.SAMPLE_RATE), hcqt.SAMPLE_RATE)


def _lengths(samples: Samples, frames: int | None) -> tuple[int, int]:
    """Frames at 50 Hz that there is audio for, of those that are wanted, and the latter."""
    there = round(samples.seconds * FRAME_RATE)
    wanted = there if frames is None else frames
    return min(there, wanted), wanted


def _hcqt_window(samples: Samples, start: int, stop: int, context: int) -> NDArray[np.float32]:
    """Magnitudes [6, 360, frames] of the frames `start` to `stop` and `context` more on either side, where there are any."""
    total = 1 + len(samples) // hcqt.HOP
    start, stop = max(0, start - context), min(total, stop + context)
    first = max(0, start - hcqt.MARGIN)
    part = samples[first * hcqt.HOP : (stop + hcqt.MARGIN) * hcqt.HOP]
    return hcqt.harmonic_cqt(part)[:, :, start - first : stop - first]


def _at_frame_rate(windows: Iterator[NDArray[np.float32]], total: int, heard: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Windows [53, n] at 86.13 Hz, `total` frames in all -> the first `heard` frames at 50 Hz, linearly interpolated, with their number."""
    position = np.clip((np.arange(heard) + 0.5) * _FRAMES / FRAME_RATE - 0.5 - _LAG, 0, total - 1)
    left = position.astype(np.int64)
    right = np.minimum(left + 1, total - 1)
    part = (position - left).astype(np.float32)[:, None]
    loud, first, done = np.zeros((0, BINS), dtype=np.float32), 0, 0  # what of the windows is still needed, and its first frame
    for window in windows:
        loud = np.concatenate([loud, np.where(window >= THRESHOLD, window, 0).T])
        stop = int(np.searchsorted(right, first + len(loud)))
        now = slice(done, stop)
        yield done, loud[left[now] - first] * (1 - part[now]) + loud[right[now] - first] * part[now]
        needed = int(left[stop]) if stop < heard else first + len(loud)
        loud, first, done = loud[needed - first :], needed, stop


class MelodyBins(Stage):
    """The melody as bins, 0..52 for MIDI 43..95: of recordings by deep salience, of composed pieces as it was written."""

    name = "melody"
    fields = (Field("melody", torch.int8, UNVOICED),)
    annotations = ("melody",)

    @cached_property
    def _extractor(self) -> Salience:
        return Salience(self.options.salience, self.options.device)

    def fingerprint(self) -> str:
        return self._extractor.fingerprint

    def of_recording(self, audio: LongAudio) -> dict[str, Tensor]:
        bins = self._extractor.of(audio, round(audio.seconds * FRAME_RATE) + 1)
        middles = (np.arange(self.frames(audio)) + 0.5) * FRAME_RATE / self.codec.frame_rate
        return {"melody": torch.from_numpy(bins[np.minimum(middles.astype(np.int64), len(bins) - 1)])}

    def of_piece(self, piece: Piece) -> dict[str, Tensor]:
        return {"melody": torch.from_numpy(melody_frames(piece.note["melody"], piece.frames, self.codec.frame_rate))}
