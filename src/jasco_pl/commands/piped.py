"""`jasco generate -o -`: a clip as WAV on standard output, written while it is made, for a player that listens at the other end."""

from __future__ import annotations

import argparse
import struct
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from jasco_pl.system.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from jasco_pl.generation.streaming import AudioStream

STDOUT = "-"
"""What `--out` says for it."""


def check(args: argparse.Namespace) -> None:
    """Raise UserError where arguments ask for what no pipe can take, or nobody listens."""
    if args.count > 1:
        raise UserError(f"-o - writes one clip to standard output, and -n asks for {args.count}: name a folder.")
    if args.midi:
        raise UserError("-o - writes sound alone: --midi needs a folder or a file's name.")
    if args.paint is not None:
        raise UserError(
            "-o - writes a clip while it is made, and what is painted is brought to its recording's level as a whole: name a folder."
        )
    if args.loop:
        raise UserError("-o - writes a clip while it is made, and a loop is made as a whole: name a folder.")
    if sys.stdout.isatty():
        raise UserError(
            "-o - writes sound to standard output, which is a terminal: pipe it into a player, as in `| ffplay -nodisp -autoexit -`."
        )


def header(samples: int, sample_rate: int) -> bytes:
    """Of a WAV of so many 16-bit samples of one channel; their number is known before the first of them."""
    size = 2 * samples
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + form + struct.pack("<4sI", b"data", size)


def pcm(part: Tensor) -> bytes:
    """Audio [1, S] as little-endian 16-bit samples."""
    return (part.clamp(-1, 1) * 32767).round()[0].numpy().astype("<i2").tobytes()


def rise_of(stream: AudioStream) -> float:
    """How much louder, in dB, a clip's dynamics ask the whole to be than its first part; 0 without any."""
    from jasco_pl.extract.dynamics import NOTHING

    levels = stream.clip.asked.get("dynamics")
    if levels is None:
        return 0.0
    powers = np.where(levels < NOTHING / 2, 10 ** (levels.astype(np.float64) / 10), np.nan)
    first = powers[stream.first]
    known = np.isfinite(first).any() and np.isfinite(powers).any()
    return float(10 * np.log10(np.nanmean(powers) / np.nanmean(first))) if known else 0.0


def play(stream: AudioStream, told: Callable[[str], None]) -> None:
    """Write a clip to standard output as it is made.

    Args:
        stream: of the clip.
        told: takes the notes on its request.

    Raises:
        BrokenPipeError: the other end has heard enough.
    """
    from jasco_pl.audio.streamed_level import levelled

    for note in stream.clip.notes:
        told(note)
    out = sys.stdout.buffer
    out.write(header(stream.samples, stream.sample_rate))
    for part in levelled(stream, stream.sample_rate, ahead=rise_of(stream)):
        out.write(pcm(part))
        out.flush()
