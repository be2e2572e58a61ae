"""Quiet and loud recordings at one loudness, so that what hears them hears what it has learnt."""

from __future__ import annotations

from torch import Tensor

from jasco_pl.audio.files import measure_loudness

_SHORTEST = 0.4  # seconds, a block of ITU-R BS.1770


def sounding_loudness(wav: Tensor, sample_rate: int) -> float | None:
    """Integrated loudness of what sounds in a clip [1, S], in LUFS; None where nothing does.

    The gates of ITU-R BS.1770 leave out pauses, and whatever lies under -70 LUFS: digital silence, hum, the noise of a preamplifier. A clip
    that is shorter than one of its blocks is repeated until it fills one.
    """
    shortest = -(-round(_SHORTEST * sample_rate) // max(1, wav.shape[-1]))
    return measure_loudness(wav.repeat(1, shortest + 1) if shortest > 1 else wav, sample_rate)


def to_loudness(wav: Tensor, sample_rate: int, target: float) -> tuple[Tensor, float | None]:
    """A clip [1, S] by one gain at a loudness in LUFS, and the gain in dB. It may pass full scale: it is to be heard, not written.

    Where nothing sounds it comes back as it is, with None.
    """
    loudness = sounding_loudness(wav, sample_rate)
    if loudness is None:
        return wav, None
    return wav * 10 ** ((target - loudness) / 20), target - loudness
