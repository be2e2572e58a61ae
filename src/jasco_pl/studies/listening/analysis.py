"""What a listening test says: means of rated systems with intervals that count both raters and clips as drawn at random, and the report.

Every score is taken as mean + rater + clip + rest, each random with a variance of its own: the model of CrowdMOS (Ribeiro et al.,
ICASSP 2011, section 3). An interval over the raters alone would hold for these very clips only, one over all scores would take a rater's
thirty answers for thirty raters.

Who is left out of the means (paper, section 4.1): docs/listening.md has the four rules in the order in which they are applied, each to the
raters whom the former ones left. Why they are as they are:

reference    all questions but the text's, where the reference is the top of the scale by definition. The paper names the 90; the 15 % are
             ITU-R BS.1534-3's, section 4.1.2, for the same rule. Of four to six cases one slip would be more than 15 % already.
correlation  0.25 is CrowdMOS's. The worst goes first and the means are taken anew, so that bad raters do not drag good ones along.
deviation    how much stricter or milder than others a rater is (the median of the deviations) is no fault, and intervals allow for it. In
             place of the outlier rule of tools after CrowdMOS (more than 5 % of the scores more than 2.5 standard deviations away), which
             removed up to 4 of 20 simulated raters who were merely a third less steady than others.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from jasco_pl.metrics.report import aligned_table
from jasco_pl.studies.listening.study import ANCHOR, FINISHED, QUESTIONS, REFERENCE, Key, Rating, raters_of, score_matrix
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import write_json, write_text

METHOD = (
    "Means with 95 % intervals for other raters and other clips of the same kind: a t-interval under the model score = mean + rater + clip "
    "+ rest, all three random (Ribeiro et al., CrowdMOS, ICASSP 2011; variances from pairs of scores, Satterthwaite's degrees of freedom). "
    "Differences are taken within a rater and clip, so that neither strict raters nor hard clips count; p is that of the same t, adjusted "
    "for the number of pairs of a question (Holm 1979)."
)


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval (NaN where it is not known), with what it rests on."""

    mean: float
    low: float
    high: float
    ratings: int
    raters: int
    clips: int
    p: float = math.nan  # of the mean being zero; of use for differences


def estimate(scores: np.ndarray, level: float = 0.95) -> Estimate:
    """Mean of scores [raters, clips] (NaN: not rated) and its t-interval.

    The three variances come from pairs of scores of one rater, of one clip, and of neither, which is unbiased however unevenly clips are
    spread over raters (and equals the analysis of variance where everybody rated everything); the degrees of freedom are Satterthwaite's.
    With one clip the interval holds for that clip; with one rater there is none.
    """
    scores = scores[~np.isnan(scores).all(1)]
    scores = scores[:, ~np.isnan(scores).all(0)]
    raters, clips = scores.shape
    given = ~np.isnan(scores)
    total = int(given.sum())
    if not total:
        return Estimate(math.nan, math.nan, math.nan, 0, 0, 0)
    mean = float(scores[given].mean())
    if raters < 2:
        return Estimate(mean, math.nan, math.nan, total, raters, clips)
    by_rater, by_clip, rest = _variances(np.nan_to_num(scores - mean), given)
    shared_rater, shared_clip = float((given.sum(1) ** 2).sum()) / total**2, float((given.sum(0) ** 2).sum()) / total**2
    noise = rest / total
    of_raters, of_clips = by_rater * shared_rater + noise, by_clip * shared_clip + noise
    variance = of_raters + of_clips - noise
    if variance <= 0:
        return Estimate(mean, mean, mean, total, raters, clips, p=1.0 if mean == 0 else 0.0)
    spent = of_raters**2 / (raters - 1)
    if clips > 1:
        spent += of_clips**2 / (clips - 1) + noise**2 / max(1, total - raters - clips + 1)
    freedom = max(1.0, variance**2 / spent)
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(variance)
    p = float(2 * stats.t.sf(abs(mean) / math.sqrt(variance), freedom))
    return Estimate(mean, mean - half, mean + half, total, raters, clips, p)


