from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from jasco_pl.controls import CONTROLS
from jasco_pl.studies.paper import plan
from jasco_pl.studies.paper.plan import CLAIMS, EXPERIMENTS, Experiment, Recipe, chosen
from jasco_pl.system.errors import UserError

CONF = Path(__file__).parents[3] / "conf"


def test_every_row_of_the_paper_has_an_experiment_and_every_experiment_a_row() -> None:
    assert {name for rows in plan.PUBLISHED.values() for name in rows} == set(EXPERIMENTS)


def test_every_claim_compares_two_experiments_of_its_place() -> None:
    rows = {place: {*of, plan.TEXT_ONLY} if place == "Table 1" else {*of} for place, of in plan.PUBLISHED.items()}
    for claim in CLAIMS:
        assert {claim.one, claim.other} <= rows[claim.place], claim
        assert claim.one != claim.other
        assert claim.column in plan.HIGHER_IS_BETTER
        assert (claim.published is None) == (claim.place in ("Table 1", "Figure 2"))
    assert {claim.place for claim in CLAIMS} == set(rows)
    assert len({(claim.place, claim.one, claim.other, claim.column) for claim in CLAIMS}) == len(CLAIMS)


def test_the_papers_own_figures_lie_on_the_side_that_a_claim_says() -> None:
    """A claim that the paper's table contradicts was copied wrongly; comparable ones need only be near."""
    for claim in CLAIMS:
        if claim.published is None or claim.finding.name != "BETTER":
            continue
        sign = 1 if plan.HIGHER_IS_BETTER[claim.column] else -1
        for one, other in zip(*claim.published, strict=True):
            assert one is None or sign * (one - other) > 0, claim


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_configuration_of_an_experiment_is_there(name: str) -> None:
    recipe = Recipe(EXPERIMENTS[name], CONF)
    assert all(isinstance(yaml.safe_load(text), dict) for text in recipe.texts)
    assert set(recipe.controls) <= set(CONTROLS)
    assert recipe.row == ("all" if recipe.controls else "none")
    assert (recipe.controls == {}) == (name == plan.TEXT_ONLY)
    assert recipe.changes()["model"]["config"]["controls"] == recipe.controls


def test_controls_are_those_of_the_last_file_that_names_some() -> None:
    assert list(Recipe(EXPERIMENTS["symbolic_audio"], CONF).controls) == ["chords", "melody", "drumless", "drums_bandpass"]
    found = Recipe(EXPERIMENTS["cross_attention"], CONF).controls
    assert list(found) == ["chords"]  # conf/ablation/cross_attention.yaml names none
    assert found["chords"]["pitch_class_init"] is True
    assert found["chords"]["dim"] == 16


def test_changes_of_one_experiment_do_not_reach_another() -> None:
    recipe = Recipe(EXPERIMENTS["flow_plain"], CONF)
    recipe.changes()["model"]["config"]["preconditioning"] = True
    assert recipe.changes()["model"]["config"]["preconditioning"] is False
    assert "preconditioning" not in Recipe(EXPERIMENTS["chords"], CONF).changes()["model"]["config"]


def test_chosen_brings_what_an_experiment_starts_from_and_keeps_the_order() -> None:
    assert [experiment.name for experiment in chosen(["zero_convolution", "chords"])] == ["text_only", "chords", "zero_convolution"]
    names = [experiment.name for experiment in chosen(None)]
    assert all(names.index(experiment.base) < names.index(experiment.name) for experiment in EXPERIMENTS.values() if experiment.base)
    with pytest.raises(UserError, match="no experiment 'chord'; there are: text_only"):
        chosen(["chord"])


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"reproduction\.yaml' is not there"):
        _ = Recipe(Experiment("x", "x", ("chords",)), tmp_path).texts
