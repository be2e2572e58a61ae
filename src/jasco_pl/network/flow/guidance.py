"""Multi-source classifier-free guidance (paper, equation 4) for arbitrary weighted sets of conditions.

A guidance is a mapping from a set of conditions to its weight; the unconditional term takes what is missing to one:
    v = (1 - sum_c a_c) v(z, t) + sum_c a_c v(z, t | c).
Sets are written `all`, `text`, `local`, or by joining names with "+": `text+chords`, `drums`.

`from=0.05` lets it act from that flow time on (Kynkäänniemi et al. 2024, arXiv 2404.07724): before it the network is evaluated once,
under all conditions that are named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jasco_pl.system.errors import UserError

if TYPE_CHECKING:  # a command line that reads a guidance needs no torch
    import torch
    from torch import Tensor

TEXT, START = "text", "from"
MOST = 1000  # of a weight: far more than anything that sounds like music
ROUNDING = 1e-6


@dataclass(frozen=True)
class Term:
    """One evaluation of the network: which conditions it sees, and its weight in the sum."""

    conditions: frozenset[str]
    weight: float


@dataclass(frozen=True)
class Guidance:
    """A weighted sum of evaluations, and from which flow time on it is taken.

    Attributes:
        terms: of the sum, a row of the batch each.
        start: flow time, from 0 to below 1.
    """

    terms: tuple[Term, ...]
    start: float = 0.0

    @property
    def stages(self) -> tuple[tuple[float, tuple[Term, ...]], ...]:
        """Flow times in ascending order, the first 0, and the terms that are summed from each on."""
        if self.start == 0:
            return ((0.0, self.terms),)
        named = frozenset[str]().union(*(term.conditions for term in self.terms))
        return (0.0, (Term(named, 1.0),)), (self.start, self.terms)


def parse_guidance(text: str | Mapping[str, float], local: Iterable[str]) -> Guidance:
    """Read `all=1.5 text=0.5 from=0.05` (or a mapping) for a model whose local controls are `local`; zero-weight terms are left out.

    Names that mean the same set, such as `all` and `text` for a model without local controls, add up.

    Raises:
        UserError: an unknown condition, a weight that is no finite number, a name written twice, a start that is no flow time.
    """
    names = [TEXT, *local]
    pairs = guidance_parts(text)
    start = [value for written, value in pairs if written == START]
    if len(start) > 1:
        raise UserError(f"guidance names {START!r} twice.")
    if start and not 0 <= start[0] < 1:
        raise UserError(f"guidance acts from flow time {start[0]:g}, where a number from 0 to below 1 is accepted.")
    return Guidance(_terms([(written, value) for written, value in pairs if written != START], names), *start)


def guidance_parts(text: str | Mapping[str, float]) -> list[tuple[str, float]]:
    """The parts NAME=NUMBER of a guidance in their order, whatever they name.

    Raises:
        UserError: a part is none.
    """
    return list(text.items()) if isinstance(text, Mapping) else [_split(part) for part in text.replace(",", " ").split()]


def _terms(pairs: Iterable[tuple[str, float]], names: list[str]) -> tuple[Term, ...]:
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
        raise UserError(f"guidance part {part!r} is not NAME=WEIGHT, as in 'all=1.5 text=0.5', nor {START}=TIME.") from None


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
    velocity_under: Callable[[tuple[Term, ...]], Callable[[Tensor, Tensor], Tensor]], guidance: Guidance, device: torch.device | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """Join evaluations of the network into one field.

    Args:
        velocity_under: from K terms to the velocity (rows [K * B, T, C], t [K * B]) -> [K * B, T, C], whose rows of term k see that term's
            conditions; they are evaluated in one batch.
        guidance: the terms, and from when on.
        device: where that happens; None is the CPU.

    Returns:
        (z [B, T, C], t scalar tensor) -> guided velocity [B, T, C].
    """
    fields = [(start, _weighted(velocity_under(terms), terms, device)) for start, terms in guidance.stages]
    if len(fields) == 1:
        return fields[0][1]

    def field(z: Tensor, t: Tensor) -> Tensor:
        now = float(t) + ROUNDING  # of float32, in which solvers hold times
        return next(field for start, field in reversed(fields) if start <= now)(z, t)

    return field


def _weighted(
    velocity: Callable[[Tensor, Tensor], Tensor], terms: tuple[Term, ...], device: torch.device | None
) -> Callable[[Tensor, Tensor], Tensor]:
    import torch

    count = len(terms)
    weights = torch.tensor([term.weight for term in terms], device=device)  # once: a copy to the device at every point would be waited for

    def field(z: Tensor, t: Tensor) -> Tensor:
        rows = velocity(z.repeat(count, 1, 1), t.expand(count * z.shape[0]))
        if count == 1 and terms[0].weight == 1.0:
            return rows
        return torch.einsum("k,kbtc->btc", weights.to(rows.dtype), rows.unflatten(0, (count, -1)))

    return field