def _variances(centred: np.ndarray, given: np.ndarray) -> tuple[float, float, float]:
    """Variances of raters, clips and the rest, from half the mean squared difference of pairs of scores; none below zero.

    Where nobody rated two clips, or no clip was rated twice, the rest cannot be told from raters or clips and is counted there.
    """

    def pairs(axis: int | None) -> tuple[float, float]:
        """Sum of squared differences and number of the pairs inside every rater (1), clip (0), or of all (None)."""
        count, sums, squares = given.sum(axis), centred.sum(axis), (centred**2).sum(axis)
        return float(np.sum(count * squares - sums**2)), float(np.sum(count * (count - 1))) / 2

    def half_mean(squares: float, count: float) -> float:
        return squares / count / 2 if count else math.nan

    in_rater, in_clip, everywhere = pairs(1), pairs(0), pairs(None)
    same_rater, same_clip = half_mean(*in_rater), half_mean(*in_clip)  # clips + rest, raters + rest
    apart = half_mean(*(whole - a - b for whole, a, b in zip(everywhere, in_rater, in_clip, strict=True)))  # all three
    if math.isnan(same_rater):
        if math.isnan(same_clip):
            return apart, 0.0, 0.0
        return same_clip, 0.0 if math.isnan(apart) else max(0.0, apart - same_clip), 0.0
    if math.isnan(same_clip):
        return max(0.0, apart - same_rater), same_rater, 0.0
    return max(0.0, apart - same_rater), max(0.0, apart - same_clip), max(0.0, same_rater + same_clip - apart)


def holm(values: list[float]) -> list[float]:
    """P-values adjusted for their number (Holm 1979); NaN stays."""
    known = sorted((value, number) for number, value in enumerate(values) if not math.isnan(value))
    adjusted, highest = list(values), 0.0
    for rank, (value, number) in enumerate(known):
        highest = max(highest, min(1.0, value * (len(known) - rank)))
        adjusted[number] = highest
    return adjusted


RULES = {
    "listened": "did not hear a recording to its end (paper)",
    "reference": "rated the hidden reference too low (paper; tolerance of ITU-R BS.1534-3)",
    "correlation": "scores unrelated to the other raters' (CrowdMOS)",
    "deviation": "erratic: scores far from the other raters' (after CrowdMOS)",
}


@dataclass(frozen=True)
class Rules:
    """Parameters of the rules; where they come from stands in the module's text."""

    listened: float = FINISHED
    reference: float = 90.0
    reference_slips: float = 0.15
    correlation: float = 0.25
    deviation: float = 1.75
    fewest: int = 6  # scores that others rated too: with fewer, correlation and deviation say nothing of a rater


@dataclass(frozen=True)
class Judgement:
    """One rater: how many answers, which rule removed them (None: kept), and the figure that it went by."""

    rater: str
    ratings: int
    removed_by: str | None = None
    why: str = ""


def screen(ratings: Sequence[Rating], rules: Rules | None) -> list[Judgement]:
    """Judge every rater, in the order of their names; None removes nobody."""
    removed: dict[str, tuple[str, str]] = {}
    if rules is not None:
        for rule, judge in (("listened", _listened), ("reference", _reference), ("correlation", _correlation), ("deviation", _deviation)):
            left = [rating for rating in ratings if rating.rater not in removed]
            removed |= {rater: (rule, why) for rater, why in judge(left, rules).items()}
    counts = {name: sum(rating.rater == name for rating in ratings) for name in raters_of(ratings)}
    return [Judgement(name, count, *removed.get(name, (None, ""))) for name, count in counts.items()]


def _listened(ratings: Sequence[Rating], rules: Rules) -> dict[str, str]:
    worst: dict[str, float] = {}
    for rating in ratings:
        worst[rating.rater] = min(worst.get(rating.rater, 1.0), rating.listened)
    low = {rater: share for rater, share in worst.items() if share < rules.listened}
    return {rater: f"heard {share:.0%} of a recording, less than {rules.listened:.0%}" for rater, share in low.items()}


def _reference(ratings: Sequence[Rating], rules: Rules) -> dict[str, str]:
    scores: dict[str, list[float]] = {}
    for rating in ratings:
        if rating.system == REFERENCE and QUESTIONS[rating.question].by_definition:
            scores.setdefault(rating.rater, []).append(rating.score)
    found = {}
    for rater, given in scores.items():
        low = sum(score < rules.reference for score in given)
        if low > max(rules.reference_slips * len(given), 1 if len(given) >= 4 else 0):
            found[rater] = f"gave the reference less than {rules.reference:g} in {low} of {len(given)} cases (mean {np.mean(given):.0f})"
    return found


