"""What a musician says for in- and outpainting: which seconds of a recording to keep, or which to make anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from jasco_pl.notation.harmony import first_frame
from jasco_pl.system.errors import UserError

EDGE = 3  # frames before the end of a recording that its end has altered (docs/decisions.md): they are made anew
FADE = 0.1  # seconds from the rendering to the recording itself; shorter ones are heard as onsets (docs/decisions.md)
Ranges = str | Sequence[tuple[float, float]]


def read_ranges(written: Ranges, what: str) -> list[tuple[float, float]]:
    """Stretches of time in seconds; an open end is infinity.

    Args:
        written: `0-4`, `3-6`, `8-` (to the end), `-2` (from the beginning), several with commas (`0-2,8-10`); or pairs of seconds.
        what: what they are called in an error.

    Raises:
        UserError: something else is written, or a stretch ends before it begins.
    """
    if isinstance(written, str):
        pairs = [_read_range(part.strip(), what, written) for part in written.split(",")]
    else:
        pairs = [(float(start), float(end)) for start, end in written]
    for start, end in pairs:
        if not 0 <= start < end:
            raise UserError(f"{what} has the stretch {start:g}-{end:g}, where the first second must be at least 0 and less than the last.")
    return pairs


def _read_range(part: str, what: str, written: str) -> tuple[float, float]:
    start, dash, end = part.partition("-")
    try:
        if not dash or not (start or end):
            raise ValueError
        return float(start or 0), float(end or "inf")
    except ValueError:
        raise UserError(f"{what} {written!r} is not a stretch of seconds, as in '0-4', '8-' or '0-2,8-10'.") from None


def kept_frames(
    frames: int, available: int, frame_rate: float, keep: Ranges | None = None, redo: Ranges | None = None
) -> NDArray[np.bool_]:
    """Which frames of a clip are kept from a recording that begins where the clip begins.

    Args:
        frames: of the clip.
        available: frames of the recording. What lies past them is new in any case, and so are its last three where the clip goes on: the
            encoder has heard the silence behind them.
        frame_rate: frames a second.
        keep: stretches to keep; without `keep` and `redo`, all that there is.
        redo: stretches to make anew; the rest is kept. `keep` and `redo` exclude one another.

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
    seconds = frames / frame_rate
    if kept.all():
        raise UserError(
            f"all {seconds:g} seconds of the clip would be kept: name the seconds to keep (0-4) or to redo (3-6), or ask for a longer clip."
        )
    if not kept.any():
        raise UserError(f"nothing of the recording would be kept in a clip of {seconds:g} seconds.")
    return kept


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where a mask [T] is true, as stretches [first, last)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(first, last) for first, last in edges.reshape(-1, 2).tolist()]


def stretches(kept: NDArray[np.bool_], frame_rate: float) -> str:
    """The kept seconds in words, as in `0.00-3.94, 8.00-10.00`."""
    return ", ".join(f"{first / frame_rate:.2f}-{last / frame_rate:.2f}" for first, last in runs(kept))


def splice(made: Tensor, recording: Tensor, kept: NDArray[np.bool_], hop: int, sample_rate: int) -> Tensor:
    """Lay a recording over what was made from it, where it is kept; the fades lie inside the kept stretches.

    Args:
        made: the clip as the codec renders it, [1, T * hop].
        recording: [1, S], any length.
        kept: [T].
        hop: samples a frame.
        sample_rate: Hz.
    """
    share = np.zeros(len(kept) * hop, dtype=np.float32)
    for first, last in ((start * hop, stop * hop) for start, stop in runs(kept)):
        place = (np.arange(last - first) + 0.5) / (FADE * sample_rate)
        rising = np.ones_like(place) if first == 0 else place
        falling = np.ones_like(place) if last == len(share) else place[::-1]
        share[first:last] = np.minimum(np.minimum(rising, falling), 1.0)
    weight = torch.from_numpy(share)
    recording = functional.pad(recording, (0, max(0, len(share) - recording.shape[-1])))[:, : len(share)]
    return torch.lerp(made, recording.to(made), weight.to(made))
