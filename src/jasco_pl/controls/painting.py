"""In- and outpainting: the latents of a clip with a stretch masked, as they are, without a projection (paper, section 3.1).

The paper encodes the masked waveform. Latents are extracted before training here, so a masked frame is the codec's latent of silence
instead; docs/decisions.md says how far that is from encoding the masked waveform.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from jasco_pl.audio.levels import to_loudness
from jasco_pl.controls import options
from jasco_pl.controls.base import Control, FrameGrid, Reading
from jasco_pl.controls.inputs import MixInput, PaintingInput
from jasco_pl.controls.keeping import read_painting
from jasco_pl.controls.segments import segments, within
from jasco_pl.notation.stretches import stretches
from jasco_pl.system.draws import uniform
from jasco_pl.system.errors import UserError

SHARE_NOTE = "of the clip are new"
SHORTEST, LONGEST = 0.4, 0.9  # share of a clip that is masked (paper)
VARIED = (0.1, 0.9)  # the same of `varied_masks`
Masks = Literal["paper", "varied"]


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


def varied_masks(keys: Tensor, frames: Tensor, width: int) -> Tensor:
    """Which frames training samples have to fill, bool [B, width]: shorter, longer and other stretches than in the paper.

    10-90 % of a clip at its end (of 35 % of the samples), at its beginning (15 %) or anywhere (25 %), or a stretch in either part of a clip
    that is cut in two (25 %).

    Args:
        keys: of the samples, int64 [B].
        frames: of the samples, int64 [B].
        width: of the batch in frames.
    """
    kind, share, place, cut, *other = uniform(keys, "varied masks", 6).double().unbind(1)
    lies = torch.where(kind < 0.35, 1.0, torch.where(kind < 0.5, 0.0, place))
    least, most = VARIED
    once = within(*segments(frames, least + (most - least) * share, lies), width)
    parts = (frames * (0.3 + 0.4 * cut)).round().long()
    before, after = segments(parts, 0.2 + 0.6 * share, place), segments(frames - parts, 0.2 + 0.6 * other[0], other[1])
    twice = within(*before, width) | within(parts + after[0], parts + after[1], width)
    return torch.where((kind < 0.75)[:, None], once, twice)


class Painting(Control):
    """Normalised latents of every frame, NaN where there is nothing to keep -> the same with silence in those places.

    "Nothing kept" and "no painting asked for" are one: silence all over, the end of the range of masks.

    Args:
        dim: channels of a latent frame.
        mask: one more channel behind the latents, 1 where a frame is kept, so that silence that is kept differs from what is to be made (no
            part of the paper; docs/decisions.md).
        masks: what training samples have to fill: as in the paper (`masked_segments`), or more varied stretches (`varied_masks`).
    """

    name = "painting"
    field = "latents"
    option, details = options.PAINT, (options.KEEP, options.REDO, options.AT)
    dtype = torch.float32
    null = float("nan")
    takes_gain = False  # as many channels as the latents
    grows = frozenset({"mask", "masks"})
    silence: Tensor

    def __init__(self, dim: int, mask: bool = False, masks: Masks = "paper") -> None:
        super().__init__()
        if masks not in get_args(Masks):
            raise UserError(f"the masks of the control 'painting' are one of {', '.join(get_args(Masks))}, not {masks!r}.")
        self.channels, self.frame_shape = dim + mask, (dim,)
        self.mask, self.masks = mask, masks
        self.register_buffer("silence", torch.zeros(dim))

    @classmethod
    def sizes(cls, latent_dim: int, codebook_size: int) -> dict[str, int]:
        return {"dim": latent_dim}

    def take_codec(self, codebook: Tensor | None, silence: Tensor | None) -> None:
        if silence is not None:
            self.silence.copy_(silence)

    def from_batch(self, batch: Mapping[str, Any], latents: Tensor) -> Tensor:
        """Mask a part of every sample, drawn from its own key; frames past the end of a short sample are masked too."""
        keys, frames, width = batch["key"], batch["mask"].sum(dim=1), latents.shape[1]
        masked = varied_masks(keys, frames, width) if self.masks == "varied" else within(*masked_segments(keys, frames), width)
        return latents.masked_fill((~batch["mask"] | masked)[..., None], self.null)

    @classmethod
    def check(cls, asked: Mapping[str, Any]) -> None:
        PaintingInput.check(asked)

    @torch.inference_mode()
    def read(self, asked: Mapping[str, Any], grid: FrameGrid) -> Reading:
        """An audio file, or a waveform [1, S] at the codec's rate, that begins at second `at` of the clip (0) and is not repeated.

        `keep` and `redo` are the seconds of the clip to keep, or those to make anew (see `read_ranges`); neither: keep all, then go on. The
        network sees the recording at the loudness of training, whatever its own (`FrameGrid.levels`).
        """
        codec, frames, rate, notes = grid.codec, grid.frames, grid.frame_rate, list[str]()
        recording, kept = read_painting(asked, codec.sample_rate, codec.hop, frames, notes)
        wav = to_loudness(recording, codec.sample_rate, MixInput.loudness)[0] if grid.levels else recording
        latents = grid.normalize(codec.encode(wav[None].to(codec.latent_mean.device)))[0].cpu()
        raw = self.null_frames(1, frames)[0]
        known = torch.from_numpy(kept[: recording.shape[-1] // codec.hop])
        raw[: len(known)][known] = latents[: len(known)][known]
        notes.append(f"kept of the recording: {stretches(kept, rate)} s{' of the clip' if asked.get('at') else ''}")
        if self.masks == "paper" and not kept[0]:
            notes.append("the clip begins anew, which the model has not learnt: in training the beginning was always known")
        least, most = VARIED if self.masks == "varied" else (SHORTEST, LONGEST)
        if not least <= (share := 1 - float(kept.mean())) <= most and frames <= grid.learnt:
            notes.append(f"{share:.0%} {SHARE_NOTE}, where the model has learnt to make {least:.0%} to {most:.0%}")
        return Reading(raw.numpy(), notes, recording=recording)

    def forward(self, raw: Tensor) -> Tensor:
        unknown = raw.isnan()
        filled = torch.where(unknown, self.silence.to(raw.dtype), raw)
        return torch.cat([filled, (~unknown.any(dim=-1, keepdim=True)).to(raw.dtype)], dim=-1) if self.mask else filled
