"""Make the two files that `jasco demo` starts from: a tune as MIDI, a two-bar drum loop as audio (FluidR3, MIT licence).

python data_prep/demo_assets.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pretty_midi
import tinysoundfont
import torch

from jasco_pl.audio.files import write_audio
from jasco_pl.compose.soundfonts import find_soundfont

ASSETS = Path(__file__).resolve().parents[1] / "src" / "jasco_pl" / "studies" / "demo" / "assets"
BPM, SAMPLE_RATE = 100, 32000
BEAT = 60 / BPM
# Beethoven's "Ode to Joy" (public domain): (MIDI note, beats)
TUNE = [
    (64, 1),
    (64, 1),
    (65, 1),
    (67, 1),
    (67, 1),
    (65, 1),
    (64, 1),
    (62, 1),
    (60, 1),
    (60, 1),
    (62, 1),
    (64, 1),
    (64, 1.5),
    (62, 0.5),
    (62, 2),
]
KICK, SNARE, HAT, OPEN_HAT = 36, 38, 42, 46
LOOP_BEATS = 8
LOOP = (
    [(KICK, beat, 1.0) for beat in (0, 2.5, 4, 5.5, 6.5)]
    + [(SNARE, beat, 0.9) for beat in (1, 3, 5, 7)]
    + [(HAT, beat / 2, 0.6 if beat % 2 else 0.75) for beat in range(15)]
    + [(OPEN_HAT, 7.5, 0.7)]
)


def write_tune(path: Path) -> None:
    """The tune, an octave above middle C, as a single track."""
    midi = pretty_midi.PrettyMIDI(initial_tempo=BPM)
    flute = pretty_midi.Instrument(program=73, name="melody")
    start = 0.0
    for note, beats in TUNE:
        flute.notes.append(pretty_midi.Note(100, note + 12, start * BEAT, (start + 0.95 * beats) * BEAT))
        start += beats
    midi.instruments.append(flute)
    midi.write(str(path))


def write_loop(path: Path) -> None:
    """Two bars of a plain rock beat, tails folded back to the start so that it loops."""
    synth = tinysoundfont.Synth(samplerate=SAMPLE_RATE)
    font = synth.sfload(str(find_soundfont()))
    synth.program_select(0, font, 128, 0, True)
    length, tail = round(LOOP_BEATS * BEAT * SAMPLE_RATE), SAMPLE_RATE
    total = np.zeros(length + tail, dtype=np.float32)
    position = 0
    for time, note, velocity in sorted((beat * BEAT, note, velocity) for note, beat, velocity in LOOP):
        total, position = _advance(synth, total, position, round(time * SAMPLE_RATE))
        synth.noteon(0, note, int(127 * velocity))
    total, _ = _advance(synth, total, position, length + tail)
    loop = total[:length]
    loop[:tail] += total[length:]
    write_audio(path, torch.from_numpy(loop / np.abs(loop).max() * 0.9)[None], SAMPLE_RATE)


def _advance(synth: tinysoundfont.Synth, total: np.ndarray, position: int, until: int) -> tuple[np.ndarray, int]:
    if until > position:
        stereo = np.frombuffer(bytes(synth.generate(until - position)), dtype=np.float32).reshape(-1, 2)
        total[position:until] = stereo.mean(1)
    return total, until


if __name__ == "__main__":
    write_tune(ASSETS / "melody.mid")
    write_loop(ASSETS / "drum_loop.flac")
