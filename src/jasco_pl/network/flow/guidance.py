"""Multi-source classifier-free guidance (paper, equation 4) for arbitrary weighted sets of conditions.

A guidance is a mapping from a set of conditions to its weight; the reference, nothing unless it is said, takes what is missing to one:
    v = (1 - sum_c a_c) v(z, t) + sum_c a_c v(z, t | c).
Sets are written `all`, `text`, `local`, or by joining names with "+": `text+chords`, `drums`.

`over=text` lets the reference see the text, and every weighted set with it, so that what the controls say is exaggerated alone; a clip that
is given nothing but the text is guided over nothing all the same. `from=0.05` lets guidance act from that flow time on (Kynkäänniemi et al.
2024, arXiv 2404.07724): before it the network is evaluated once, under all conditions that are named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jasco_pl.system.errors import UserError

if TYPE_CHECKING:  # a command line that reads a guidance needs no torch
    import torch
    from torch import Tensor

TEXT, START, OVER = "text", "from", "over"
MOST = 1000  # of a weight: far more than anything that sounds like music
ROUNDING = 1e-6  # of weights that add up, and of the float32 in which solvers hold times


@dataclass(frozen=True)
class Term:
    """One evaluation of the network.

    Attributes:
        conditions: which it sees.
        weight: in the sum.
        reference: of it: a clip that is given none but these conditions is seen without any.
    """

    conditions: frozenset[str]
    weight: float
    reference: bool = False


@dataclass(frozen=True)
class Guidance:
    """A weighted sum of evaluations, and from which flow time on it is taken.

    Attributes:
        terms: of the sum, a row of the batch each.
        start: flow time, from 0 to below 1.
        over: what the reference sees.
    """

    terms: tuple[Term, ...]
    start: float = 0.0
    over: frozenset[str] = frozenset()

    @property
    def stages(self) -> tuple[tuple[float, tuple[Term, ...]], ...]:
        """Flow times in ascending order, the first 0, and the terms that are summed from each on."""
        if self.start == 0:
            return ((0.0, self.terms),)
        named = frozenset[str]().union(*(term.conditions for term in self.terms))
        return (0.0, (Term(named, 1.0),)), (self.start, self.terms)


@dataclass(frozen=True)
class Written:
    """A guidance in its parts, whatever they name; `str` writes it.

    Attributes:
        weights: (set, weight) in their order.
        start: flow time from which it acts.
        over: the set that the reference sees; "" is nothing.
    """

    weights: tuple[tuple[str, float], ...]
    start: float = 0.0
    over: str = ""

    @classmethod
    def read(cls, text: str | Mapping[str, float | str]) -> Written:
        """Take apart `all=2.5 over=text from=0.05`, or a mapping of the same.

        Raises:
            UserError: a part is none, `over` or `from` is there twice.
        """
        pairs = list(text.items()) if isinstance(text, Mapping) else [_split(part) for part in text.replace(",", " ").split()]
        for name in (START, OVER):
            if sum(written == name for written, _ in pairs) > 1:
                raise UserError(f"guidance names {name!r} twice.")
        options = dict(pairs)
        weights = tuple((name, _number(name, value)) for name, value in pairs if name not in (START, OVER))
        return cls(weights, _number(START, options.get(START, 0.0)), str(options.get(OVER, "")))

    def __str__(self) -> str:
        parts = [f"{name}={weight:.10g}" for name, weight in self.weights]
        return " ".join([*parts, *([f"{OVER}={self.over}"] if self.over else []), *([f"{START}={self.start:.10g}"] if self.start else [])])


def parse_guidance(text: str | Mapping[str, float | str], local: Iterable[str]) -> Guidance:
    """Read `all=2.5 over=text from=0.05` (or a mapping) for a model whose local controls are `local`; zero-weight terms are left out.

    Names that mean the same set, such as `all` and `text` for a model without local controls, add up.

    Raises:
        UserError: an unknown condition, a weight that is no finite number, a name written twice, a start that is no flow time.
    """
    names, written = [TEXT, *local], Written.read(text)
    if not written.weights and (written.start or written.over):
        raise UserError(f"guidance {str(written)!r} gives no set of conditions a weight, as all=2.5 does.")
    if not 0 <= written.start < 1:
        raise UserError(f"guidance acts from flow time {written.start:g}, where a number from 0 to below 1 is accepted.")
    over = _condition_set(written.over, names) if written.over else frozenset[str]()
    if len(names) > 1 and over == frozenset(names):
        raise UserError(f"guidance {OVER}={written.over} leaves nothing to exaggerate.")
    return Guidance(_terms(written.weights, over, names), written.start, over)


def _terms(pairs: Iterable[tuple[str, float]], over: frozenset[str], names: list[str]) -> tuple[Term, ...]:
    weights: dict[frozenset[str], float] = {}
    seen: set[frozenset[str]] = set()
    for written, value in pairs:
        conditions, spelling = _condition_set(written, names) | over, frozenset(written.split("+"))
        if spelling in seen:
            raise UserError(f"guidance names the set {written!r} twice.")
        if not abs(value) <= MOST:
            raise UserError(f"guidance gives the set {written!r} the weight {value:g}, where a number from -{MOST} to {MOST} is accepted.")
        seen.add(spelling)
        weights[conditions] = weights.get(conditions, 0.0) + value
    rest = 1.0 - sum(weights.values())
    if not over:
        weights[over] = weights.get(over, 0.0) + rest
    terms = [*(Term(*each) for each in weights.items()), *([Term(over, rest, reference=True)] if over else [])]
    return tuple(term for term in terms if abs(term.weight) > ROUNDING)


def _split(part: str) -> tuple[str, str]:
    name, equals, value = part.partition("=")
    if not equals:
        raise _malformed(part)
    return name, value


def _number(name: str, value: float | str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise _malformed(f"{name}={value}") from None


def _malformed(part: str) -> UserError:
    return UserError(f"guidance part {part!r} is not NAME=WEIGHT, as in 'all=1.5 text=0.5', nor {OVER}=SET or {START}=TIME.")


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
        now = float(t) + ROUNDING
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
