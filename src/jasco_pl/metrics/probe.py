"""Is what a prompt names heard in the clip? Linear probes of style and instruments, trained on composed pieces; agreement against chance.

Alain and Bengio 2017 for the probes. Chance is what the same clips get with each other's prompts, so that a probe, or a generator, that
always gives the commonest answer is at chance however common it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict

from jasco_pl.errors import UserError
from jasco_pl.metrics.prompts import Named

STRENGTHS = (0.003, 0.01, 0.03, 0.1)  # inverse, of regularisation
FEWEST = 10  # pieces with and without a family for it to be learnt
COMMONEST = 1 / 3  # share of the pieces; what more of them have cannot be three times as frequent as by chance
_PERMUTATIONS = _RESAMPLES = 2000


def standardised(features: NDArray[np.float64], like: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Features [N, D] by mean and spread of `like`, or their own: then clips are told apart by how they differ from each other."""
    by = features if like is None else like
    return (features - by.mean(axis=0)) / (by.std(axis=0) + 1e-6)


class Probe:
    """Logistic regressions from embeddings to a style and to the families of instruments that a tenth to a third of the pieces have.

    Args:
        features: [N, D], one a piece.
        styles: N names.
        families: of each piece.

    Raises:
        UserError: too few pieces.
    """

    def __init__(self, features: NDArray[np.float64], styles: Sequence[str], families: Sequence[frozenset[str]]) -> None:
        if len(features) < 5 * FEWEST:
            raise UserError(f"the probe was given {len(features)} pieces to learn from, and needs at least {5 * FEWEST}.")
        self.features, self.styles = features, sorted(set(styles))
        counts = {name: sum(name in of for of in families) for name in sorted(frozenset().union(*families))}
        self.families = [name for name, count in counts.items() if FEWEST <= count <= COMMONEST * len(features)]
        self.common = [name for name, count in counts.items() if count > COMMONEST * len(features)]
        rows, folds = standardised(features), KFold(5, shuffle=True, random_state=0)
        self._style = _search(folds).fit(rows, list(styles)).best_estimator_
        self.cross_validated_styles = _one_hot(cross_val_predict(self._style, rows, list(styles), cv=folds), self.styles)
        self._family, self._least, found = [], [], []
        for name in self.families:
            has = np.array([name in of for of in families])
            model = _search(folds).fit(rows, has).best_estimator_
            likely = cross_val_predict(model, rows, has, cv=folds, method="predict_proba")[:, 1]
            self._family.append(model)
            self._least.append(np.quantile(likely, 1 - has.mean()))  # heard as often as it is there
            found.append(likely > self._least[-1])
        self.cross_validated_families = np.stack(found, axis=1) if found else np.zeros((len(features), 0), dtype=bool)

    def hear(self, features: NDArray[np.float64], among_each_other: bool) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Styles [N, S], one a clip, and families [N, F] heard in clips [N, D]; `among_each_other` as `standardised` without `like`."""
        rows = standardised(features, None if among_each_other else self.features)
        families = [model.predict_proba(rows)[:, 1] > least for model, least in zip(self._family, self._least, strict=True)]
        found = np.stack(families, axis=1) if families else np.zeros((len(rows), 0), dtype=bool)
        return _one_hot(self._style.predict(rows), self.styles), found

    def wanted(self, prompts: Sequence[Named]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """What prompts name of that, in the same shapes."""
        styles = np.array([[prompt.style == name for name in self.styles] for prompt in prompts])
        families = np.array([[name in prompt.families for name in self.families] for prompt in prompts])
        return styles, families.reshape(len(prompts), len(self.families))


def _search(folds: KFold) -> GridSearchCV:
    return GridSearchCV(LogisticRegression(max_iter=500), {"C": STRENGTHS}, cv=folds)


def _one_hot(names: Sequence[str], known: Sequence[str]) -> NDArray[np.bool_]:
    return np.array([[name == one for one in known] for name in names])


@dataclass(frozen=True)
class Agreement:
    """How much of what is named is heard.

    Attributes:
        share: of all that prompts name, with a 95 % bootstrap interval over clips.
        chance: the share that shuffled prompts get on average.
        p: share of the shuffles that get as much.
        clips: those whose prompt names something.
    """

    share: float
    low: float
    high: float
    chance: float
    p: float
    clips: int

    @property
    def times(self) -> float:
        """The share in chances; NaN where there is no chance."""
        return self.share / self.chance if self.chance else float("nan")


def agreement(wanted: NDArray[np.bool_], heard: NDArray[np.bool_], seed: int = 0) -> Agreement | None:
    """Of what is wanted [N, K], the share that is heard [N, K]; None where nothing is wanted. Clips that want nothing are left out."""
    kept = wanted.any(axis=1)
    wanted, heard = wanted[kept], heard[kept]
    if not len(wanted):
        return None
    draw = np.random.default_rng(seed)
    right, of = (wanted & heard).sum(axis=1), wanted.sum(axis=1)
    share = right.sum() / of.sum()
    chance = float((wanted.sum(axis=0) * heard.mean(axis=0)).sum() / of.sum())
    shuffled = [(wanted & heard[draw.permutation(len(heard))]).sum() / of.sum() for _ in range(_PERMUTATIONS)]
    p = (1 + sum(bool(found >= share - 1e-12) for found in shuffled)) / (1 + _PERMUTATIONS)
    picks = draw.integers(len(of), size=(_RESAMPLES, len(of)))
    low, high = np.quantile(right[picks].sum(axis=1) / of[picks].sum(axis=1), [0.025, 0.975])
    return Agreement(float(share), float(low), float(high), chance, p, len(of))
