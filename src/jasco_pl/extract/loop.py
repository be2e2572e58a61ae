"""Loops: how fast one goes, and how it is made to go at another tempo."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from jasco_pl.audio.files import resample
from jasco_pl.extract.classical import SAMPLE_RATE
from jasco_pl.notation.beats import read_meter, read_tempo
from jasco_pl.system import librosa
from jasco_pl.system.errors import UserError

_HOP = 256  # samples of the onset strength, 12 ms
_MOST_BARS = 64
_SLOWEST, _FASTEST = 60.0, 200.0  # beats a minute that are looked for
_USUAL, _OCTAVES, _WEIGHT = 115.0, 0.9, 0.35  # log-normal prior of the tempo, and what it counts beside a correlation
_SAME = 0.02  # relative difference of tempi that are one
_WINDOW = 512  # samples of the phase vocoder: hits stay hits (docs/decisions.md)


class Loop(NamedTuple):
    """A tempo in beats a minute, and how many bars the loop has at it."""

    bpm: float
    bars: int

    def __str__(self) -> str:
        return f"{self.bpm:.4g} bpm ({self.bars} bar{'s' * (self.bars > 1)})"


def find_loop(wav: Tensor, sample_rate: int, meter: str) -> Loop | None:
    """The tempo of a loop [1, S] that lasts a whole number of bars; None where nothing begins in it, or it has no bar at any tempo.

    Of the tempi at which its length is whole bars it is the one at whose beat its onset strength resembles itself most, going round from
    its end to its beginning.
    """
    quarters, per_beat = read_meter(meter)
    seconds, beats = wav.shape[-1] / sample_rate, quarters / per_beat
    samples = resample(wav, sample_rate, SAMPLE_RATE)[0].numpy()
    if len(samples) < 4 * _HOP or not np.any(samples):
        return None
    twice = librosa.onset.onset_strength(y=np.concatenate([samples, samples]), sr=SAMPLE_RATE, hop_length=_HOP)
    frames = round(len(samples) / _HOP)
    strength = twice[frames // 2 :][:frames]
    alike = np.fft.irfft(np.abs(np.fft.rfft(strength - strength.mean())) ** 2, len(strength))
    if alike[0] <= 0:
        return None
    found: list[tuple[float, Loop]] = []
    for bars in range(1, _MOST_BARS + 1):
        bpm = 60 * bars * beats / seconds
        if _SLOWEST <= bpm <= _FASTEST:
            beat = len(strength) / (bars * beats)
            near = np.interp([beat, 2 * beat], np.arange(len(alike)), alike / alike[0], period=len(alike))
            prior = -0.5 * (math.log2(bpm / _USUAL) / _OCTAVES) ** 2
            found.append((float(near[0] + near[1] / 2) + _WEIGHT * prior, Loop(bpm, bars)))
    return max(found)[1] if found else None


def stretched(wav: Tensor, seconds: float, sample_rate: int) -> Tensor:
    """A clip [1, S] that lasts so long, at the pitch that it had (librosa's phase vocoder)."""
    wanted = max(1, round(seconds * sample_rate))
    if wanted == wav.shape[-1]:
        return wav
    out = librosa.effects.time_stretch(wav[0].numpy(), rate=wav.shape[-1] / wanted, n_fft=_WINDOW)
    return torch.nn.functional.pad(torch.from_numpy(out)[None], (0, max(0, wanted - len(out))))[:, :wanted]


def at_tempo(wav: Tensor, sample_rate: int, bpm: float, meter: str, fit: bool) -> tuple[Tensor, list[str]]:
    """A loop beside a tempo that is asked for.

    Args:
        wav: the loop, [1, S].
        sample_rate: in Hz.
        bpm, meter: asked for; half and double the tempo are no other tempo.
        fit: stretch it to whole bars of that tempo, as many as it has, or half or twice as many where that stretches less.

    Returns:
        The loop, and what a person is told of it.

    Raises:
        UserError: `fit` without librosa.
    """
    read_tempo(bpm)
    try:
        found = find_loop(wav, sample_rate, meter)
    except ImportError:  # where only music is made librosa need not be
        if fit:
            raise UserError("to fit a loop to a tempo librosa has to be installed: pip install librosa.") from None
        return wav, []
    if found is None:
        return wav, ["the loop has no tempo that can be heard, so that it was not fitted"] if fit else []
    octave = round(math.log2(bpm / found.bpm))
    if not fit:
        same = abs(bpm / (found.bpm * 2.0**octave) - 1) < _SAME
        said = f"the loop goes at {found}, not at the {bpm:g} bpm that are asked for; --fit-loop stretches it to them"
        return wav, [] if same and abs(octave) <= 1 else [said]
    quarters, per_beat = read_meter(meter)
    bars = max(1, round(found.bars * 2.0**octave))
    seconds, before = bars * quarters / per_beat * 60 / bpm, wav.shape[-1] / sample_rate
    told = f"the loop of {before:.2f} s at {found} was stretched to {seconds:.2f} s, {bars} bar{'s' * (bars > 1)} at {bpm:g} bpm"
    return stretched(wav, seconds, sample_rate), [told] if abs(seconds - before) > 1 / sample_rate else []
