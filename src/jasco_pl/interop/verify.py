"""Comparing our numbers with audiocraft's: a checkpoint file that also holds inputs and what audiocraft made of them (`anchor`).

Such a file has, beside `best_state` and `xp.cfg`, an `anchor` with `text_hidden` [L, D] (states of the text encoder), `frame_chords` [T]
(audiocraft's indices), `melody` [53, T], `drum_latents_by_id` {0: null, 1: given} of [T, C] each, as far as the model has these
conditions; `z` [3, T, C] and `t` [3, 1, 1] with the velocity `v` of three rows (all conditions, text alone, none); `z_guided`,
`t_guided`, `term_weights` with `guided_3_1`; and `z0` with `euler10` and `dopri5`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from jasco_pl.controls import AudioControl, Chords, Control, Melody
from jasco_pl.controls.audio import blur
from jasco_pl.interop.chord_order import to_ours
from jasco_pl.interop.compat import Audiocraft, attend_to_padding
from jasco_pl.interop.released import Released
from jasco_pl.interop.translate import translate
from jasco_pl.network.flow.guidance import Guidance, Term, guided_velocity
from jasco_pl.network.flow.solver import Progress, SolverConfig
from jasco_pl.network.model import JascoModel
from jasco_pl.network.transformer import Context
from jasco_pl.system.errors import UserError

BOUND = 1e-4
"""Largest absolute difference that single precision may explain."""
ROWS = 3
DOPRI5_TOLERANCE = 1e-5


def verify(released: Released, progress: Callable[[str], Progress] | None = None) -> dict[str, float]:
    """Largest absolute difference of everything that the anchor has: velocity of each row, guided velocity, results of the solvers.

    Args:
        released: with its anchor.
        progress: from what is computed to whom to tell the share that is done.

    Raises:
        UserError: the file has no anchor, one of another form, or holds no variant of the released checkpoints.
    """
    if released.anchor is None:
        raise UserError(f"{str(released.path)!r} holds no 'anchor' to compare with: inputs and audiocraft's results.")
    model = translate(released).model()
    attend_to_padding(model)
    try:
        with torch.inference_mode():
            return _differences(model, released.anchor, progress)
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        raise UserError(f"the anchor in {str(released.path)!r} is not of the form that is known: {reason}.") from error


def _differences(model: JascoModel, anchor: Mapping[str, Any], progress: Callable[[str], Progress] | None) -> dict[str, float]:
    z, t = anchor["z"].float(), torch.as_tensor(anchor["t"]).float().flatten()
    if len(z) != ROWS:
        raise ValueError(f"z has {len(z)} rows, where three are expected: all conditions, text alone, none")
    context = _context(model, anchor, z.shape[1])
    found = {}
    velocity = model.velocity(z, t, context)
    for row, name in enumerate(("all conditions", "text alone", "no condition")):
        found[f"velocity, {name}"] = _largest(velocity[row], anchor["v"][row])

    terms = tuple(Term(frozenset(), float(weight)) for weight in anchor["term_weights"])
    if len(terms) != ROWS:
        raise ValueError(f"term_weights has {len(terms)} numbers, where three are expected")
    field = guided_velocity(lambda terms: lambda z, t: model.velocity(z, t, context), Guidance(terms))
    if names := list(_named(anchor, r"guided_\w+")):
        guided = field(anchor["z_guided"].float(), torch.as_tensor(anchor["t_guided"]).float().reshape(()))
        found["guided velocity"] = float(torch.tensor([_largest(guided, anchor[name]) for name in names], dtype=torch.float64).max())
    solvers = {name: SolverConfig("euler", steps=int(name.removeprefix("euler"))) for name in _named(anchor, r"euler\d+")}
    solvers |= {name: SolverConfig("dopri5", tolerance=DOPRI5_TOLERANCE) for name in _named(anchor, "dopri5")}
    for name, solver in solvers.items():
        told = progress(name) if progress else None
        solution = Audiocraft.solve(lambda items: field, anchor["z0"].float(), solver, told)
        found[name] = _largest(solution.latents, anchor[name])
    return found


def _named(anchor: Mapping[str, Any], pattern: str) -> Iterable[str]:
    return [name for name in anchor if re.fullmatch(pattern, name)]


def _largest(ours: Tensor, theirs: Tensor) -> float:
    if ours.shape != theirs.shape:
        raise ValueError(f"a result is {list(theirs.shape)}, where {list(ours.shape)} is expected")
    return float((ours.double() - theirs.double()).abs().max())


def _context(model: JascoModel, anchor: Mapping[str, Any], frames: int) -> Context:
    """Of the three rows. Conditions enter behind what reads them: the anchor has drums as vectors and a melody as salience."""
    text, seen = anchor["text_hidden"].float(), torch.tensor([1.0, 1.0, 0.0])[:, None]
    seen = anchor.get("condition_masks", {}).get("description", seen)  # where the text was padded
    text = text.expand(ROWS, *text.shape[-2:]) * seen[..., None]
    mask = torch.ones(text.shape[:2], dtype=torch.bool)
    rows = []
    for control in model.controls.by_name.values():
        given, without = _projected(control, anchor)
        if without.shape[1] == 1:
            without = without.expand(-1, given.shape[1], -1)
        rows.append(torch.cat([_aligned(part, frames) for part in (given, without, without)]))
    projected = torch.cat(rows, dim=-1) if rows else torch.zeros(ROWS, frames, 0)
    return model.transformer.context(text, mask, frames, projected)


def _projected(control: Control, anchor: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """A condition as it is given and as the other rows have it, [1, T, channels] each."""
    chords, melody, drums = (anchor.get(name) for name in ("frame_chords", "melody", "drum_latents_by_id"))
    without = control(control.null_frames(1, 1))
    if isinstance(control, Chords):
        return (without, without) if _absent(chords) else (control(to_ours(cast(Tensor, chords).reshape(1, -1))), without)
    if isinstance(control, Melody):
        if melody is None:
            return without, without
        given = control.projection(melody.float().reshape(-1, melody.shape[-1]).t()[None])
        return given, given if _absent(chords) else without  # see `compat`: it stays where there are no chords to drop
    assert isinstance(control, AudioControl)
    if not drums:
        return without, without
    vectors = {number: blur(latents.float()[None], control.window) for number, latents in drums.items()}
    given, without = (control.projection(vectors[number]) if number in vectors else without for number in (1, 0))
    return given, without


def _absent(chords: Tensor | None) -> bool:
    return chords is None or chords.numel() <= 1


def _aligned(condition: Tensor, frames: int) -> Tensor:
    """Cut to the latents' length or filled up with zeros, as audiocraft does; one frame stands for all."""
    if condition.shape[1] == 1:
        return condition.expand(-1, frames, -1)
    return functional.pad(condition[:, :frames], (0, 0, 0, max(0, frames - condition.shape[1])))
