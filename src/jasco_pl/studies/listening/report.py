"""The report of a listening test: who was left out and why, means and differences with their intervals; Markdown, JSON, CSV."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jasco_pl.metrics.report import aligned_table
from jasco_pl.studies.listening.screening import RULES, Estimate, Judgement, Rules, estimate, holm, screen
from jasco_pl.studies.listening.study import ANCHOR, QUESTIONS, REFERENCE, Key, Rating, raters_of, score_matrix
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path, write_json

METHOD = (
    "Means with 95 % intervals for other raters and other clips of the same kind: a t-interval under the model score = mean + rater + clip "
    "+ rest, all three random (Ribeiro et al., CrowdMOS, ICASSP 2011; variances from pairs of scores, Satterthwaite's degrees of freedom). "
    "Differences are taken within a rater and clip, so that neither strict raters nor hard clips count; p is that of the same t, adjusted "
    "for the number of pairs of a question (Holm 1979)."
)


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
    judgements = (
        screen(ratings, rules)
        if rules is not None
        else [Judgement(name, sum(rating.rater == name for rating in ratings)) for name in raters_of(ratings)]
    )
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
        differences[question] = [
            Difference(*pair, Estimate(**{**asdict(one), "p": p})) for pair, one, p in zip(pairs, found, adjusted, strict=True)
        ]
    return Analysis(judgements, means, differences, len(left), rules)


def write_analysis(analysis: Analysis, key: Key, out: str | Path) -> str:
    """Write report.md, report.json and report.csv into `out`; return the Markdown."""
    text = _markdown(analysis, key)
    with atomic_path(Path(out) / "report.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    with atomic_path(Path(out) / "report.csv") as temporary:
        temporary.write_text(_table(analysis), encoding="utf-8")
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


def _table(analysis: Analysis) -> str:
    """One line a mean (`minus` is empty) and one a difference."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["question", "system", "minus", "mean", "low", "high", "p", "ratings", "raters", "clips"])

    def write(question: str, first: str, second: str, one: Estimate) -> None:
        figures = ["" if value is None else value for value in map(_plain(one).get, ("mean", "low", "high", "p"))]
        writer.writerow([question, first, second, *figures, one.ratings, one.raters, one.clips])

    for question, systems in analysis.means.items():
        for name, one in systems.items():
            write(question, name, "", Estimate(**{**asdict(one), "p": math.nan}))
        for difference in analysis.differences[question]:
            write(question, difference.first, difference.second, difference.estimate)
    return out.getvalue()
