"""audiocraft's way of making a clip, its defects included, for results that are the same as far as single precision goes.

Three things in it were never seen in training, where conditions are dropped for a whole batch, or are not what a user asks for:

- Where drums are given, the rows of the guidance that shall not see them do not get the null that training knew (zeros, hence the bias of
  the projection) but the drums of ten seconds of silence: collation pads their one-sample waveform to the length of the given one.
- Where a melody is given without chords, those rows see the melody nevertheless: dropping stops at the chords that are not there.
- Padding of the shorter texts of a batch is attended to, and dopri5 controls its step by the error of the whole batch: a clip depends on
  its neighbours.

A clip's noise is drawn as audiocraft does on a CPU after `torch.manual_seed(seed)` with the first clip's seed. What is not repeated:
audiocraft runs htdemucs, with a random shift, over the drums that it is given; here a drum part is taken as it is (`jasco extract drums`
separates one).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import get_args

import torch
from torch import Tensor

from jasco_pl.codec import Codec
from jasco_pl.controls.conditions import Conditions
from jasco_pl.interop.systems import Compat
from jasco_pl.network.flow.path import Path
from jasco_pl.network.flow.solver import END, Field, Progress, Solution, SolverConfig, solve
from jasco_pl.network.model import JascoModel
from jasco_pl.system.errors import UserError

CHORDS, DRUMS, MELODY = "chords", "drums", "melody"


def check_compat(compat: str | None) -> bool:
    """Whether clips shall be made as audiocraft makes them.

    Raises:
        UserError: another system is named.
    """
    if compat not in (None, *get_args(Compat)):
        raise UserError(f"compat {compat!r} is unknown: None and {', '.join(map(repr, get_args(Compat)))} are accepted.")
    return compat is not None


def attend_to_padding(model: JascoModel) -> None:
    """Let a model hear the padding of texts, as audiocraft does; what its `save_pretrained` writes stays as it was."""
    model.transformer.config = replace(model.transformer.config, mask_text=False)


class Audiocraft:
    """Rows of the guidance, noise and solver as audiocraft has them.

    Args:
        model: of a released checkpoint; from now on it attends to padding.
        codec: what silence sounds like to it.

    Raises:
        UserError: the model is none of audiocraft's.
    """

    def __init__(self, model: JascoModel, codec: Codec) -> None:
        if not model.config.transformer.zero_null_text:
            raise UserError("compat='audiocraft' is for models that were imported from audiocraft, and this is none.")
        self.model, self.codec = model, codec
        self._silent: Tensor | None = None
        attend_to_padding(model)

    def only(self, conditions: Conditions, names: frozenset[str]) -> Conditions:
        """The batch seen with these conditions alone, as audiocraft's dropping leaves it."""
        seen = self.model.controls.only(conditions, names)
        local = dict(seen.local)
        if DRUMS in local and DRUMS not in names:
            given = (conditions.local[DRUMS] >= 0).any(dim=1, keepdim=True)
            local[DRUMS] = torch.where(given, self._silence(local[DRUMS].shape[1]), local[DRUMS])
        if MELODY in local and MELODY not in names:
            melody = conditions.local[MELODY]
            if CHORDS in local:
                without = (conditions.local[CHORDS] == self.model.controls.by_name[CHORDS].null).all(dim=1, keepdim=True)
                melody = torch.where(without, melody, local[MELODY])
            local[MELODY] = melody
        return replace(seen, local=local)

    @torch.inference_mode()
    def _silence(self, frames: int) -> Tensor:
        """Codes [T] of digital silence, which htdemucs leaves as it is."""
        if self._silent is None or len(self._silent) != frames:
            nothing = torch.zeros(1, 1, frames * self.codec.hop, device=self.codec.latent_mean.device)
            self._silent = self.codec.codes(self.codec.encode(nothing))[0, :frames]
        return self._silent

    @staticmethod
    def noise(seeds: Sequence[int], frames: int, channels: int) -> Tensor:
        """Noise [B, T, C] of a whole batch, drawn at once."""
        return torch.randn(len(seeds), frames, channels, generator=torch.Generator().manual_seed(seeds[0]))

    @staticmethod
    def solve(
        field_of: Callable[[slice], Field],
        noise: Tensor,
        config: SolverConfig,
        progress: Progress | None = None,
        path: Path | None = None,
        fitted: Sequence[float] | None = None,
    ) -> Solution:
        """As `flow.solver.solve`, but for dopri5: one step for all items, and the last one beyond the end, interpolated back.

        Raises:
            UserError: as there.
        """
        if config.method != "dopri5":
            return solve(field_of, noise, config, progress, path, fitted)
        import torchdiffeq  # here, as in `flow.solver`

        field, evaluations = field_of(slice(None)), 0

        def counted(t: Tensor, z: Tensor) -> Tensor:
            nonlocal evaluations
            evaluations += 1
            if progress is not None:
                progress(min(float(t), 1.0))
            return field(z, t)

        span = torch.tensor([0.0, END], device=noise.device)
        try:
            states = torchdiffeq.odeint(counted, noise, span, rtol=config.tolerance, atol=config.tolerance)
        except AssertionError as error:  # how torchdiffeq says that its step shrank to nothing
            raise UserError(f"dopri5 cannot keep tolerance {config.tolerance:g} ({error}); a larger one or euler may do.") from error
        if progress is not None:
            progress(1.0)
        return Solution(states[-1], evaluations)
