"""What a request says of the clip as a whole, and how long that makes it; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from jasco_pl.audio.decoding import AudioFile
from jasco_pl.controls.options import VARIATION, VARY
from jasco_pl.system.errors import UserError


def clip_seconds(asked: Mapping[str, Any], seconds: float | None, learnt: float, sample_rate: int = 0) -> float:
    """Length of a clip in seconds: as it is asked for, else as long as the recording that it varies, else what the model has learnt.

    Args:
        asked: values of options by name.
        seconds: that were asked for.
        learnt: by the model; a recording is followed no further.
        sample_rate: of recordings that are given as waveforms [1, S].

    Raises:
        UserError: the recording cannot be read.
    """
    if seconds is not None or (source := asked.get(VARY.name)) is None:
        return learnt if seconds is None else seconds
    has = AudioFile(source).claimed_seconds if isinstance(source, str | PathLike) else source.shape[-1] / sample_rate
    return min(has or learnt, learnt)


def check_whole(asked: Mapping[str, Any]) -> None:
    """Raise UserError if values of options, by name, does not go together."""
    strength = asked[VARIATION.name]
    if not 0 <= strength <= 1:
        raise UserError(f"a variation lies between 0 (the recording as it is) and 1 (independent of it), not at {strength:g}.")
    if asked[VARY.name] is None and strength != VARIATION.default:
        raise UserError(f"a variation ({strength:g}) of nothing was asked for: name the recording (vary).")
