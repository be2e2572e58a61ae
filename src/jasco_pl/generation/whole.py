"""What a request says of the clip as a whole, and how long that makes it; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from jasco_pl.audio.decoding import AudioFile
from jasco_pl.controls.options import AT, BARS, BPM, DURING, KEEP, LOOP, METER, PAINT, REDO, VARIATION, VARY, WHOLE, check_names
from jasco_pl.notation.beats import bar_seconds
from jasco_pl.system.errors import UserError

if TYPE_CHECKING:
    from jasco_pl.controls.during import Length

NOT_EDITED = {option.name for option in (PAINT, KEEP, REDO, AT, *WHOLE) if option is not DURING}
"""Options that the edit of a song has no use for: it says itself what is painted, and how long."""
MISSING = 3  # frames by which a recording that is varied may fall short: what its header says is not always true
_MOST_BARS = 1000
_JUMP = 0.02  # seconds by which bars may miss the end of a loop unnoticed


def clip_seconds(asked: Mapping[str, Any], seconds: float | None, learnt: float, sample_rate: int = 0) -> float:
    """Length of a clip in seconds: what is asked for, or its bars; else that of what it varies, else what the model has learnt.

    Args:
        asked: values of options by name.
        seconds: that were asked for.
        learnt: by the model; a recording is followed no further.
        sample_rate: of recordings that are given as waveforms [1, S].

    Raises:
        UserError: the recording cannot be read, seconds and bars are both asked for, or what `check_whole` says.
    """
    check_whole(asked)
    if (bars := asked[BARS.name]) is not None:
        if seconds is not None:
            raise UserError(f"both seconds ({seconds:g}) and bars ({bars:g}) were given, where one of them says how long the clip is.")
        return float(bars * bar_seconds(asked[BPM.name], asked[METER.name]))
    if seconds is not None or (source := asked[VARY.name]) is None:
        return learnt if seconds is None else seconds
    has = AudioFile(source).claimed_seconds if isinstance(source, str | PathLike) else source.shape[-1] / sample_rate
    return min(has or learnt, learnt)


def check_reach(has: float, clip: Length) -> None:
    """Raise UserError if a recording of so many seconds, 0 being unknown, is too short for a clip that varies it."""
    if 0 < has < clip.seconds - MISSING / clip.frame_rate:
        raise UserError(
            f"the recording to vary lasts {has:.2f} s and the clip {clip.seconds:g} s: ask for {has:.2f} seconds, or for fewer."
        )


def check_whole(asked: Mapping[str, Any]) -> None:
    """Raise UserError if values of options, by name, does not go together."""
    check_names(WHOLE, asked)
    if (bars := asked[BARS.name]) is not None:
        if asked[BPM.name] is None:
            raise UserError(f"a length of {bars:g} bars needs their tempo: give it too (bpm).")
        if not 0 < bars <= _MOST_BARS:
            raise UserError(f"a clip has more than 0 bars and up to {_MOST_BARS}, not {bars:g}.")
    strength = asked[VARIATION.name]
    if not 0 <= strength <= 1:
        raise UserError(f"a variation lies between 0 (the recording as it is) and 1 (independent of it), not at {strength:g}.")
    if asked[VARY.name] is None and strength != VARIATION.default:
        raise UserError(f"a variation ({strength:g}) of nothing was asked for: name the recording (vary).")


def loop_notes(asked: Mapping[str, Any], seconds: float) -> list[str]:
    """That the beat jumps where a loop begins anew: a tempo was asked for, and its bars do not fill the loop."""
    if not asked[LOOP.name] or (bpm := asked[BPM.name]) is None:
        return []
    bar = bar_seconds(bpm, asked[METER.name])
    if round(seconds / bar) and abs(seconds - round(seconds / bar) * bar) < _JUMP:
        return []
    return [f"loop: {seconds:g} s are {seconds / bar:.2f} bars of {bpm:g} bpm, so that the beat jumps where it begins anew (see bars)"]
