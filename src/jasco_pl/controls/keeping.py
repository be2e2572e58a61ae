"""What of a recording is kept in a clip that is painted: its seconds, as frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from jasco_pl.audio.levels import sounding_loudness
from jasco_pl.audio.loudness import silent
from jasco_pl.controls.waveforms import read_waveform
from jasco_pl.notation.harmony import first_frame
from jasco_pl.notation.stretches import Ranges, read_ranges
from jasco_pl.system.errors import UserError

EDGE = 3  # frames before the end of a recording that its end has altered (docs/decisions.md): they are made anew


def read_painting(asked: Mapping[str, Any], sample_rate: int, hop: int, frames: int, notes: list[str]) -> tuple[Tensor, NDArray[np.bool_]]:
    """The recording of a request with silence before second `at`, [1, S], and which frames of the clip are kept of it, [frames].

    `notes` takes how it was read.

    Raises:
        UserError: it cannot be read or begins past the clip, or what `kept_frames` says.
    """
    offset = round((asked.get("at") or 0) * sample_rate)
    if offset >= frames * hop:
        raise UserError(f"the recording would begin at {asked['at']:g} s, where the clip of {frames * hop / sample_rate:g} s has ended.")
    length = (frames + EDGE) * hop - offset  # the last frame hears what follows it
    heard = read_waveform(asked["paint"], sample_rate, "paint", length, notes)
    if sounding_loudness(heard, sample_rate) is None:
        notes.append(silent("paint"))
    recording = functional.pad(heard, (offset, 0))
    first, available = -(-offset // hop), recording.shape[-1] // hop
    return recording, kept_frames(frames, available, sample_rate / hop, asked["keep"], asked["redo"], first)


def kept_frames(
    frames: int, available: int, frame_rate: float, keep: Ranges | None = None, redo: Ranges | None = None, begins: int = 0
) -> NDArray[np.bool_]:
    """Which frames of a clip are kept from a recording.

    Args:
        frames: of the clip.
        available: where the recording ends. What lies past it is new in any case, and so are its last three frames where the clip goes on:
            the encoder has heard the silence behind them.
        frame_rate: frames a second.
        keep: stretches to keep; without `keep` and `redo`, all that there is.
        redo: stretches to make anew; the rest is kept. `keep` and `redo` exclude one another.
        begins: its first whole frame. What lies before is new, and its first three frames for the same reason.

    Returns:
        True where a frame is kept, [frames].

    Raises:
        UserError: the stretches cannot be read, begin past the recording or the clip, or leave nothing to keep or nothing to make.
    """
    if keep is not None and redo is not None:
        raise UserError("both the seconds to keep and those to redo were given, where one of them says it all.")
    what, written = ("keep", keep) if keep is not None else ("redo", redo)
    marked = np.full(frames, False)
    for start, end in [] if written is None else read_ranges(written, what):
        place, limit = ("recording", available) if what == "keep" and available < frames else ("clip", frames)
        if (first := first_frame(start, frame_rate)) >= limit:
            raise UserError(f"{what} {start:g}-{end:g} begins past the {place}, which ends at {limit / frame_rate:g} seconds.")
        marked[first : min(limit, first_frame(min(end, limit / frame_rate), frame_rate))] = True
    kept = marked if keep is not None else ~marked
    if available < frames:
        kept[max(available - EDGE, 0) :] = False
    if begins:
        kept[: begins + EDGE] = False
    seconds = frames / frame_rate
    if kept.all():
        raise UserError(
            f"all {seconds:g} seconds of the clip would be kept: name the seconds to keep (0-4) or to redo (3-6), or ask for a longer clip."
        )
    if not kept.any():
        raise UserError(f"nothing of the recording would be kept in a clip of {seconds:g} seconds.")
    return kept
