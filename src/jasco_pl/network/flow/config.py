"""How the flow is integrated, as a user says it; without torch, so that a command line is quick to say what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from jasco_pl.system.errors import UserError

if TYPE_CHECKING:
    from jasco_pl.network.flow.path import Path

Times = Literal["uniform", "fitted"]
Quality = Literal["fast", "balanced", "reference"]
Method = Literal["auto", "euler", "midpoint", "heun", "dopri5", "ddim"]

QUALITIES: dict[Quality, tuple[int, int]] = {"fast": (4, 6), "balanced": (6, 10), "reference": (32, 64)}
"""Steps with times that were fitted to the model, and without."""
PER_STEP: dict[Method, int] = {"euler": 1, "midpoint": 2, "heun": 2}
"""Evaluations of the network a step, of the methods that take fitted times."""

MOST_STEPS = 10_000  # hours for a clip; more can only be a mistake


@dataclass(frozen=True)
class SolverConfig:
    """How the flow's equation is integrated from t = 0 to t = 1."""

    method: Method = "auto"
    """euler (1 evaluation a step), midpoint or heun (2), dopri5 (adaptive, the paper's), ddim (1; models of v-diffusion alone); auto is
    what belongs to the model's objective: midpoint for flow matching, ddim for v-diffusion."""
    steps: int | None = None
    """Steps of the fixed-step methods; None is what the quality `balanced` stands for: 12 evaluations on fitted times, else 10 steps."""
    tolerance: float = 1e-5
    """Relative and absolute tolerance of dopri5."""
    times: Times = "fitted"
    """Where the steps of euler, midpoint and heun lie: as they were fitted to the model (`ModelConfig.times`), where it has such times, or
    equally long."""
    student: bool = False
    """Take the checkpoint's student, its own steps and one row of guidance, where it has one and the guidance is `all=w` alone: all else
    here is for where it does not."""

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise UserError(f"solver {self.method!r} is unknown: {', '.join(get_args(Method))} are accepted.")
        if self.times not in get_args(Times):
            raise UserError(f"times {self.times!r} are unknown: {', '.join(get_args(Times))} are accepted.")
        if self.steps is not None and not 1 <= self.steps <= MOST_STEPS:
            raise UserError(f"steps must be from 1 to {MOST_STEPS}, not {self.steps}.")
        if not 0 < self.tolerance < 1:
            raise UserError(f"tolerance must lie between 0 and 1, not {self.tolerance}.")

    @classmethod
    def of(cls, quality: Quality, fitted: bool) -> SolverConfig:
        """What a quality stands for, by the model's own sampler, for models with or without fitted times (docs/performance.md)."""
        if quality not in QUALITIES:
            raise UserError(f"the quality {quality!r} is unknown: {', '.join(QUALITIES)} are accepted.")
        return cls(steps=QUALITIES[quality][0 if fitted else 1], times="fitted", student=quality == "fast")

    def heeded(self) -> SolverConfig:
        """The same, where all that is said counts.

        Raises:
            UserError: steps or their places for dopri5, which chooses them itself; a tolerance for another method.
        """
        default = SolverConfig()
        if self.method == "dopri5" and (self.steps, self.times) != (default.steps, default.times):
            raise UserError("dopri5 chooses its steps by its tolerance: leave steps and times out, or take another solver.")
        if self.method != "dopri5" and self.tolerance != default.tolerance:
            raise UserError(f"the tolerance is dopri5's alone, and the solver is {self.method!r}: leave it out, or say --solver dopri5.")
        return self

    def resolved(self, path: Path, fitted: bool) -> SolverConfig:
        """The same with "auto" and None replaced by what they stand for, and with uniform times where there are none that were fitted.

        Args:
            path: what the model was trained on.
            fitted: whether the model has fitted times.

        Raises:
            UserError: DDIM for a model of flow matching.
        """
        if self.method == "ddim" and path.sampler != "ddim":
            raise UserError("the solver 'ddim' samples models of v-diffusion, and this one was trained by flow matching; 'auto' finds one.")
        method = path.sampler if self.method == "auto" else self.method
        takes = fitted and self.times == "fitted" and method in PER_STEP
        times: Times = "fitted" if takes else "uniform"
        return replace(self, method=method, steps=self.steps or usual_steps(method, times), times=times)


def usual_steps(method: Method, times: Times) -> int:
    """Steps of a method where nothing is said."""
    fitted, uniform = QUALITIES["balanced"]
    return uniform if times == "uniform" else fitted * PER_STEP["midpoint"] // PER_STEP[method]
