"""Raters with known habits: honest ones, whose systems' means are known, and those whom screening should find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from jasco_pl.studies.listening.study import REFERENCE, Rating

SPAMMERS = ("constant", "generous", "random", "sly", "deaf", "reversed")


@dataclass(frozen=True)
class World:
    """What is true: a system's mean, and the standard deviations of raters, of a system's clips, and of a rater's single answers."""

    means: Mapping[str, float] = field(default_factory=lambda: {"good": 70.0, "fair": 55.0, "poor": 35.0})
    clips: int = 10
    raters: float = 6.0
    clip: float = 6.0
    noise: float = 9.0
    slip: float = 0.04  # how often an honest rater gives the reference less than 90
    questions: tuple[str, ...] = ("quality",)
    per_rater: int | None = None


def simulate(world: World, honest: int, spammers: Mapping[str, int] | None = None, seed: int = 0) -> list[Rating]:
    """Answers of `honest` raters (named honest-0 ...) and of spammers by kind (random-0 ...)."""
    draw = np.random.default_rng(seed)
    shifts = draw.normal(0, world.clip, (len(world.means), world.clips))
    ratings = []
    for kind, count in {"honest": honest, **(spammers or {})}.items():
        for number in range(count):
            bias, noise = draw.normal(0, world.raters), world.noise * draw.uniform(0.7, 1.3)
            heard = draw.permutation(world.clips)[: world.per_rater]
            for question in world.questions:
                for clip in heard:
                    for index, system in enumerate([*world.means, REFERENCE]):
                        if system == REFERENCE:
                            score = draw.uniform(70, 90) if draw.random() < world.slip else draw.uniform(90, 100)
                        else:
                            score = world.means[system] + bias + shifts[index, clip] + draw.normal(0, noise)
                        score = _as(kind, system, float(score), draw)
                        listened = draw.uniform(0.1, 0.6) if kind == "deaf" else draw.uniform(0.97, 1.0)
                        ratings.append(
                            Rating(
                                f"{kind}-{number}", f"clip{clip}", system, question, float(np.clip(round(score), 0, 100)), listened, 60, ""
                            )
                        )
    return ratings


def _as(kind: str, system: str, score: float, draw: np.random.Generator) -> float:
    """A spammer's answer where an honest rater would give `score`."""
    if kind == "constant":
        return 50
    if kind == "generous":  # passes the reference, hears nothing
        return 95
    if kind == "random" or (kind == "sly" and system != REFERENCE):  # sly: knows the reference, guesses the rest
        return draw.uniform(0, 100)
    return 100 - score if kind == "reversed" else score
