from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from jasco_pl.studies.paper.plan import CHORDS, CLAP, FRECHET, KL, Claim, Finding
from jasco_pl.studies.paper.results import Difference, Outcome, Scores, decide, difference, judge

RAISES = Claim("Table 2", "chords raise chord IoU", "chords", "text_only", CHORDS)
LOWERS = Claim("Table 4", "concatenation has a lower FAD", "chords", "text_only", FRECHET)
KEEPS = Claim("Table 2", "KL stays comparable", "chords", "text_only", KL, Finding.COMPARABLE)


@pytest.mark.parametrize(
    ("claim", "low", "high", "by_seed", "outcome"),
    [
        (RAISES, 0.1, 0.3, (0.2,), Outcome.AGREES),
        (RAISES, -0.01, 0.3, (0.2,), Outcome.UNDECIDED),
        (RAISES, 0.0, 0.0, (0.0,), Outcome.UNDECIDED),
        (RAISES, -0.3, -0.1, (-0.2,), Outcome.CONTRARY),
        (RAISES, 0.1, 0.3, (0.5, -0.1), Outcome.UNDECIDED),  # the interval is that of the clips: a seed that says otherwise counts
        (LOWERS, -3.0, -1.0, (-2.0,), Outcome.AGREES),
        (LOWERS, 1.0, 3.0, (2.0,), Outcome.CONTRARY),
        (KEEPS, -0.3, 0.4, (0.1,), Outcome.AGREES),  # of 2.0: less than 0.5 more
        (KEEPS, 0.4, 0.6, (0.49,), Outcome.UNDECIDED),
        (KEEPS, 0.6, 0.9, (0.7,), Outcome.CONTRARY),
    ],
)
def test_decide(claim: Claim, low: float, high: float, by_seed: tuple[float, ...], outcome: Outcome) -> None:
    assert decide(claim, Difference((low + high) / 2, low, high, by_seed), 2.0) is outcome


def test_judge_pairs_clips(made_up: Callable[..., Scores]) -> None:
    """A difference far smaller than the scatter of the clips is found, because every clip is compared with itself."""
    verdict = judge(RAISES, {"chords": made_up(chord_iou=0.31), "text_only": made_up(chord_iou=0.3)})
    assert verdict.outcome is Outcome.AGREES
    assert verdict.difference is not None
    assert verdict.difference.mean == pytest.approx(0.01)
    assert verdict.one == pytest.approx(0.31, abs=0.05)


def test_judge_of_what_is_not_there(made_up: Callable[..., Scores]) -> None:
    assert judge(RAISES, {"chords": made_up()}).outcome is Outcome.NOT_RUN
    deaf = Claim("Table 5", "CLAP", "chords", "text_only", CLAP)
    assert judge(deaf, {"chords": made_up(), "text_only": made_up()}).outcome is Outcome.NOT_MEASURED


def test_clips_without_a_figure_in_either_do_not_count() -> None:
    one = Scores({CHORDS: np.array([[0.5, np.nan, 0.5, np.nan]])}, [], "", {})
    other = Scores({CHORDS: np.array([[0.5, 0.0, 0.5, 0.0]])}, [], "", {})
    found = difference(one, other, CHORDS)
    assert found is not None
    assert (found.mean, found.by_seed) == (0.0, (0.0,))
    alone = Scores({CHORDS: np.array([[0.4, np.nan, np.nan, np.nan]])}, [], "", {})
    found = difference(one, alone, CHORDS)
    assert found is not None
    assert decide(RAISES, found, 0.4) is Outcome.UNDECIDED  # one clip proves nothing
    assert difference(one, Scores({CHORDS: np.full((1, 4), np.nan)}, [], "", {}), CHORDS) is None


def test_frechet_difference_and_its_interval(made_up: Callable[..., Scores]) -> None:
    """Sets that are moved by s in each of 8 dimensions lie 8 s^2 away, with the same covariance, whichever clip is left out."""
    far, near = made_up(shift=0.2), made_up(shift=0.1)
    found = difference(far, near, FRECHET)
    assert found is not None
    assert found.mean == pytest.approx(8 * (0.04 - 0.01), rel=1e-3)
    assert found.low == pytest.approx(found.mean, rel=1e-2)
    assert judge(LOWERS, {"chords": near, "text_only": far}).outcome is Outcome.AGREES


def test_jackknife_gives_the_textbook_error_of_a_mean() -> None:
    """Of one-dimensional sets with equal spread the distance is the squared difference of means, whose error is known."""
    draw = np.random.default_rng(1)
    reference = [{"musicnn": draw.normal(size=(20, 8)).astype(np.float32)} for _ in range(30)]
    offsets = draw.normal(0.5, 0.1, 30)
    moved = [{"musicnn": one["musicnn"] + np.float32(offset)} for one, offset in zip(reference, offsets, strict=True)]
    one = Scores({}, [(moved, reference)], "musicnn", {})
    other = Scores({}, [(reference, reference)], "musicnn", {})
    found = difference(one, other, FRECHET)
    assert found is not None
    # d = 8 m^2 for the mean m of the offsets (their spread adds little): its error is 16 m times that of m
    expected = 16 * offsets.mean() * offsets.std(ddof=1) / np.sqrt(30)
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(expected, rel=0.25)


def test_figures_over_seeds(made_up: Callable[..., Scores]) -> None:
    scores = made_up(seeds=2)
    assert scores.figure(CHORDS).mean == pytest.approx(np.mean(scores.by_seed(CHORDS)))
    assert scores.figure(CHORDS).clips == 24
    assert scores.figure(CLAP).missing == "no weights of CLAP are here."
