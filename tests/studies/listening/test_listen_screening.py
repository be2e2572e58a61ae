"""Simulated raters: those who do not listen are found, honest ones stay, and the means that are known come out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from simulate import SPAMMERS, World, simulate

from jasco_pl.studies.listening.analysis import Rules, estimate, others_means, screen
from jasco_pl.studies.listening.study import raters_of, score_matrix

WORLDS = {
    "plain": (World(), 20),
    "five clips": (World(clips=5), 10),
    "equal systems": (World(means={"a": 60, "b": 60, "c": 60}, clip=2), 20),
    "strict and mild raters": (World(raters=12), 20),
    "four of thirty clips each": (World(clips=30, per_rater=4), 40),
    "two questions": (World(questions=("quality", "text")), 20),
}


@pytest.mark.parametrize("name", WORLDS)
def test_spammers_are_found_and_honest_raters_stay(name: str):
    world, honest = replace(WORLDS[name][0], slip=0), WORLDS[name][1]
    kept, total = Counter(), Counter()
    for seed in range(8):
        for judgement in screen(simulate(world, honest, dict.fromkeys(SPAMMERS, 1), seed), Rules()):
            kind = judgement.rater.split("-")[0]
            total[kind] += 1
            kept[kind] += judgement.removed_by is None
    assert kept["honest"] / total["honest"] > 0.98
    assert sum(kept[kind] for kind in SPAMMERS) <= 0.03 * sum(total[kind] for kind in SPAMMERS)


def test_each_rule_finds_its_own_kind():
    judgements = screen(simulate(World(slip=0), 20, dict.fromkeys(SPAMMERS, 2), seed=3), Rules())
    found = {judgement.rater: judgement.removed_by for judgement in judgements}
    rules = {"constant": "reference", "generous": "correlation", "random": "reference", "sly": "deviation", "deaf": "listened"}
    for kind, rule in {**rules, "reversed": "reference"}.items():
        assert {found[f"{kind}-{number}"] for number in range(2)} == {rule}
    assert all(found[f"honest-{number}"] is None for number in range(20))
    assert all(judgement.why for judgement in judgements if judgement.removed_by)


def test_a_third_of_spammers_changes_the_means_only_until_they_are_screened():
    world, truth, near, far = World(clip=0.0, raters=4.0), {"good": 70.0, "fair": 55.0, "poor": 35.0}, 0, 0
    for seed in range(10):
        ratings = simulate(world, 14, {"random": 2, "reversed": 2, "constant": 2, "sly": 1}, seed)
        left = [judgement.rater for judgement in screen(ratings, Rules()) if judgement.removed_by is None]
        clips = [(f"clip{number}",) for number in range(world.clips)]
        for system, mean in truth.items():
            own = [rating for rating in ratings if rating.system == system]
            found = estimate(score_matrix(own, left, clips, ("clip",)))
            everybody = estimate(score_matrix(own, raters_of(ratings), clips, ("clip",)))
            near += found.low <= mean <= found.high
            far += abs(everybody.mean - mean) > 2 * abs(found.mean - mean)
    assert near >= 26  # of 30, at 95 %
    assert far >= 18


def test_rules_have_their_bounds():
    honest = simulate(World(slip=0, clips=8), 10, seed=1)

    def judged(change: dict, count: int, rules: Rules | None = None) -> str | None:
        """What becomes of a rater who is changed in the first `count` answers about the reference."""
        changed, left = [], count
        for rating in honest:
            if rating.rater == "honest-0" and rating.system == "reference" and left:
                rating, left = replace(rating, **change), left - 1
            changed.append(rating)
        return next(judgement.removed_by for judgement in screen(changed, rules or Rules()) if judgement.rater == "honest-0")

    assert judged({"listened": 0.95}, 1) is None
    assert judged({"listened": 0.94}, 1) == "listened"
    assert judged({"score": 90}, 8) is None
    assert judged({"score": 89}, 1) is None  # one of eight: 12.5 %
    assert judged({"score": 89}, 2) == "reference"
    assert judged({"score": 89}, 2, Rules(reference_slips=0.3)) is None
    assert judged({"score": 89, "question": "text"}, 8) is None  # a recording need not match its caption


def test_two_raters_are_not_played_off_against_each_other():
    assert all(judgement.removed_by is None for judgement in screen(simulate(World(slip=0), 1, {"generous": 1}), Rules()))


def test_the_others_means_leave_a_rater_out():
    scores = np.array([[1.0, np.nan, 5.0], [3.0, 4.0, np.nan], [8.0, 6.0, np.nan]])
    expected = [[5.5, np.nan, np.nan], [4.5, 6.0, np.nan], [2.0, 4.0, np.nan]]
    np.testing.assert_allclose(others_means(scores), expected)