def _scores(ratings: Sequence[Rating]) -> tuple[list[str], np.ndarray]:
    """Names and scores [raters, stimuli x questions]."""
    by = ("clip", "system", "question")
    raters = raters_of(ratings)
    cells = sorted({tuple(str(getattr(rating, name)) for name in by) for rating in ratings})
    return raters, score_matrix(ratings, raters, cells, by)


def others_means(scores: np.ndarray) -> np.ndarray:
    """For every score [raters, cells] the mean of the other raters' in that cell; NaN where nobody else has one."""
    given = ~np.isnan(scores)
    count = given.sum(0) - given
    total = np.nansum(scores, axis=0) - np.nan_to_num(scores)
    return np.where(given & (count > 0), total / np.maximum(count, 1), np.nan)


def _correlation(ratings: Sequence[Rating], rules: Rules) -> dict[str, str]:
    raters, scores = _scores(ratings)
    found: dict[str, str] = {}
    while len(raters) > 2:  # of two who disagree nobody can say who is right
        means = others_means(scores)
        figures = [_related(*pair, rules.fewest) for pair in zip(scores, means, strict=True)]
        worst = int(np.argmin(figures))
        if figures[worst] >= rules.correlation:
            break
        found[raters[worst]] = f"correlation {figures[worst]:.2f} with the other raters' means, less than {rules.correlation:g}"
        raters, scores = raters[:worst] + raters[worst + 1 :], np.delete(scores, worst, axis=0)
    return found


def _related(own: np.ndarray, others: np.ndarray, fewest: int) -> float:
    """Pearson's correlation over the cells that both have; 0 for constant scores; infinity where too few cells allow no judgement."""
    both = ~np.isnan(own) & ~np.isnan(others)
    if both.sum() < fewest or np.ptp(others[both]) == 0:
        return math.inf
    return float(np.corrcoef(own[both], others[both])[0, 1]) if np.ptp(own[both]) > 0 else 0.0


def _deviation(ratings: Sequence[Rating], rules: Rules) -> dict[str, str]:
    raters, scores = _scores(ratings)
    if len(raters) < 3:
        return {}
    residuals = scores - others_means(scores)
    judged = (~np.isnan(residuals)).sum(1) >= rules.fewest
    raters, residuals = [rater for rater, enough in zip(raters, judged, strict=True) if enough], residuals[judged]
    if not raters:
        return {}
    residuals -= np.nanmedian(residuals, axis=1, keepdims=True)
    distances = np.sqrt(np.nanmean(residuals**2, axis=1))
    usual = float(np.median(distances))
    return {
        rater: f"{distance:.0f} points away from what the other raters gave, where {usual:.0f} are usual"
        for rater, distance in zip(raters, distances, strict=True)
        if distance > rules.deviation * usual
    }


@dataclass(frozen=True)
class Difference:
    """How much better `first` was rated than `second`; `p` of the estimate is adjusted."""

    first: str
    second: str
    estimate: Estimate


@dataclass(frozen=True)
class Analysis:
    """What a listening test says."""

    judgements: list[Judgement]
    means: dict[str, dict[str, Estimate]]  # by question, by system
    differences: dict[str, list[Difference]]  # by question
    kept: int
    rules: Rules | None  # None: nobody was screened


def analyse(ratings: Sequence[Rating], key: Key, rules: Rules | None = None) -> Analysis:
    """Screen the raters (not at all when `rules` is None), then estimate.

    Raises:
        UserError: no rater is left.
    """
    judgements = screen(ratings, rules)
    left = [judgement.rater for judgement in judgements if judgement.removed_by is None]
    if not left:
        by_rule = ", ".join(f"{sum(j.removed_by == rule for j in judgements)} by {rule!r}" for rule in RULES)
        raise UserError(f"screening leaves none of {len(judgements)} raters ({by_rule}); --no-screening shows the means of all.")
    clips = [(clip,) for clip in key.clips]
    present = {rating.system for rating in ratings}
    systems = [name for name in (REFERENCE, *key.systems, ANCHOR) if name in present]
    means: dict[str, dict[str, Estimate]] = {}
    differences: dict[str, list[Difference]] = {}
    for question in key.questions:
        scores = {
            system: score_matrix([r for r in ratings if r.system == system and r.question == question], left, clips, ("clip",))
            for system in systems
        }
        means[question] = {system: estimate(table) for system, table in scores.items()}
        pairs = list(itertools.combinations(systems, 2))
        found = [estimate(scores[first] - scores[second]) for first, second in pairs]
        adjusted = holm([difference.p for difference in found])
        differences[question] = [Difference(*pair, replace(one, p=p)) for pair, one, p in zip(pairs, found, adjusted, strict=True)]
    return Analysis(judgements, means, differences, len(left), rules)


