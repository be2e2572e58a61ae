"""Whether a finding of the paper shows in our figures: said by an interval, never by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from jasco_pl.reproduction.claims import Claim, Finding
from jasco_pl.reproduction.paper import HIGHER_IS_BETTER
from jasco_pl.reproduction.scores import Difference, Scores, difference

COMPARABLE = 0.25
"""How much worse, as a share of the model it is compared with, a figure may be and still count as comparable. The paper calls its own FAD,
KL and CLAP "mostly comparable" where, on MusicCaps, KL is up to 23 % and FAD up to 20 % worse than without controls."""


class Outcome(Enum):
    """What can be said of a finding."""

    AGREES = "agrees"
    CONTRARY = "does not reproduce"
    UNDECIDED = "undecided at this budget"
    NOT_RUN = "not run yet"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Verdict:
    """A finding, what can be said of it, and the figures behind."""

    claim: Claim
    outcome: Outcome
    one: float | None = None
    other: float | None = None
    difference: Difference | None = None


def judge(claim: Claim, scores: Mapping[str, Scores]) -> Verdict:
    """Compare our two models as the finding compares the paper's.

    "Better": agrees if the whole interval of the difference lies on the paper's side of nothing and the difference of every seed does,
    contrary if all of it lies on the other side. "Comparable": agrees if the whole interval is less than `COMPARABLE` worse, contrary if
    all of it is more.
    """
    if claim.one not in scores or claim.other not in scores:
        return Verdict(claim, Outcome.NOT_RUN)
    one, other = scores[claim.one], scores[claim.other]
    found = difference(one, other, claim.column)
    if found is None:
        return Verdict(claim, Outcome.NOT_MEASURED)
    of_other = other.figure(claim.column).mean
    outcome = decide(claim, found, of_other)
    return Verdict(claim, outcome, one.figure(claim.column).mean, of_other, found)


def decide(claim: Claim, found: Difference, of_other: float) -> Outcome:
    """The rule of `judge`, given the difference and the figure of the model that is compared with."""
    sign = 1.0 if HIGHER_IS_BETTER[claim.column] else -1.0
    worst, best = sorted((sign * found.low, sign * found.high))
    bound = 0.0 if claim.finding is Finding.BETTER else -COMPARABLE * abs(of_other)
    if worst > bound and all(sign * value > bound for value in found.by_seed):
        return Outcome.AGREES
    return Outcome.CONTRARY if best < bound else Outcome.UNDECIDED
