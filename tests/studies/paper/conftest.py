from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jasco_pl.evaluation.pretrained import Listeners
from jasco_pl.studies.paper.engine import Budget
from jasco_pl.studies.paper.plan import ACCURACY, ADHERENCE, CLAP, KL, TRIADS
from jasco_pl.studies.paper.results import Reproduction, Scores

CLIPS, DIM = 24, 8
ROOT = Path(__file__).parents[3]


@pytest.fixture
def made_up() -> Callable[..., Scores]:
    """scores(seeds=1, shift=0, **means): figures that scatter around their means (default 0.3), embeddings that lie `shift` away."""

    def scores(seeds: int = 1, shift: float = 0.0, **means: float) -> Scores:
        draw = np.random.default_rng(0)  # the same scatter for all: differences are exact
        scatter = draw.normal(0, 0.05, (seeds, CLIPS))
        values = {key: means.get(key, 0.3) + scatter for key in (*ADHERENCE, ACCURACY, TRIADS, KL)} | {
            CLAP: np.full((seeds, CLIPS), np.nan)
        }
        reference = [{"musicnn": draw.normal(size=(10, DIM)).astype(np.float32)} for _ in range(CLIPS)]
        sets = [([{"musicnn": found["musicnn"] + np.float32(shift)} for found in reference], reference) for _ in range(seeds)]
        return Scores(values, sets, "musicnn", {CLAP: "no weights of CLAP are here."})

    return scores


@pytest.fixture
def reproduction(tmp_path: Path) -> Callable[..., Reproduction]:
    """found(scores by experiment) without any training."""

    def found(scores: dict[str, Scores]) -> Reproduction:
        listeners = Listeners({"musicnn": "musicnn"}, {"clap": "no weights of CLAP are here."})
        budget = Budget(300, CLIPS, tmp_path, tmp_path, tmp_path, tmp_path, ROOT / "conf", listeners=listeners)
        entry = {"parameters": 2_300_000, "cpu_seconds": 120.0}
        return Reproduction(budget, [0], scores, [entry], "2 cores", 8, 5.0)

    return found
