"""Distillation: a student learns to say in one row, and few evaluations, what its teacher says under guidance (`network.student`).

The teacher is the checkpoint that training starts from. A sample draws a guidance weight w (Meng et al. 2022, arXiv 2210.03142) and a step
[t, s] of the student's grid; the teacher's guided field is followed from a point at t to s, and the student regresses the mean velocity on
the way, (z_s - z_t) / (s - t). Where it learns the velocity of the point, t is any time of the step. Steps are as frequent as each other.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from jasco_pl.controls.conditions import Conditions
from jasco_pl.network.flow.guidance import Guidance, Term, parse_guidance
from jasco_pl.network.flow.path import Path as FlowPath
from jasco_pl.network.flow.path import flow_matching_loss
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.network.student import single_weight
from jasco_pl.network.transformer import Context
from jasco_pl.system.draws import uniform
from jasco_pl.system.errors import UserError
from jasco_pl.system.intervals import require
from jasco_pl.system.seeding import stable_hash

Points = Literal["data", "student"]
KEPT = 64  # batches that may be asked again
REMEMBERED = 0.98  # of the usual errors, from batch to batch
NOT_THE_TEACHERS = {"student", "codec", "seconds"}  # of a configuration: what may differ


@dataclass
class DistillConfig:
    """How a student is taught."""

    usual: float = 0.5
    """Share of the samples with the checkpoint's own guidance weight; the others draw one, uniform in its logarithm, from those that the
    student is to know."""
    points: Points = "data"
    """Where the student is taught: at noised data, or at points that its own steps from noise lead to, where its errors lead it too."""
    substeps: int = 1
    """Midpoint steps of the teacher in one of the student's."""
    reuse: int = 1
    """Batches of a process for each that its teacher answers, which costs more than the student: the others repeat one of the last 64."""

    def __post_init__(self) -> None:
        require("[0, 1]", model__distill__usual=self.usual)
        require("[1, 100]", model__distill__substeps=self.substeps, model__distill__reuse=self.reuse)
        if self.points not in get_args(Points):
            raise UserError(f"model.distill.points is {self.points!r}: {', '.join(get_args(Points))} are accepted.")


def check_distillation(config: ModelConfig, folder: str | None, options: DistillConfig | None) -> None:
    """Raise UserError where a model can be no student, or has no teacher."""
    if config.student is None or folder is None or options is None:
        raise UserError("a student wants model.distill, model.config.student, and the checkpoint that it is of by model.start_from.")
    if config.objective != "flow_matching":
        raise UserError(f"a student follows flow_matching, not {config.objective}.")
    usual_guidance(config)


def usual_guidance(config: ModelConfig) -> tuple[float, Guidance]:
    """The checkpoint's own guidance and its weight; raises UserError where it has several, or one that its student is not to know."""
    guidance = parse_guidance(config.guidance, config.controls)
    weight = single_weight(guidance, config.controls)
    if weight is None:
        raise UserError(f"a student knows one weight of all conditions, and this model's guidance is {config.guidance!r}.")
    if config.student is not None and config.student.knows(guidance, config.controls) is None:
        raise UserError(f"the model's guidance {config.guidance!r} is none that model.config.student learns: {config.student}.")
    return weight, guidance


@dataclass(frozen=True)
class Asked:
    """What the student of B samples is asked: its `conditions`, `point` [B, T, C], flow time `t` and guidance `weight` [B]; and the
    teacher's answer, `target` [B, T, C], in the frames of `mask` [B, T]. `step` [B] is the number of the student's step in which t lies.
    """

    conditions: Conditions
    point: Tensor
    t: Tensor
    weight: Tensor
    target: Tensor
    mask: Tensor
    step: Tensor


