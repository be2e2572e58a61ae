"""In- and outpainting: the latents of a clip with a stretch masked, as they are, without a projection (paper, section 3.1).

The paper encodes the masked waveform. Latents are extracted before training here, so a masked frame is the codec's latent of silence
instead; docs/decisions.md says how far that is from encoding the masked waveform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jasco_pl.controls.audio import read_waveform
from jasco_pl.controls.base import Control, FrameGrid, Option, Reading
from jasco_pl.notation.harmony import first_frame
from jasco_pl.system.draws import uniform
from jasco_pl.system.errors import UserError

SHORTEST, LONGEST = 0.4, 0.9  # share of a clip that is masked (paper)
EDGE = 3  # frames before the end of a recording that its end has altered (docs/decisions.md): they are made anew
Ranges = str | Sequence[tuple[float, float]]


def masked_segments(keys: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    """The stretches [first, last) of clips of `frames` [B] that training samples with these keys [B] have to fill, int64 [B] each.

    In- or outpainting with equal chance, a length uniform in 40-90 % of the clip. Outpainting masks the end: the clip is to be continued.
    Inpainting masks a stretch anywhere between a known beginning and a known end (as JEN-1, which the paper follows).
    """
    inpainting, share, place = uniform(keys, "painting", 3).double().unbind(1)
    length = (frames * (SHORTEST + (LONGEST - SHORTEST) * share)).round().long().clamp(min=1)
    known = frames - length
    first = torch.where((inpainting < 0.5) & (known > 1), 1 + (place * (known - 1)).long(), known)
    return first, first + length


class Painting(Control):
    """Normalised latents of every frame, NaN where there is nothing to keep -> the same with silence in those places.

    "Nothing kept" and "no painting asked for" are one: silence all over, the end of the range of masks.

    Args:
        dim: channels of a latent frame.
    """

    name = "painting"
    field = "latents"
    option = Option("paint", "recording to go on from, or to fill in with --keep or --redo", kind="file", metavar="FILE")
    details = (
        Option("keep", "of --paint: what stays, as in 0-4, 8- (to the end) or 0-2,8-10; the rest is made", metavar="SECONDS"),
        Option("redo", "of --paint: what is made anew, as in 3-6; the rest stays", metavar="SECONDS"),
    )
    dtype = torch.float32
    null = float("nan")
    takes_gain = False  # as many channels as the latents
    silence: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.channels, self.frame_shape = dim, (dim,)
        self.register_buffer("silence", torch.zeros(dim))

    @classmethod
    def sizes(cls, latent_dim: int, codebook_size: int) -> dict[str, int]:
        return {"dim": latent_dim}

    def take_codec(self, codebook: Tensor | None, silence: Tensor | None) -> None:
        if silence is not None:
            self.silence.copy_(silence)

    def from_batch(self, batch: Mapping[str, Any], latents: Tensor) -> Tensor:
        """Mask a segment of every sample, drawn from its own key; frames past the end of a short sample are masked too."""
        first, last = masked_segments(batch["key"], batch["mask"].sum(dim=1))
        place = torch.arange(latents.shape[1], device=latents.device)
        unknown = ~batch["mask"] | (place >= first[:, None]) & (place < last[:, None])
        return latents.masked_fill(unknown[..., None], self.null)

    @classmethod
    def check(cls, asked: Mapping[str, Any]) -> None:
        if asked["paint"] is None and (asked["keep"] is not None or asked["redo"] is not None):
            raise UserError("seconds to keep or to redo were given, but no recording (paint) to take them from.")

    @torch.inference_mode()
    def read(self, asked: Mapping[str, Any], grid: FrameGrid) -> Reading:
        """An audio file, or a waveform [1, S] at the codec's rate, that begins where the clip begins and is not repeated.

        `keep` and `redo` are the seconds of it to keep, or those to make anew (see `read_ranges`); neither: keep all, then go on.
        """
        codec, frames, rate = grid.codec, grid.frames, grid.frame_rate
        wav = read_waveform(asked["paint"], codec.sample_rate, "paint")
        available = wav.shape[-1] // codec.hop
        kept = kept_frames(frames, available, rate, asked["keep"], asked["redo"])
        heard = wav[None, :, : (frames + EDGE) * codec.hop]  # some more, so that the last frame hears what follows it
        latents = grid.normalize(codec.encode(heard.to(codec.latent_mean.device)))[0].cpu()
        raw = self.null_frames(1, frames)[0]
        known = torch.from_numpy(kept[: min(available, frames)])
        raw[: len(known)][known] = latents[: len(known)][known]
        notes = [f"kept of the recording: {stretches(kept, rate)} s"]
        if not SHORTEST <= (share := 1 - float(kept.mean())) <= LONGEST and frames <= grid.learnt:
            notes.append(f"{share:.0%} of the clip are new, where the model has learnt to make {SHORTEST:.0%} to {LONGEST:.0%}")
        return Reading(raw.numpy(), notes, recording=wav)

    def forward(self, raw: Tensor) -> Tensor:
        return torch.where(raw.isnan(), self.silence.to(raw.dtype), raw)


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
