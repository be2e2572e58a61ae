"""What a prepared sample holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

FIELDS: dict[str, torch.dtype] = {
    "latents": torch.float16,  # [T, dim], the codec's, not normalised
    "codes_mix": torch.int16,  # first-codebook entries of the full mix ...
    "codes_drums": torch.int16,  # ... of the drum stem
    "codes_drums_bandpass": torch.int16,  # ... of the drum stem between 200 and 800 Hz
    "codes_drumless": torch.int16,  # ... of the mix without drums
    "chords": torch.int16,  # index in harmony's vocabulary
    "chords_heard": torch.int16,  # the same as Chordino hears it: all that recordings have
    "melody": torch.int8,  # bin 0..52 = MIDI 43..95, -1 none
}
REQUIRED = ("latents",)
STAND_INS = {"chords": "chords_heard"}
"""Field -> what is read where a sample lacks it: only composed music has exact chords."""
STAGES = {
    **dict.fromkeys(("latents", "codes_mix"), "codec"),
    **dict.fromkeys(("chords", "chords_heard"), "chords"),
    "melody": "melody",
    **dict.fromkeys(("codes_drums", "codes_drums_bandpass", "codes_drumless"), "drums"),
}
"""Field -> the stage of `jasco prepare` that adds it."""


@dataclass
class Sample:
    """One track or piece: tensors of T frames each, keyed by `FIELDS`, and what is known about it."""

    id: str
    tensors: dict[str, Tensor]
    captions: list[str]

    @property
    def frames(self) -> int:
        """Length in latent frames."""
        return self.tensors["latents"].shape[0]

    def check(self) -> None:
        """Raise ValueError if a field is unknown, of another type, or of another length than the latents."""
        for name in REQUIRED:
            if name not in self.tensors:
                raise ValueError(f"sample {self.id!r} lacks the field {name!r}.")
        for name, tensor in self.tensors.items():
            if FIELDS.get(name) != tensor.dtype:
                raise ValueError(f"sample {self.id!r}, field {name!r}: {tensor.dtype} where {FIELDS.get(name)} is expected.")
            if tensor.shape[0] != self.frames:
                raise ValueError(f"sample {self.id!r}, field {name!r}: {tensor.shape[0]} frames, its latents have {self.frames}.")


Batch = dict[str, Any]
"""Collated crops: field -> tensor [B, T, ...]; `id`, `caption`: lists of str; `key`: list of int; `mask` [B, T] true on real frames."""