def write_analysis(analysis: Analysis, key: Key, out: str | Path) -> str:
    """Write report.md, report.json and report.csv into `out`; return the Markdown."""
    text = _markdown(analysis, key)
    write_text(Path(out) / "report.md", text)
    write_text(Path(out) / "report.csv", _lines(analysis))
    write_json(
        Path(out) / "report.json",
        {
            "version": key.version,
            "method": METHOD,
            "rules": None if analysis.rules is None else asdict(analysis.rules),
            "raters": [asdict(judgement) for judgement in analysis.judgements],
            "means": {question: {name: _plain(one) for name, one in systems.items()} for question, systems in analysis.means.items()},
            "differences": {
                question: [{"first": one.first, "second": one.second, **_plain(one.estimate)} for one in found]
                for question, found in analysis.differences.items()
            },
        },
    )
    return text


def _markdown(analysis: Analysis, key: Key) -> str:
    removed = [judgement for judgement in analysis.judgements if judgement.removed_by is not None]
    total = len(analysis.judgements)
    parts = ["# Listening test", "", f"{len(key.clips)} clips; {total} raters, {len(removed)} left out, {analysis.kept} counted.", ""]
    if analysis.rules is None:
        parts += ["Nobody was screened.", ""]
    if removed:
        parts += [
            aligned_table(
                [["left out", "answers", "rule", "why"], *([j.rater, str(j.ratings), str(j.removed_by), j.why] for j in removed)]
            ),
            *(f"- {rule}: {text}" for rule, text in RULES.items() if any(j.removed_by == rule for j in removed)),
            "",
        ]
    systems = list(next(iter(analysis.means.values())))
    heading = ["system", *(QUESTIONS[question].title for question in analysis.means)]
    rows = [[name, *(_cell(found[name]) for found in analysis.means.values())] for name in systems]
    numbers = [[f"ratings of {name}", *(str(found[name].ratings) for found in analysis.means.values())] for name in systems]
    parts += ["## Means", "", aligned_table([heading, *rows]), METHOD, "", aligned_table([["number", *heading[1:]], *numbers])]
    for question, found in analysis.differences.items():
        lines = [
            [f"{one.first} - {one.second}", f"{one.estimate.mean:+.1f}", _interval(one.estimate), _p(one.estimate.p)]
            for one in found
            if one.estimate.ratings
        ]
        if lines:
            parts += [f"## Differences: {QUESTIONS[question].title}", "", aligned_table([["pair", "mean", "95 % interval", "p"], *lines])]
    return "\n".join(parts)


def _cell(one: Estimate) -> str:
    if not one.ratings:
        return "–"
    return f"{one.mean:.1f}" if math.isnan(one.low) else f"{one.mean:.1f} ± {(one.high - one.low) / 2:.1f}"


def _interval(one: Estimate) -> str:
    return "–" if math.isnan(one.low) else f"{one.low:+.1f} to {one.high:+.1f}"


def _p(p: float) -> str:
    return "–" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _plain(one: Estimate) -> dict[str, Any]:
    """An estimate as JSON, which has no NaN."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in asdict(one).items()}


def _lines(analysis: Analysis) -> str:
    """One line a mean (`minus` is empty) and one a difference."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["question", "system", "minus", "mean", "low", "high", "p", "ratings", "raters", "clips"])

    def write(question: str, first: str, second: str, one: Estimate) -> None:
        figures = ["" if value is None else value for value in map(_plain(one).get, ("mean", "low", "high", "p"))]
        writer.writerow([question, first, second, *figures, one.ratings, one.raters, one.clips])

    for question, systems in analysis.means.items():
        for name, one in systems.items():
            write(question, name, "", replace(one, p=math.nan))
        for difference in analysis.differences[question]:
            write(question, difference.first, difference.second, difference.estimate)
    return out.getvalue()
