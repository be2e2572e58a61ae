"""What samples a request: the model itself with as many rows as its guidance has terms, or its student with one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from jasco_pl.generation.velocity import Velocity
from jasco_pl.network.flow.guidance import Guidance, Term
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.network.student import StudentConfig, single_weight
from jasco_pl.network.student_file import has_student, load_student, read_student


class Student:
    """The student in a checkpoint's folder; its weights are read when it is first asked for.

    Args:
        folder: of the checkpoint.
        teacher: whose device and type it has.
        graphs: as for `Velocity`.

    Raises:
        UserError: its configuration cannot be read; later, its weights.
    """

    def __init__(self, folder: Path, teacher: JascoModel, graphs: bool) -> None:
        self.folder, self.config = folder, read_student(folder)
        self._teacher, self._graphs = teacher, graphs

    @classmethod
    def find(cls, folder: str | Path, teacher: JascoModel, graphs: bool) -> Student | None:
        """The student of a folder that has one."""
        return cls(Path(folder), teacher, graphs) if has_student(folder) else None

    @cached_property
    def velocity(self) -> Velocity:
        """Its velocity."""
        weight = self._teacher.transformer.embed.weight
        return Velocity(load_student(self.folder).to(weight.device).cast(weight.dtype), self._graphs)


@dataclass(frozen=True)
class Sampler:
    """How a request is sampled.

    Attributes:
        velocity: of the network that is evaluated.
        guidance: its terms, a row each, and from when on.
        solver: method and steps.
        times: between which fitted steps lie.
        weight: that a student is told; None for a model with guidance.
        note: why it is no student, where one was asked for and is there.
    """

    velocity: Velocity
    guidance: Guidance
    solver: SolverConfig
    times: Sequence[float] | None
    weight: float | None = None
    note: str | None = None

    @classmethod
    def of(cls, velocity: Velocity, student: Student | None, guidance: Guidance, solver: SolverConfig, varied: bool = False) -> Sampler:
        """The one for a guidance and a solver.

        Args:
            velocity: of the model.
            student: of its checkpoint, if it has one.
            guidance: what was asked for.
            solver: what was asked for.
            varied: the clips begin at recordings, and so at a time that is none of a student's.
        """
        config, alone = velocity.model.config, replace(solver, student=False)
        if config.student is not None:  # a student as it is trained
            return cls._student(velocity, config, config.student, single_weight(guidance, config.controls) or 1.0)
        if student is None or not solver.student:
            return cls(velocity, guidance, alone.resolved(velocity.model.path, config.times is not None), config.times)
        weight = student.config.knows(guidance, config.controls)
        if weight is not None and not varied:
            return cls._student(student.velocity, config, student.config, weight)
        why = "begins at noise alone" if varied else f"knows {student.config}"
        note = f"made by the model with its own guidance: its quicker student {why}"
        return cls(velocity, guidance, alone.resolved(velocity.model.path, config.times is not None), config.times, note=note)

    @classmethod
    def _student(cls, velocity: Velocity, config: ModelConfig, student: StudentConfig, weight: float) -> Sampler:
        everything = frozenset({"text", *config.controls})
        return cls(velocity, Guidance((Term(everything, 1.0),)), replace(student.solver, student=True), student.times, weight)
