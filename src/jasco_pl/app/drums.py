"""A drum machine: patterns rendered with drums that are synthesised here, so that they sound the same everywhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from jasco_pl.app.schema import Pattern

Sound = NDArray[np.float64]
ACCENT, PLAIN = 1.0, 0.7  # shares of full level
_PEAK = 0.9


def render(pattern: Pattern, bpm: float, rate: int) -> NDArray[np.float32]:
    """One turn of a pattern, [S]; what rings longer goes on at its beginning, so that it repeats without a seam.

    Args:
        pattern: its longest voice says how long it lasts, shorter ones repeat.
        bpm: beats a minute, of whatever kind the meter has.
        rate: samples a second.
    """
    step = 60 / bpm / pattern.steps_per_beat
    steps = max(len(hits) for hits in pattern.voices.values())
    out = np.zeros(max(1, round(steps * step * rate)))
    for voice, hits in pattern.voices.items():
        sound = _VOICES[voice](rate)
        for place in range(steps):
            sign = hits[place % len(hits)]
            if sign not in "xX":
                continue
            late = pattern.swing * step if place % 2 else 0.0
            at = round((place * step + late) * rate) + np.arange(len(sound))
            np.add.at(out, at % len(out), (ACCENT if sign == "X" else PLAIN) * sound)
    peak = np.abs(out).max()
    return (out * min(1.0, _PEAK / peak) if peak else out).astype(np.float32)


def _time(rate: int, seconds: float) -> Sound:
    return np.arange(round(seconds * rate)) / rate


def _noise(rate: int, seconds: float, above: float) -> Sound:
    """The same noise every time, without what lies below a frequency."""
    draw = np.random.default_rng(0).standard_normal(round(seconds * rate))
    spectrum = np.fft.rfft(draw)
    spectrum[np.fft.rfftfreq(len(draw), 1 / rate) < above] = 0
    found: Sound = np.fft.irfft(spectrum, len(draw))
    return found / np.abs(found).max()


def _kick(rate: int) -> Sound:
    time = _time(rate, 0.35)
    pitch = 45 + 110 * np.exp(-time / 0.03)
    return np.sin(2 * np.pi * np.cumsum(pitch) / rate) * np.exp(-time / 0.11) + 0.3 * np.exp(-time / 0.002)


def _snare(rate: int) -> Sound:
    time = _time(rate, 0.25)
    body = 0.5 * np.sin(2 * np.pi * 185 * time) * np.exp(-time / 0.05)
    return body + 0.7 * _noise(rate, 0.25, 1200) * np.exp(-time / 0.07)


def _hat(rate: int, decay: float = 0.025, length: float = 0.12) -> Sound:
    return 0.5 * _noise(rate, length, 6500) * np.exp(-_time(rate, length) / decay)


def _open_hat(rate: int) -> Sound:
    return _hat(rate, 0.14, 0.5)


def _clap(rate: int) -> Sound:
    time = _time(rate, 0.25)
    hands = sum(np.exp(-np.maximum(time - start, 0) / 0.006) * (time >= start) for start in (0.0, 0.011, 0.022))
    return 0.45 * _noise(rate, 0.25, 900) * (hands + np.exp(-time / 0.06) * (time >= 0.022))


def _tom(rate: int) -> Sound:
    time = _time(rate, 0.4)
    return 0.8 * np.sin(2 * np.pi * np.cumsum(95 + 60 * np.exp(-time / 0.05)) / rate) * np.exp(-time / 0.14)


_VOICES: dict[str, Callable[[int], Sound]] = {
    "kick": _kick,
    "snare": _snare,
    "hat": _hat,
    "open hat": _open_hat,
    "clap": _clap,
    "tom": _tom,
}
