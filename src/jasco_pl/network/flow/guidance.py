"""Multi-source classifier-free guidance (paper, equation 4) for arbitrary weighted sets of conditions.

A guidance is a mapping from a set of conditions to its weight; the unconditional term takes what is missing to one:
    v = (1 - sum_c a_c) v(z, t) + sum_c a_c v(z, t | c).
Sets are written `all`, `text`, `local`, or by joining names with "+": `text+chords`, `drums`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jasco_pl.system.errors import UserError

if TYPE_CHECKING:  # a command line that reads a guidance needs no torch
    import torch
    from torch import Tensor

TEXT = "text"
MOST = 1000  # of a weight: far more than anything that sounds like music


@dataclass(frozen=True)
class Term:
    """One evaluation of the network: which conditions it sees, and its weight in the sum."""

    conditions: frozenset[str]
    weight: float


def parse_guidance(text: str | Mapping[str, float], local: Iterable[str]) -> tuple[Term, ...]:
    """Read `all=1.5 text=0.5` (or a mapping) for a model whose local controls are `local`; zero-weight terms are left out.

    Names that mean the same set, such as `all` and `text` for a model without local controls, add up.

    Raises:
        UserError: an unknown condition, a weight that is no finite number, a name written twice.
    """
    names = [TEXT, *local]
    pairs = text.items() if isinstance(text, Mapping) else [_split(part) for part in text.replace(",", " ").split()]
    weights: dict[frozenset[str], float] = {}
    seen: set[frozenset[str]] = set()
    for written, value in pairs:
        conditions, spelling = _condition_set(written, names), frozenset(written.split("+"))
        if spelling in seen:
            raise UserError(f"guidance names the set {written!r} twice.")
        if not abs(value) <= MOST:
            raise UserError(f"guidance gives the set {written!r} the weight {value:g}, where a number from -{MOST} to {MOST} is accepted.")
        seen.add(spelling)
        weights[conditions] = weights.get(conditions, 0.0) + value
    unconditional = 1.0 - sum(weights.values())
    weights[frozenset()] = weights.get(frozenset(), 0.0) + unconditional
    terms = tuple(Term(conditions, weight) for conditions, weight in weights.items() if abs(weight) > 1e-6)
    return terms or (Term(frozenset(), 1.0),)


def _split(part: str) -> tuple[str, float]:
    name, equals, value = part.partition("=")
    try:
        if not equals:
            raise ValueError
        return name, float(value)
    except ValueError:
        raise UserError(f"guidance part {part!r} is not NAME=WEIGHT, as in 'all=1.5 text=0.5'.") from None


def _condition_set(written: str, names: list[str]) -> frozenset[str]:
    members: set[str] = set()
    for name in written.split("+"):
        if name == "all":
            members.update(names)
        elif name == "local":
            members.update(names[1:])
        elif name in names:
            members.add(name)
        else:
            raise UserError(f"guidance names the condition {name!r}; this model has: all, local, {', '.join(names)}.")
    return frozenset(members)


def guided_velocity(
    velocity: Callable[[Tensor, Tensor, int], Tensor], terms: tuple[Term, ...], device: torch.device | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """Join the terms into one field.

    Args:
        velocity: (rows [K * B, T, C], t [K * B], K) -> [K * B, T, C]; the rows of term k see that term's conditions.
        terms: K terms; their rows are evaluated in one batch.
        device: where that happens; None is the CPU.

    Returns:
        (z [B, T, C], t scalar tensor) -> guided velocity [B, T, C].
    """
    import torch

    count = len(terms)
    weights = torch.tensor([term.weight for term in terms], device=device)  # once: a copy to the device at every point would be waited for

    def field(z: Tensor, t: Tensor) -> Tensor:
        rows = velocity(z.repeat(count, 1, 1), t.expand(count * z.shape[0]), count)
        if count == 1 and terms[0].weight == 1.0:
            return rows
        return torch.einsum("k,kbtc->btc", weights.to(rows.dtype), rows.unflatten(0, (count, -1)))

    return field
