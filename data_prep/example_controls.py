"""Make the controls of docs/examples as a person might: two nursery tunes as MIDI, a beat-box loop as a voice and a phone would give it.

python data_prep/example_controls.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pretty_midi
import torch
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, iirpeak, lfilter, sosfilt

from jasco_pl.audio.files import write_audio

CONTROLS = Path(__file__).resolve().parents[1] / "docs" / "examples" / "controls"
BPM, SAMPLE_RATE = 100, 44100
BEAT = 60 / BPM
# Both tunes are traditional (public domain): MIDI notes, one a beat; None holds the note before.
TWINKLE = [60, 60, 67, 67, 69, 69, 67, None, 65, 65, 64, 64, 62, 62, 60, None]
FRERE_JACQUES = [60, 62, 64, 60, 60, 62, 64, 60, 64, 65, 67, None, 64, 65, 67, None]
# One mouth makes one sound at a time: b(oots), t(s), k(a); in beats.
LOOP_BEATS = 8
LOOP = "0b 0.5t 1k 1.5t 2t 2.5b 3k 3.5t 4b 4.5t 5k 5.5b 6t 6.5b 7k 7.5t 7.75t"


def write_tune(path: Path, notes: list[int | None], semitones: int = 0) -> None:
    """A tune as a single track, an octave over middle C and `semitones` higher."""
    midi = pretty_midi.PrettyMIDI(initial_tempo=BPM)
    piano = pretty_midi.Instrument(program=0, name="tune")
    for beat, note in enumerate(notes):
        if note is None:
            piano.notes[-1].end += BEAT
        else:
            piano.notes.append(pretty_midi.Note(90, note + 12 + semitones, beat * BEAT, (beat + 0.95) * BEAT))
    midi.instruments.append(piano)
    path.parent.mkdir(parents=True, exist_ok=True)
    midi.write(str(path))


def loop_times() -> list[tuple[float, str]]:
    """When each sound of the loop begins, in seconds, and which: some milliseconds beside the beat."""
    draw = np.random.default_rng(5)
    hits = [(float(word[:-1]) * BEAT, word[-1]) for word in LOOP.split()]
    return [(max(0.0, time + draw.normal(0, 0.008)), sound) for time, sound in hits]


def write_loop(path: Path) -> None:
    """Two bars that loop: uneven in time and level, in a small room, over a little noise."""
    draw = np.random.default_rng(6)
    length = round(LOOP_BEATS * BEAT * SAMPLE_RATE)
    dry = np.zeros(length)
    for time, sound in loop_times():
        hit = {"b": _boots, "t": _ts, "k": _ka}[sound](draw) * 10 ** (draw.normal(0, 1.5) / 20)
        np.add.at(dry, (round(time * SAMPLE_RATE) + np.arange(len(hit))) % length, hit)
    seconds = np.arange(round(0.25 * SAMPLE_RATE)) / SAMPLE_RATE
    room = draw.normal(size=len(seconds)) * np.exp(-seconds / 0.05) * (seconds > 0.006)
    wet = fftconvolve(np.tile(dry, 2), 0.12 * room / np.sqrt((room**2).sum()))[length : 2 * length]
    loop = dry + wet + 0.001 * draw.normal(size=length)
    write_audio(path, torch.from_numpy(loop / np.abs(loop).max() * 0.8).float()[None], SAMPLE_RATE)


def _boots(draw: np.random.Generator) -> NDArray[np.float64]:
    """Lips burst open over a voice that falls from 170 to 60 Hz behind the formants of a closed "oo"."""
    seconds = np.arange(round(0.2 * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = 60 + 110 * np.exp(-seconds / 0.03)
    phase = np.cumsum(pitch) / SAMPLE_RATE
    voice = (1 - 2 * (phase % 1)) * np.exp(-seconds / 0.06) * np.minimum(1, seconds / 0.004)
    burst = draw.normal(size=len(seconds)) * np.exp(-seconds / 0.006)
    low = sosfilt(butter(2, 900, output="sos", fs=SAMPLE_RATE), 0.5 * burst)
    sung = sosfilt(butter(2, 500, output="sos", fs=SAMPLE_RATE), voice) + _formant(voice, 280, 3) + 0.3 * _formant(voice, 700, 5)
    return sung + low


def _ts(draw: np.random.Generator) -> NDArray[np.float64]:
    """Breath through the teeth: noise over 5 kHz."""
    seconds = np.arange(round(0.09 * SAMPLE_RATE)) / SAMPLE_RATE
    breath = draw.normal(size=len(seconds)) * np.minimum(1, seconds / 0.003) * np.exp(-seconds / 0.022)
    hiss = sosfilt(butter(3, 5000, "highpass", output="sos", fs=SAMPLE_RATE), breath)
    return 0.35 * (0.6 * hiss + _formant(hiss, 8000, 4))


def _ka(draw: np.random.Generator) -> NDArray[np.float64]:
    """The tongue lets go of the palate: noise around the formants of "a", a trace of voice."""
    seconds = np.arange(round(0.16 * SAMPLE_RATE)) / SAMPLE_RATE
    breath = draw.normal(size=len(seconds)) * np.minimum(1, seconds / 0.002) * np.exp(-seconds / 0.04)
    voice = np.sin(2 * np.pi * 190 * seconds) * np.exp(-seconds / 0.03)
    return 0.9 * _formant(breath, 1300, 2) + 0.7 * _formant(breath, 2600, 3) + 0.12 * breath + 0.3 * voice


def _formant(source: NDArray[np.float64], hertz: float, quality: float) -> NDArray[np.float64]:
    filtered: NDArray[np.float64] = lfilter(*iirpeak(hertz, quality, fs=SAMPLE_RATE), source)
    return filtered


if __name__ == "__main__":
    write_tune(CONTROLS / "twinkle.mid", TWINKLE)
    write_tune(CONTROLS / "frere-jacques-in-e-flat.mid", FRERE_JACQUES, semitones=3)
    write_loop(CONTROLS / "beatbox.ogg")
