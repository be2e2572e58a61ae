"""A student of a model: what its teacher says under guidance, in one row and few evaluations.

The student is the teacher with low-rank additions to its linear layers (LoRA, Hu et al. 2021, arXiv 2106.09685) and one more input, the
guidance weight (Meng et al. 2022, arXiv 2210.03142, section 3.1). Both begin at zero, where it says what the teacher says without guidance.
Under `mean_velocity` it says at each of its `times` the mean velocity until the next one, as a shortcut model does for one grid of steps
(Frans et al. 2024, arXiv 2410.12557), so that Euler's method follows the curve; under `velocity` that of the point, for midpoint steps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from jasco_pl.network.flow.config import SolverConfig
from jasco_pl.network.flow.guidance import OVER, ROUNDING, START, TEXT, Guidance, Written, parse_guidance
from jasco_pl.system.errors import UserError
from jasco_pl.system.intervals import require

Target = Literal["mean_velocity", "velocity"]

STUDENT_FILES = CONFIG_FILE, WEIGHTS_FILE = "student.json", "student.safetensors"
"""In the folder of its teacher."""
FREQUENCIES, HIDDEN = 16, 128  # of the guidance weight's logarithm


@dataclass
class StudentConfig:
    """What a student is beside its teacher's configuration."""

    times: list[float]
    """Flow times from 0 to 1 between which its steps lie."""
    rank: int = 24
    """Of the additions to each linear layer."""
    target: Target = "mean_velocity"
    """What it says: mean_velocity from one of its times to the next (an evaluation a step), or the velocity of the point (two)."""
    weights: tuple[float, float] = (1.0, 4.0)
    """Least and largest guidance weight that it has learnt."""
    over: str = ""
    """What the reference of that guidance sees, as in `over=text`; empty: nothing."""
    start: float = 0.0
    """The flow time from which that guidance acts, as in `from=0.05`."""

    def __post_init__(self) -> None:
        check_times(self.times, "times of a student")
        require("[1, 4096]", rank__of__the__student=self.rank)
        if self.target not in get_args(Target):
            raise UserError(f"the student's target {self.target!r} is unknown: {', '.join(get_args(Target))} are accepted.")
        least, most = self.weights
        self.weights = (least, most)  # a list where it was read from YAML
        if not 0 < least <= most < math.inf:
            raise UserError(f"the guidance weights of a student are two positive numbers, the least first, not {list(self.weights)}.")

    def knows(self, guidance: Guidance, controls: Iterable[str]) -> float | None:
        """The weight of a guidance of a model with these local controls that it has learnt, else None."""
        controls = list(controls)
        weight, learnt = single_weight(guidance, controls), parse_guidance({"all": 1.0, OVER: self.over, START: self.start}, controls)
        if weight is None or not self.weights[0] <= weight <= self.weights[1]:
            return None
        same = guidance.over == learnt.over and math.isclose(guidance.start, learnt.start, abs_tol=ROUNDING)
        return weight if same or weight == 1 else None  # the conditions alone, over and from whatever

    def __str__(self) -> str:
        options = str(Written((), self.start, self.over))
        return f"{' '.join(filter(None, ['all=W', options]))} alone, with W from {self.weights[0]:g} to {self.weights[1]:g}"

    @property
    def solver(self) -> SolverConfig:
        """How it is sampled, with its own times as the fitted ones."""
        return SolverConfig("euler" if self.target == "mean_velocity" else "midpoint", len(self.times) - 1, times="fitted")


def check_times(times: list[float], name: str = "times") -> None:
    """Raise UserError where times do not ascend from 0 to 1."""
    ascending = all(first < second for first, second in itertools.pairwise(times))
    if len(times) < 2 or (times[0], times[-1]) != (0, 1) or not ascending:
        raise UserError(f"{name} must ascend from 0 to 1, not {times}.")


class LowRank(nn.Linear):
    """A linear layer [.., in] -> [.., out] whose weight stays as it is, with a product of two narrow matrices beside it."""

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        rank = min(rank, self.in_features, self.out_features)
        self.down = nn.Parameter(torch.randn(rank, self.in_features) / math.sqrt(self.in_features))
        self.up = nn.Parameter(torch.zeros(self.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + functional.linear(functional.linear(x, self.down.to(x.dtype)), self.up.to(x.dtype))

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """An ordinary layer that says the same."""
        linear = nn.Linear(self.in_features, self.out_features, bias=False)
        linear.weight = nn.Parameter(self.weight + self.up @ self.down, requires_grad=False)
        linear.bias = self.bias
        return linear


class GuidanceEmbedding(nn.Module):
    """Guidance weight [B] -> what is added to the embedding of flow time, [B, width]; zero at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * FREQUENCIES, HIDDEN)
        self.output = nn.Linear(HIDDEN, width)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, weight: Tensor) -> Tensor:
        angle = weight.float().log()[:, None] * torch.arange(1, FREQUENCIES + 1, device=weight.device) * (math.pi / 4)
        features = torch.cat([angle.sin(), angle.cos()], dim=-1).to(self.hidden.weight.dtype)
        return self.output(functional.silu(self.hidden(features)))


def single_weight(guidance: Guidance, controls: Iterable[str]) -> float | None:
    """The weight w of a guidance that is `all=w` alone, over whatever and from whenever, for a model with these controls; else None."""
    weights = {term.conditions: term.weight for term in guidance.terms if term.conditions and not term.reference}
    weight = weights.pop(frozenset({TEXT, *controls}), None)
    return None if weights else weight


def linear_layers(transformer: nn.Module, kind: type[nn.Linear]) -> list[tuple[nn.Module, str, nn.Linear]]:
    """Parent, name and layer of all that are exactly of a kind, but for those of flow time, which sees one vector a row."""
    return [
        (parent, name, layer)
        for parent in list(transformer.modules())
        for name, layer in parent.named_children()
        if type(layer) is kind and parent is not transformer.time_embedding
    ]


def add_student(transformer: nn.Module, config: StudentConfig) -> None:
    """Add what a student learns to a Transformer, and freeze all else."""
    transformer.requires_grad_(False)
    for parent, name, layer in linear_layers(transformer, nn.Linear):
        setattr(parent, name, LowRank(layer, config.rank))
    transformer.guidance = GuidanceEmbedding(transformer.config.width)  # type: ignore[union-attr,arg-type]


def merge_student(transformer: nn.Module) -> None:
    """Let the additions become part of the weights, which costs nothing at each evaluation."""
    for parent, name, layer in linear_layers(transformer, LowRank):
        setattr(parent, name, layer.merged())  # type: ignore[operator]


def is_student_weight(name: str) -> bool:
    """Whether a name in a model's state is of what its student adds."""
    return name.endswith((".down", ".up")) or name.startswith("transformer.guidance.")
