"""How the flow is integrated, as a user says it; without torch, so that a command line is quick to say what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from jasco_pl.system.errors import UserError

if TYPE_CHECKING:
    from jasco_pl.network.flow.path import Path

Method = Literal["auto", "euler", "midpoint", "heun", "dopri5", "ddim"]


@dataclass(frozen=True)
class SolverConfig:
    """How the flow's equation is integrated from t = 0 to t = 1."""

    method: Method = "auto"
    """euler (1 evaluation a step), midpoint or heun (2), dopri5 (adaptive, the paper's), ddim (1; models of v-diffusion alone); auto is
    what belongs to the model's objective: midpoint for flow matching, ddim for v-diffusion."""
    steps: int = 10
    """Steps of the fixed-step methods."""
    tolerance: float = 1e-5
    """Relative and absolute tolerance of dopri5."""

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise UserError(f"solver {self.method!r} is unknown: {', '.join(get_args(Method))} are accepted.")
        if self.steps < 1:
            raise UserError(f"steps must be at least 1, not {self.steps}.")
        if not 0 < self.tolerance < 1:
            raise UserError(f"tolerance must lie between 0 and 1, not {self.tolerance}.")

    def resolved(self, path: Path) -> SolverConfig:
        """The same with "auto" replaced by the path's own sampler.

        Raises:
            UserError: DDIM for a model of flow matching.
        """
        if self.method == "ddim" and path.sampler != "ddim":
            raise UserError("the solver 'ddim' samples models of v-diffusion, and this one was trained by flow matching; 'auto' finds one.")
        return replace(self, method=path.sampler) if self.method == "auto" else self
