from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jasco_pl.extract.chordino import available

# Each extractor's work on a file, then the highest memory that the process had, in MiB.
WORK = {
    "chords": "chordino.chordino_long(audio.samples(chordino.SAMPLE_RATE))",
    "latents": "encode(BandCodec(BandCodecConfig()), audio.samples(32000))",
    "drums": "Separator('hpss').separate(audio)",
}
CODE = """
import resource, sys
from jasco_pl.codec import BandCodec, BandCodecConfig
from jasco_pl.extract import chordino
from jasco_pl.extract.latents import encode
from jasco_pl.extract.separation import Separator
from jasco_pl.audio.long_audio import LongAudio
with LongAudio(sys.argv[1], sys.argv[2]) as audio:
    {work}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def write(path: Path, minutes: int) -> Path:
    """Chords of noise bursts and tones, another every two seconds."""
    draw = np.random.default_rng(0)
    time = np.arange(2 * 22050) / 22050
    with soundfile.SoundFile(path, "w", 22050, 1) as file:
        for _ in range(30 * minutes):
            root = 110 * 2 ** (draw.integers(0, 12) / 12)
            chord = sum(np.sin(2 * np.pi * root * ratio * time) for ratio in (1, 1.25, 1.5, 2, 3))
            file.write((0.05 * chord + 0.1 * draw.normal(size=len(time)) * np.exp(-30 * (time % 0.5))).astype(np.float32))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "work", ["latents", "drums", pytest.param("chords", marks=pytest.mark.skipif(not available(), reason="no plugin"))]
)
def test_memory_does_not_grow_with_the_file(tmp_path: Path, work: str) -> None:
    peaks = []
    for minutes in (6, 30):
        path = write(tmp_path / "long.wav", minutes)
        command = [sys.executable, "-c", CODE.format(work=WORK[work]), str(path), str(tmp_path / "scratch")]
        peaks.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]))
    # The samples of those 24 minutes alone would be 121 MiB at 22 kHz (chords) and 176 MiB at 32 kHz (latents, each stem of drums); the
    # latents, which are kept, are 35 MiB.
    assert peaks[1] - peaks[0] < {"chords": 60, "latents": 140, "drums": 60}[work], peaks
    assert peaks[1] < 1500, peaks
