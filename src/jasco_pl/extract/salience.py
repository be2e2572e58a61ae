"""The melody of finished music: deep salience (Bittner et al. 2017) and the paper's recipe of 53 semitones at 50 Hz.

The recipe (paper, section 3.1, and audiocraft's data preparation): multi-f0 salience, the largest of a semitone's five bins, MIDI 43 to 95,
nothing below 0.5, linear interpolation from 86 to 50 frames a second, the strongest semitone of every frame. `docs/decisions.md` says
how closely it agrees with a melody that Meta prepared, and what the rest is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio import resample
from jasco_pl.controls.harmony import FRAME_RATE
from jasco_pl.controls.melody import BINS, LOWEST_MIDI, UNVOICED
from jasco_pl.errors import UserError
from jasco_pl.extract import hcqt
from jasco_pl.extract.salience_network import BELOW, CONTEXT, SalienceNetwork
from jasco_pl.extract.salience_weights import load_network

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
        weights: file of the weights; by default they are looked for and at need fetched (`salience_weights.find_weights`).
        device: where the network runs; the constant-Q transforms run on the CPU.

    Raises:
        UserError: there are no weights, or the file does not hold them.
    """

    def __init__(self, weights: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.network: SalienceNetwork = load_network(weights).to(self.device)

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
        return melody_bins(self.salience(wav, sample_rate, frames, progress))

    def salience(self, wav: Tensor, sample_rate: int, frames: int | None = None, progress: bool = False) -> NDArray[np.float32]:
        """Salience of the 53 semitones [T, 53] at 50 Hz, zero where it was under 0.5 before the interpolation; arguments as for a call.

        Music longer than a window is heard in windows that overlap by what a frame depends on, after a first pass which finds the loudest
        moment, the reference of all decibels; memory beyond the samples is that of one window.
        """
        if not bool(torch.isfinite(wav).all()):
            raise UserError("cannot look for a melody in audio that holds NaN or infinity.")
        seconds = wav.shape[-1] / sample_rate
        wanted = round(seconds * FRAME_RATE) if frames is None else frames
        samples = resample(wav, sample_rate, hcqt.SAMPLE_RATE)[0].numpy()
        if not samples.any():
            return np.zeros((wanted, BINS), dtype=np.float32)
        semitones = np.concatenate(list(self._windows(samples, progress)), axis=1)
        return _at_frame_rate(semitones, min(wanted, round(seconds * FRAME_RATE)), wanted)

    def _windows(self, samples: NDArray[np.float32], progress: bool) -> Iterator[NDArray[np.float32]]:
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


def _hcqt_window(samples: NDArray[np.float32], start: int, stop: int, context: int) -> NDArray[np.float32]:
    """Magnitudes [6, 360, frames] of the frames `start` to `stop` and `context` more on either side, where there are any."""
    total = 1 + len(samples) // hcqt.HOP
    start, stop = max(0, start - context), min(total, stop + context)
    first = max(0, start - hcqt.MARGIN)
    part = samples[first * hcqt.HOP : (stop + hcqt.MARGIN) * hcqt.HOP]
    return hcqt.harmonic_cqt(part)[:, :, start - first : stop - first]


def _at_frame_rate(semitones: NDArray[np.float32], heard: int, frames: int) -> NDArray[np.float32]:
    """[53, frames at 86.13 Hz] -> [T, 53] at 50 Hz, linearly interpolated, the first `heard` frames; the others are zero."""
    ratio = _FRAMES / FRAME_RATE
    position = np.clip((np.arange(heard) + 0.5) * ratio - 0.5 - _LAG, 0, semitones.shape[1] - 1)
    left = position.astype(np.int64)
    right = np.minimum(left + 1, semitones.shape[1] - 1)
    part = (position - left).astype(np.float32)
    loud = np.where(semitones >= THRESHOLD, semitones, 0).T
    out = np.zeros((frames, BINS), dtype=np.float32)
    out[:heard] = loud[left] * (1 - part)[:, None] + loud[right] * part[:, None]
    return out
