"""A recording taken apart into its drums and the rest."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.files import SAMPLE_RATE, resampled
from jasco_pl.audio.long_audio import LongAudio, Samples, bandpass, bandpass_long
from jasco_pl.extract.latents import clip_codes, encode, fingerprint
from jasco_pl.extract.stage import Field, Piece, Stage
from jasco_pl.system import librosa
from jasco_pl.system.errors import UserError
from jasco_pl.system.resources import weights_fingerprint

if TYPE_CHECKING:
    from demucs.apply import BagOfModels

DEFAULT = "htdemucs"
HPSS = "hpss"
_HOP = 512
_FFT = 2048
_MEDIAN = 31  # frames for what is harmonic, bins for what is percussive
# Samples on either side that a sample depends on: a Fourier frame, the frames in the median around it, and a frame around those.
_CONTEXT = _HOP * (_FFT // _HOP // 2 + _MEDIAN // 2 + _FFT // _HOP // 2)
_HPSS_WINDOW = _HOP * 1024  # samples


class Separator:
    """Takes the drums out of recordings; the model is loaded once.

    `htdemucs` (default) and `hdemucs_mmi`, the paper's, are networks trained to separate drums, bass, vocals and the rest. `hpss` is no
    such thing: it is librosa's harmonic-percussive separation (Fitzgerald 2010), which needs no weights and knows no instruments. It takes
    whatever is short in time and wide in frequency, attacks of a piano and consonants too, and leaves what rings of a tom or a bass drum
    behind. It is used only where it is asked for by name.

    Args:
        name: of a model of Demucs', or `hpss`.
        repo: folder of Demucs' weights, see `demucs.load_demucs`.
        device: where Demucs runs.

    Raises:
        UserError: there is no such model, its weights are not to be had, or it has no drums.
    """

    def __init__(self, name: str = DEFAULT, repo: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu") -> None:
        self.name, self.device = name, torch.device(device)
        self.model: BagOfModels | None = None
        if name != HPSS:
            from jasco_pl.extract.demucs import load_demucs  # here: importing Demucs takes a while

            self.model = load_demucs(name, repo).to(self.device)
            if "drums" not in self.model.sources:
                raise UserError(f"Demucs' {name} separates {', '.join(self.model.sources)}, and no drums.")

    @cached_property
    def fingerprint(self) -> str:
        """Changes with what the stems depend on: the model and its weights."""
        return self.name if self.model is None else f"{self.name}-{weights_fingerprint(self.model)}"

    def separate(self, audio: LongAudio, rate: int = SAMPLE_RATE, progress: bool = False) -> tuple[Samples, Samples]:
        """Drums and drumless of a file of any length, in flat memory.

        Drumless is the sum of Demucs' other stems, or what `hpss` leaves of the mix.

        Args:
            audio: the file; a stereo one is separated in stereo, and both sides' mean is given.
            rate: of the result in Hz.
            progress: show a bar.

        Returns:
            Both as long as `audio.samples(rate)`; they last until `audio` is closed.
        """
        pairs = self._percussive(audio.samples(rate), progress) if self.model is None else self._demucs(self.model, audio, rate, progress)
        drums, drumless = audio.spool(rate), audio.spool(rate)
        try:
            for pair in pairs:
                drums.append(pair[:, 0])
                drumless.append(pair[:, 1])
        except BaseException:
            drums.close()
            drumless.close()
            raise
        return drums.samples(), drumless.samples()

    def _percussive(self, mix: Samples, progress: bool) -> Iterator[NDArray[np.float32]]:
        done = 0
        with tqdm(total=round(mix.seconds), desc="drums", unit="s", disable=not progress) as bar:
            for window, before, own in mix.windows(_HPSS_WINDOW, _CONTEXT):
                drums = percussive(window)[before : before + own]
                yield np.stack([drums, window[before : before + own] - drums], axis=1)
                done += own
                bar.update(done // mix.rate - bar.n)

    def _demucs(self, model: BagOfModels, audio: LongAudio, rate: int, progress: bool) -> Iterator[NDArray[np.float32]]:
        mean, std = _statistics(audio, model.samplerate)
        wanted, given = audio.length(rate), 0
        for block in resampled(self._pairs(model, audio, mean, std, progress), model.samplerate, rate):
            yield block[: wanted - given]  # rounded by way of the model's rate, it can be a sample longer or shorter
            given += len(block)
        if given < wanted:
            yield np.zeros((wanted - given, 2), dtype=np.float32)

    def _pairs(self, model: BagOfModels, audio: LongAudio, mean: float, std: float, progress: bool) -> Iterator[NDArray[np.float32]]:
        """(drums, drumless) [n, 2] at the model's rate."""
        from jasco_pl.extract import demucs

        place, done = model.sources.index("drums"), 0
        with tqdm(total=round(audio.seconds), desc="drums", unit="s", disable=not progress) as bar:
            for stems in demucs.stems(model, audio.stereo(model.samplerate), mean, std, self.device):
                mono = stems.mean(dim=1)
                drums = mono[place] * std
                yield torch.stack([drums, mono.sum(dim=0) * std - drums + mean], dim=1).numpy()
                done += stems.shape[-1]
                bar.update(done // model.samplerate - bar.n)


def _statistics(audio: LongAudio, rate: int) -> tuple[float, float]:
    """Mean and standard deviation of the channels' mean, by which Demucs makes all music equally loud to itself."""
    count, total, squares = 0, 0.0, 0.0
    for block in audio.stereo(rate):
        mono = block.mean(axis=1, dtype=np.float64)
        count, total, squares = count + len(mono), total + float(mono.sum()), squares + float(np.square(mono).sum())
    mean = total / count
    return mean, max(0.0, (squares - count * mean**2) / max(1, count - 1)) ** 0.5 + 1e-8


def percussive(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The part of mono samples [S] that is short in time and wide in frequency, [S].

    By median filters (Fitzgerald 2010), as `librosa.effects.percussive` with a tenth of the filters' time.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_fft=")  # clips shorter than a Fourier frame, padded with silence
        spectrum = librosa.stft(samples, n_fft=_FFT, hop_length=_HOP)
        magnitude = np.abs(spectrum)
        mask = librosa.util.softmask(_medians(magnitude.T).T, _medians(magnitude), power=2.0, split_zeros=True)
        return np.asarray(librosa.istft(spectrum * mask, hop_length=_HOP, length=len(samples)), dtype=np.float32)


def _medians(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Running medians along the rows [R, C], mirrored at the ends: one long row, because SciPy's filter is quick in one dimension only."""
    half = _MEDIAN // 2
    padded = np.pad(rows, ((0, 0), (half, half)), mode="symmetric")
    return median_filter(padded.ravel(), size=_MEDIAN).reshape(padded.shape)[:, half:-half]


class DrumCodes(Stage):
    """First-codebook codes of the drums, of the drums between 200 and 800 Hz, and of the mix without drums."""

    name = "drums"
    fields = tuple(Field(name, torch.int16, -1) for name in ("codes_drums", "codes_drums_bandpass", "codes_drumless"))

    @cached_property
    def _extractor(self) -> Separator:
        return Separator(self.options.separator, self.options.demucs_repo, self.options.device)

    def fingerprint(self) -> str:
        return f"{self._extractor.fingerprint}-{fingerprint(self.codec):08x}"

    def of_recording(self, audio: LongAudio) -> dict[str, Tensor]:
        drums, drumless = self._extractor.separate(audio, self.codec.sample_rate)
        stems = {"codes_drums": drums, "codes_drums_bandpass": bandpass_long(drums), "codes_drumless": drumless}
        return {name: encode(self.codec, samples)[1] for name, samples in stems.items()}

    def of_piece(self, piece: Piece) -> dict[str, Tensor]:
        drums, drumless = piece.stems["drums"], piece.stems["drumless"]
        stems = {"codes_drums": drums, "codes_drums_bandpass": bandpass(drums, self.codec.sample_rate), "codes_drumless": drumless}
        return {name: clip_codes(self.codec, wav)[1] for name, wav in stems.items()}
