"""Notes -> audio with tinysoundfont: levelled parts, one room and tone for all stems, stems that add up to the mix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.signal
import tinysoundfont

from jasco_pl.compose.motion import TOUCH
from jasco_pl.compose.song import Part, Song
from jasco_pl.system.errors import UserError

SAMPLE_RATE = 32_000
# Below the 0.97 that is promised, so that rounding and the sum of two rounded stems stay under it.
_PEAK = 0.96
_DRUM_CHANNEL = 9
# Pitch at which an instrument's loudness is measured, by role: parts lie about there.
_REFERENCE_PITCH = {"bass": 38, "melody": 70, "comp": 60, "second": 65, "pad": 62}


class Renderer:
    """A loaded SoundFont. Its output depends on the song alone, not on what was rendered before."""

    def __init__(self, soundfont: Path) -> None:
        self.synth = tinysoundfont.Synth(gain=-6.0, samplerate=SAMPLE_RATE)
        try:
            self.font = self.synth.sfload(str(soundfont), max_voices=256)
        except Exception as error:
            raise UserError(
                f"cannot load the SoundFont {str(soundfont)!r} ({error}); an .sf2 or .sf3 file with GM programs is wanted."
            ) from error
        self._loudness: dict[tuple[int, int], float] = {}

    def render(self, song: Song) -> tuple[np.ndarray, np.ndarray]:
        """The dry drum stem and the dry rest, float32 [S] each."""
        drums = [part for part in song.parts if part.role == "drums"]
        rest = [part for part in song.parts if part.role != "drums"]
        return self._render(drums, song.duration), self._render(rest, song.duration)

    def _silence(self) -> None:
        """End every voice. `sounds_off` lets voices fade out quickly, so that fade is rendered and thrown away."""
        self.synth.sounds_off()
        for _ in range(50):
            if not self._generate(2048).any():
                return

    def _generate(self, samples: int) -> np.ndarray:
        stereo = np.frombuffer(self.synth.generate(samples), dtype=np.float32).reshape(-1, 2)
        return (stereo[:, 0] + stereo[:, 1]) / 2  # the same as a mean over an axis of two, and far faster

    def _measure(self, program: int, pitch: int) -> float:
        """RMS of one second of a note of the program: fonts differ by 20 dB between instruments."""
        if (program, pitch) not in self._loudness:
            self._silence()
            self.synth.program_select(0, self.font, 0, program)
            self.synth.control_change(0, 121, 0)
            self.synth.control_change(0, 7, 127)
            self.synth.noteon(0, pitch, 90)
            audio = self._generate(SAMPLE_RATE * 3 // 4)
            self._silence()
            self._loudness[program, pitch] = max(float(np.sqrt(np.mean(audio**2))), 1e-4)
        return self._loudness[program, pitch]

    def _render(self, parts: list[Part], duration: float) -> np.ndarray:
        total = round(duration * SAMPLE_RATE)
        if not parts:
            return np.zeros(total, np.float32)
        gains = []
        for part in parts:
            reference = 0.02 if part.role == "drums" else 0.02 / self._measure(part.program, _REFERENCE_PITCH[part.role])
            gains.append((1.0 if part.role == "drums" else reference) * 10 ** (part.level / 20))
        top = max(gains)
        self._silence()
        timeline: list[tuple[int, int, int, int, int]] = []
        for number, (part, gain) in enumerate(zip(parts, gains, strict=True)):
            channel = _DRUM_CHANNEL if part.role == "drums" else number
            self.synth.program_select(channel, self.font, 0, part.program, part.role == "drums")
            self.synth.control_change(channel, 121, 0)
            # MIDI volume acts as its third power in this synthesiser; 14 bits are sent so that levels are exact.
            volume = min(16383, round(16383 * (gain / top) ** (1 / 3)))
            self.synth.control_change(channel, 7, volume >> 7)
            self.synth.control_change(channel, 39, volume & 127)
            for event in part.events:
                timeline.append((round(event.start * SAMPLE_RATE), 1, channel, event.pitch, event.velocity))
                timeline.append((round(event.end * SAMPLE_RATE), 0, channel, event.pitch, 0))
        timeline.sort()
        pieces = []
        now = 0
        for when, on, channel, pitch, velocity in timeline:
            when = min(when, total)
            if when > now:
                pieces.append(self._generate(when - now))
                now = when
            if on:
                self.synth.noteon(channel, pitch, velocity)
            else:
                self.synth.noteoff(channel, pitch)
        if now < total:
            pieces.append(self._generate(total - now))
        self._silence()
        return (np.concatenate(pieces) * top).astype(np.float32)


def room(rng: np.random.Generator) -> np.ndarray:
    """An impulse response [S]: the direct sound, exponentially decaying noise (or none), then a gentle tilt of the spectrum."""
    wet = float(rng.choice([0.0, 0.0, rng.uniform(0.02, 0.12), rng.uniform(0.1, 0.3), rng.uniform(0.25, 0.5)]))
    seconds = float(rng.uniform(0.2, 1.8))
    length = round(SAMPLE_RATE * (seconds if wet else 0.05))
    response = np.zeros(length)
    if wet:
        delay = int(rng.uniform(0.004, 0.03) * SAMPLE_RATE)
        tail = rng.standard_normal(length - delay) * np.exp(-6.9 * np.arange(length - delay) / length)
        tail = scipy.signal.sosfilt(
            scipy.signal.butter(1, [180.0, float(rng.uniform(2500, 7000))], "bandpass", fs=SAMPLE_RATE, output="sos"), tail
        )
        response[delay:] = wet * tail / np.sqrt(np.sum(tail**2))
    response[0] = 1.0
    for frequency, gain, high in (
        (float(rng.uniform(120, 300)), float(rng.uniform(-4, 3)), False),
        (float(rng.uniform(2000, 6000)), float(rng.uniform(-5, 6)), True),
    ):
        response = scipy.signal.lfilter(*_shelf(frequency, gain, high), response)
    response = scipy.signal.sosfilt(scipy.signal.butter(2, 28.0, "highpass", fs=SAMPLE_RATE, output="sos"), response)
    return response.astype(np.float32)


def _shelf(frequency: float, gain_db: float, high: bool) -> tuple[np.ndarray, np.ndarray]:
    """First-order shelf by the bilinear transform: unit gain on one side of `frequency`, `gain_db` on the other."""
    k = np.tan(np.pi * frequency / SAMPLE_RATE)
    g = 10 ** (gain_db / 20)
    if high:
        b = np.array([np.sqrt(g) * k / np.sqrt(g) + g, k - g])
        return b / (1 + k), np.array([1.0, (k - 1) / (1 + k)])
    b = np.array([1 + g * k, g * k - 1])
    return b / (1 + k), np.array([1.0, (k - 1) / (1 + k)])


def produce(renderer: Renderer, song: Song, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Render, place in a room, level and quantise.

    Returns: mix, drums, drumless as int16 [S]; mix = drums + drumless exactly, peak at most 0.97.
    """
    dry = renderer.render(song)
    response = room(rng)
    loudness = 10 ** (float(rng.uniform(-24.0, -13.0)) / 20)
    balance = 10 ** (next((part.level for part in song.parts if part.role == "drums"), 0.0) / 20)
    faders = _faders(song, len(dry[0]))
    stems = []
    for stem in dry:
        stem = stem if faders is None else stem * faders
        stems.append(scipy.signal.oaconvolve(stem, response)[: len(stem)] if stem.any() else stem)
    # Drums that come and go are balanced where they play.
    among = slice(None) if faders is None else _sounding(stems[0])
    levels = [float(np.sqrt(np.mean(stem[among] ** 2))) if stem[among].size else 0.0 for stem in stems]
    if levels[0] and levels[1]:
        stems[0] = stems[0] * (balance * levels[1] / levels[0])
    mix = stems[0] + stems[1]
    loudest = max(float(np.abs(stem).max()) for stem in (mix, *stems))
    gain = min(loudness / float(np.sqrt(np.mean(mix**2))), _PEAK / loudest)
    fade = np.ones(len(mix))
    edge = round(0.4 * SAMPLE_RATE)
    fade[-edge:] = np.linspace(1.0, 0.0, edge) ** 2
    drums16, rest16 = (np.round(stem * gain * fade * 32767).astype(np.int16) for stem in stems)
    return drums16 + rest16, drums16, rest16


def _faders(song: Song, samples: int) -> np.ndarray | None:
    """What of the level over time is not in the velocities already, as a factor [S]; None where it stays the same."""
    if not song.dynamics:
        return None
    times, levels = zip(*song.dynamics, strict=True)
    # By the hundredth of a second, and linear in amplitude between.
    grid = np.arange(0, samples + 320, 320)
    gains = 10 ** ((1 - TOUCH) * np.interp(grid / SAMPLE_RATE, times, levels) / 20)
    return np.interp(np.arange(samples), grid, gains).astype(np.float32)


def _sounding(stem: np.ndarray) -> np.ndarray:
    """Whether a stem is within 40 dB of its loudest tenth of a second, by sample [S]; nowhere where it is silent."""
    hop = SAMPLE_RATE // 10
    power = np.array([float(np.mean(stem[i : i + hop] ** 2)) for i in range(0, len(stem), hop)])
    return np.repeat(power > 1e-4 * power.max(), hop)[: len(stem)]