class Distillation:
    """A teacher, and what its student is to say.

    Args:
        options: how it is taught.
        config: the student's.
        folder: of the teacher.

    Raises:
        UserError: it cannot be read, or is of another configuration than the student.
    """

    def __init__(self, options: DistillConfig, config: ModelConfig, folder: str | Path) -> None:
        assert config.student is not None
        self.options, self.student = options, config.student
        self.usual, guidance = usual_guidance(config)
        self.start = guidance.start
        self.teacher = JascoModel.from_pretrained(folder).requires_grad_(False)
        for name, value in vars(self.teacher.config).items():
            if name not in NOT_THE_TEACHERS and value != getattr(config, name):
                raise UserError(
                    f"model.config.{name} is {getattr(config, name)}, where the teacher {str(folder)!r} has {value}: they are one model."
                )
        self.times = torch.tensor(config.student.times, dtype=torch.float32)
        everything = frozenset({"text", *self.teacher.controls.names})
        self.rows = (Term(everything, 1.0), Term(guidance.over, 0.0, reference=True))
        self._kept: deque[Asked] = deque(maxlen=KEPT)
        self._turns = 0
        self._usual = torch.zeros(2, len(self.times) - 1)  # sums of errors of each step and how many there were, the older the less

    def losses(self, model: JascoModel, asked: Asked, training: bool = False) -> tuple[Tensor, Tensor]:
        """Squared error of the student [B], meaned over channels and frames, and the flow time [B] at which it was asked.

        It is weighed by the length of the step over the mean one: an error of a long step moves the sample farther. In training every step
        counts alike instead, by what its error is over what it usually is: late steps, whose errors are a hundredth of the first one's,
        would learn nothing, and they decide which chord is heard (docs/decisions.md).
        """
        context = model.context(asked.conditions, self.rows[:1], asked.point.shape[1], weight=asked.weight)
        errors = flow_matching_loss(model.velocity(asked.point, asked.t, context), asked.target, asked.mask)
        lengths = self.times.diff()
        share = self._evened(errors.detach(), asked.step) if training else lengths[asked.step] / lengths.mean()
        return share * errors, asked.t

    def _evened(self, errors: Tensor, step: Tensor) -> Tensor:
        """Weights [B] under which all steps have the same mean error, which is the mean over the steps."""
        nothing = torch.zeros(len(self.times) - 1, device=errors.device)
        for usual, now in zip(self._usual, (errors.float(), torch.ones_like(errors, dtype=torch.float32)), strict=True):
            usual.copy_(REMEMBERED * usual + nothing.index_add(0, step, now))
        size = self._usual[0] / self._usual[1]  # NaN of a step that was not asked yet
        return size.nanmean() / size[step]

    @torch.no_grad()
    def ask(
        self, model: JascoModel, path: FlowPath, latents: Tensor, noise: Tensor, conditions: Conditions, keys: Tensor, mask: Tensor
    ) -> Asked:
        """What the student is asked, and the teacher's answers.

        Args:
            model: the student.
            path: between noise and data.
            latents, noise: [B, T, C], normalised.
            conditions: what the student sees; the teacher sees the same, and what its guidance goes out from.
            keys: of the samples.
            mask: true in frames that belong to them, [B, T].
        """
        self._follow(latents)
        weight = self.weights(keys)
        t, end, step = self.steps(keys)
        if self.options.points == "data" or self.student.target == "velocity":
            point = path.point(noise, latents, t)
        else:
            point = self._walked(model, noise, model.context(conditions, self.rows[:1], latents.shape[1], weight=weight), t)
        with torch.autocast(latents.device.type, enabled=False):  # the teacher's weights are in that type
            target = self.target(conditions, weight, point, t, end)
        return Asked(conditions, point, t, weight, target, mask, step)

    def repeated(self) -> Asked | None:
        """What was asked before, where this batch is not to be answered by the teacher; call it once a batch."""
        turn, self._turns = self._turns, self._turns + 1
        return self._kept[stable_hash("reuse", turn) % len(self._kept)] if self._kept and turn % self.options.reuse else None

    def keep(self, asked: Asked) -> None:
        """Have it asked again, where that is done."""
        if self.options.reuse > 1:
            self._kept.append(asked)

    def weights(self, keys: Tensor) -> Tensor:
        """Guidance weight of every sample, [B]."""
        usual, drawn = uniform(keys, "guidance weight", 2).unbind(1)
        least, most = (math.log(weight) for weight in self.student.weights)
        return torch.where(usual < self.options.usual, torch.full_like(drawn, self.usual), torch.exp(least + drawn * (most - least)))

    def steps(self, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Flow time [B] at which every sample is asked, the next of the student's times, and the number of the step between them.

        A batch holds every step as often as every other, as near as its size allows: what a step has learnt is not drowned by another.
        """
        count = len(self.times) - 1
        turn = torch.arange(len(keys), device=keys.device) / len(keys)
        place = (uniform(keys[:1], "flow time")[0, 0] + turn) % 1.0 * count
        step = place.long().clamp(max=count - 1)
        start, end = self.times[step], self.times[step + 1]
        t = start + (place - step) * (end - start) if self.student.target == "velocity" else start
        return t, end, step

    def target(self, conditions: Conditions, weight: Tensor, point: Tensor, t: Tensor, end: Tensor) -> Tensor:
        """What the student is to say at a point [B, T, C]: the guided velocity of the teacher, or its mean until `end`."""
        context = self.teacher.context(conditions, self.rows, point.shape[1])

        def field(z: Tensor, t: Tensor) -> Tensor:
            seen, reference = self.teacher.velocity(z.repeat(2, 1, 1), t.repeat(2), context).chunk(2)
            now = torch.where(t < self.start, torch.ones_like(weight), weight)
            return reference + now[:, None, None] * (seen - reference)

        if self.student.target == "velocity":
            return field(point, t)
        z, step = point, (end - t) / self.options.substeps
        for part in range(self.options.substeps):
            now, width = t + part * step, step[:, None, None]
            z = z + width * field(z + width / 2 * field(z, now), now + step / 2)
        return (z - point) / (end - t)[:, None, None]

    @torch.no_grad()
    def _walked(self, model: JascoModel, noise: Tensor, context: Context, t: Tensor) -> Tensor:
        """Points [B, T, C] at the times t [B] of the student's grid, to which its own steps lead from noise."""
        z = noise
        for now, then in zip(self.times[:-1], self.times[1:], strict=True):
            before = t > now
            if not before.any():
                break
            moved = z + (then - now) * model.velocity(z, now.expand(len(z)), context)
            z = torch.where(before[:, None, None], moved, z)
        return z

    def _follow(self, latents: Tensor) -> None:
        """Let the teacher be where the samples are, in the type in which the student computes."""
        device, kind = latents.device, latents.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        if self.times.device != device or self.teacher.transformer.embed.weight.dtype != dtype:
            self.times, self._usual, self.teacher = self.times.to(device), self._usual.to(device), self.teacher.to(device).cast(dtype)
