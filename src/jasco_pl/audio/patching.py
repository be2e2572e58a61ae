"""A stretch of a file laid anew: the file as it is, sample by sample, with something else faded into it in one place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jasco_pl.audio.decoding import AudioFile
from jasco_pl.audio.files import write_blocks

_EXACT = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")  # sample formats that a WAV holds as they are
_FLAC = ("PCM_16", "PCM_24")


def patched(file: AudioFile, first: int, stop: int, patch: NDArray[np.float64], lead: int) -> Iterator[NDArray[Any]]:
    """Blocks [n, channels] of a file in which samples [first, stop) of every channel are those of a patch.

    All others come as they were read, but for those over which the patch fades in and out.

    Args:
        file: the file.
        first, stop: in samples of the file.
        patch: what to lay there [m]; it begins `lead` samples before and ends behind, and fades for as long.
        lead: samples.
    """
    start, at = first - lead, 0
    tail = len(patch) - (stop - start)
    weight = np.ones((len(patch), 1))
    weight[:lead, 0] = (np.arange(lead) + 0.5) / max(lead, 1)
    weight[len(patch) - tail :, 0] = (np.arange(tail)[::-1] + 0.5) / max(tail, 1)
    for block in file.blocks(dtype="float64"):
        low, high = max(start, at), min(start + len(patch), at + len(block))
        if low < high:
            block, there, here = block.copy(), slice(low - at, high - at), slice(low - start, high - start)
            block[there] += weight[here] * (patch[here, None] - block[there])
        yield block
        at += len(block)


def subtype_for(file: AudioFile, suffix: str) -> tuple[str | None, str | None]:
    """The sample format in which a file with this ending holds the samples of another as they are, and what is to be said where none does.

    Of what was compressed (mp3, ogg, m4a) the decoded samples are floating-point numbers, which a WAV holds.
    """
    if suffix == ".wav":
        return file.subtype if file.subtype in _EXACT else "FLOAT", None
    if suffix == ".flac":
        told = None if file.subtype in _FLAC else "all of the song is rounded to 24 bits, which is the most that flac holds: a wav keeps it"
        return file.subtype if file.subtype in _FLAC else "PCM_24", told
    return None, f"all of the song is encoded anew, and loses a little, in {suffix[1:]}: a wav or flac keeps what was not changed"


def write_patched(path: str | os.PathLike[str], file: AudioFile, blocks: Iterator[NDArray[Any]]) -> None:
    """Blocks of a file's rate and channels, in the sample format of `subtype_for`, whole or not at all.

    Raises:
        UserError: it cannot be written, or the format has no such rate or number of channels.
    """
    write_blocks(path, blocks, file.rate, file.channels, subtype_for(file, Path(path).suffix.lower())[0])
